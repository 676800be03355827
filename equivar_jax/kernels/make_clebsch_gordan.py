"""Make the file of Clebsch-Gordan coefficients again: `python -m equivar_jax.kernels.make_clebsch_gordan`.

It needs e3nn-jax, whose coefficients these are.
"""

import itertools
import json
from importlib.resources import files
from pathlib import Path

import numpy as np

from equivar_jax.kernels.irreps import COEFFICIENTS, LARGEST_DEGREE

_ZERO = 1e-12  # what e3nn-jax has below this is rounding


def main() -> None:
    """Write the coefficients of all degrees that form a triangle, one line for each three."""
    import e3nn_jax

    degrees = range(LARGEST_DEGREE + 1)
    lines = []
    for first, second, out in itertools.product(degrees, repeat=3):
        if abs(first - second) <= out <= first + second:
            dense = np.asarray(e3nn_jax.clebsch_gordan(first, second, out), np.float64)
            rows = [[*place, dense[tuple(place)]] for place in np.argwhere(np.abs(dense) > _ZERO).tolist()]
            lines.append(f'"{first} {second} {out}": {json.dumps(rows)}')
    path = Path(str(files("equivar_jax.kernels"))) / COEFFICIENTS
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
