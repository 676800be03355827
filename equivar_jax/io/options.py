"""The arguments that every reader takes, and what it yields."""

import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms

from equivar_jax.config.schema import FirstIndex
from equivar_jax.errors import InputError


@dataclass(frozen=True)
class ReadOptions:
    """What a user can say about a file; None leaves it to the format.

    Raises:
        InputError: the first index is neither "field" nor "displacement".
    """

    key: str | None = None
    """Name of the tensors in formats that may hold several, such as a column of extended XYZ."""
    first_index: FirstIndex | None = None
    """Meaning of the first index of a stored tensor, for formats that leave it open or that are disobeyed."""
    wanted: Callable[[int], bool] | None = None
    """Tells by its number, counted from 0, whether a frame is wanted; None wants all. Formats that can pass
    over frames (`formats.Format.passes_over`) yield a `NotWantedError` in place of the others; other formats
    do not ask."""

    def wants(self, frame: int) -> bool:
        """Return whether the frame of this number is to be read."""
        return self.wanted is None or self.wanted(frame)

    def __post_init__(self) -> None:
        choices = typing.get_args(FirstIndex)
        if self.first_index is not None and self.first_index not in choices:
            raise InputError(f"first_index is {self.first_index!r}, expected one of {', '.join(choices)}")


class NotWantedError(InputError):
    """What stands in the place of a frame that was passed over, since it was not wanted."""

    def __init__(self) -> None:
        super().__init__("a frame that was passed over")


Reader = Callable[[Path, ReadOptions], Iterator[Atoms | InputError]]
"""A function that yields the structures of a file in their order, and an `InputError` in the place of each
frame that cannot be used. It raises an `InputError` where the file cannot be read further; what it yielded
before remains valid."""


def refuse_key(path: Path, options: ReadOptions) -> None:
    """Refuse a key for a format that has only one label.

    Raises:
        InputError: a key was given.
    """
    if options.key is not None:
        raise InputError(
            f"{path}: key {options.key!r} chooses a column of an extended XYZ file (.extxyz, .xyz) or an "
            "entry of an ASE database, and this is another format; leave out the key or convert the labels"
        )


def field_first(tensors: np.ndarray, options: ReadOptions) -> np.ndarray:
    """Return tensors [atom, field, displacement] of a format with the field first, unless told otherwise.

    Args:
        tensors: as they are stored, shape (N, 3, 3).
        options: `first_index` "displacement" says that they are stored transposed.
    """
    return tensors.transpose(0, 2, 1) if options.first_index == "displacement" else tensors


def refuse_first_index(path: Path, options: ReadOptions) -> None:
    """Refuse an index order for a format that states its own.

    Raises:
        InputError: a first index was given.
    """
    if options.first_index is not None:
        raise InputError(
            f"{path}: this format states the index order of its tensors itself; leave out the first index "
            f"({options.first_index!r}), or convert the labels to extended XYZ"
        )
