"""Irreps of O(3) and their Clebsch-Gordan coefficients, as far as the network needs them: to degree 2.

Signs, and the order of components, are those of e3nn: of degree 1 these are x, y, z. The coefficients
come from e3nn-jax (`make_clebsch_gordan`) and lie in `clebsch_gordan.json`, because e3nn-jax takes two
seconds to import. For work with e3nn-jax, `e3nn_jax.Irrep(str(irrep))` is the same irrep there.
"""

import functools
import json
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
from jaxtyping import Float

LARGEST_DEGREE = 2
"""Largest degree l that coefficients are kept for."""
COEFFICIENTS = "clebsch_gordan.json"
"""Name of the file beside this module: "l1 l2 l3" -> rows [m1, m2, m3, coefficient] of what is not zero."""


@dataclass(frozen=True)
class Irrep:
    """An irreducible representation of O(3), written "1o": the degree, then e or o for the parity."""

    l: int  # noqa: E741, the symbol of the physics
    """Degree, 0 or greater."""
    p: int
    """Parity: 1 if the components stay as they are under inversion (e), -1 if they change sign (o)."""

    @classmethod
    def parse(cls, name: str) -> "Irrep":
        """Return the irrep that a name such as "1o" stands for.

        Raises:
            ValueError: It stands for none.
        """
        degree, parity = name[:-1], name[-1:]
        if not degree.isdecimal() or parity not in ("e", "o"):
            raise ValueError(f"{name!r} names no irrep; give a degree and e or o, such as 1o")
        return cls(int(degree), 1 if parity == "e" else -1)

    @property
    def dim(self) -> int:
        """Number of components."""
        return 2 * self.l + 1

    def __mul__(self, other: "Irrep") -> tuple["Irrep", ...]:
        """Return the irreps that the product of two irreps consists of, by degree."""
        degrees = range(abs(self.l - other.l), self.l + other.l + 1)
        return tuple(Irrep(degree, self.p * other.p) for degree in degrees)

    def __str__(self) -> str:
        return f"{self.l}{'e' if self.p == 1 else 'o'}"


def parse_irreps(*names: str) -> tuple[Irrep, ...]:
    """Return the irreps that names such as "0e", "1o" stand for."""
    return tuple(map(Irrep.parse, names))


def clebsch_gordan(first: int, second: int, out: int) -> Float[np.ndarray, "first second out"]:
    """Return the real Clebsch-Gordan coefficients C of three degrees, none above 2, as e3nn defines them.

    If x and y transform as the degrees `first` and `second`, `z_m = sum_(m1, m2) C[m1, m2, m] x_m1 y_m2`
    transforms as degree `out`. The squares of all coefficients sum to one.

    Raises:
        KeyError: The degrees form no triangle, or one is above 2.
    """
    dense = np.zeros((2 * first + 1, 2 * second + 1, 2 * out + 1))
    for row, column, component, coefficient in _stored()[f"{first} {second} {out}"]:
        dense[row, column, component] = coefficient
    return dense


@functools.cache
def _stored() -> dict[str, list[list[Any]]]:
    """Read the file of coefficients."""
    return json.loads(files(__package__).joinpath(COEFFICIENTS).read_text(encoding="utf-8"))
