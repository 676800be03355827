"""What every reader is given, and what it gives back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from equivar_jax.config import FirstIndex
from equivar_jax.errors import InputError


@dataclass(frozen=True)
class ReadOptions:
    """What a user can say about a file; None leaves it to the format."""

    key: str | None = None
    """Name of the tensors where a file has a choice (a column of extended XYZ)."""
    first_index: FirstIndex | None = None
    """What the first index of a stored tensor is, for formats that leave it open."""


Reader = Callable[[Path, ReadOptions], Iterator[Atoms | InputError]]
"""Yields the structures of a file in its order, and an `InputError` in the place of a frame that cannot be
used. It raises an `InputError` where the file cannot be read on; what it yielded before stays good."""
