"""Writes networks down for the C++ functions: three lists, read from the front."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from equivar_jax.kernels.irreps import Irrep
from equivar_jax.kernels.paths import offsets
from equivar_jax.kernels.whole_network import VECTOR_BYTES, Tape

NONE = -1
"""Stands for a row that there is not."""
Numbers = Any
"""A number, or an array or list of numbers."""
_SMALLEST = 4
"""Bytes of a number in single precision."""


class TapeWriter:
    """Collects the three lists."""

    def __init__(self) -> None:
        self._lists: tuple[list[Any], list[Any], list[Any]] = ([], [], [])

    def integers(self, *values: Numbers) -> None:
        """Write integers."""
        self._lists[0].extend(values)

    def numbers(self, *values: Numbers) -> None:
        """Write numbers in double precision."""
        self._lists[1].extend(values)

    def weights(self, *arrays: Float[np.ndarray, "..."]) -> None:
        """Write numbers in the precision of the network."""
        self._lists[2].extend(arrays)

    def tape(self, dtype: np.dtype | type | str) -> Tape:
        """Join everything that was written."""
        types = (np.int32, np.float64, np.dtype(dtype))
        joined = (
            np.concatenate([np.zeros(0), *(np.ravel(value) for value in values)]).astype(kind)
            for values, kind in zip(self._lists, types, strict=True)
        )
        return Tape(*joined)


def first_rows(irreps: Sequence[Irrep]) -> dict[Irrep, int]:
    """Return the first component of each irrep if they are laid one after the other."""
    return dict(zip(irreps, offsets(irreps), strict=False))


def fill_vectors(size: int) -> int:
    """Return how many numbers at least so many are if they fill vectors in any precision."""
    return -(-size * _SMALLEST // VECTOR_BYTES) * VECTOR_BYTES // _SMALLEST
