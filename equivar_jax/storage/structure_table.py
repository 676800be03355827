"""Structures as columns on disk: thirty thousand open at once and take a few megabytes of memory."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from jaxtyping import Float

from equivar_jax.storage.store import Columns, ColumnWriter, open_columns, piece_starts
from equivar_jax.structures import BEC, SOURCE, born_effective_charges, source

FORMAT = "1"
"""Version of the columns, a part of every key; raise it when the columns change."""


class StructureTable(Sequence[Atoms]):
    """A read-only sequence of structures on disk; each `ase.Atoms` is made when it is asked for.

    The table keeps elements, positions, cell, pbc, the Born effective charges, and of `info` all that JSON
    can hold, `info["source"]` included. Numbers keep all their digits.
    """

    def __init__(self, columns: Columns, chosen: np.ndarray | None = None):
        self.columns = columns
        self.chosen = np.arange(len(columns["sizes"])) if chosen is None else chosen
        """Rows of the columns, in the order of this sequence."""
        self._atoms = piece_starts(columns["sizes"])
        self._texts = piece_starts(columns["text_sizes"])

    def __reduce__(self):
        # Another process is not sent the columns; it opens the files itself.
        return _reopen, (self.columns.folder, self.columns.key, self.chosen)

    def subset(self, indices: np.ndarray | Sequence[int]) -> "StructureTable":
        """Return a table of some of the structures, without copying them.

        Args:
            indices: Places of the structures in this sequence.
        """
        return StructureTable(self.columns, self.chosen[np.asarray(indices, dtype=np.int64)])

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> "StructureTable": ...

    def __getitem__(self, index):
        from ase.io.jsonio import decode  # imports all of ase.io

        if isinstance(index, slice):
            return self.subset(np.arange(len(self))[index])
        row = int(self.chosen[index])
        part = slice(self._atoms[row], self._atoms[row + 1])
        text = self.columns["texts"][self._texts[row] : self._texts[row + 1]].tobytes().decode()
        atoms = Atoms(
            self.columns["numbers"][part],
            positions=self.columns["positions"][part],
            cell=self.columns["cells"][row],
            pbc=self.columns["pbc"][row],
            info=decode(text),
        )
        if self.columns["labelled"][row]:
            atoms.calc = SinglePointCalculator(atoms)
            atoms.calc.results[BEC] = np.array(self.columns["tensors"][part])
        return atoms

    def tensors(self, index: int) -> Float[np.ndarray, "atoms 3 3"] | None:
        """Return the label of one structure without making the structure; None if it has none.

        Returns:
            Born effective charges [atom, field, displacement] in e.
        """
        row = int(self.chosen[index])
        if not self.columns["labelled"][row]:
            return None
        return self.columns["tensors"][self._atoms[row] : self._atoms[row + 1]]

    @property
    def labelled(self) -> np.ndarray:
        """True for each structure that has a label: bool [structures]."""
        return np.asarray(self.columns["labelled"])[self.chosen]

    @property
    def elements(self) -> np.ndarray:
        """The atomic numbers that occur, in rising order."""
        here = np.zeros(len(self.columns["sizes"]), bool)
        here[self.chosen] = True
        return np.unique(self.columns["numbers"][np.repeat(here, self.columns["sizes"])])


def cached_table(
    folder: Path, key: str, structures: Callable[[], Iterable[Atoms]], notes: Callable[[], Any] = lambda: None
) -> StructureTable:
    """Open a table of structures from the cache, or make it and keep it there.

    Args:
        folder: The folder of this table in the cache.
        key: Names the content and the code that made it; a table of another key is replaced.
        structures: Makes the structures, one after the other, if the table is not in the cache.
        notes: Called after the last structure; returns what `table.columns.notes` shall be (for JSON).

    Raises:
        InputError: `structures` raises it.
    """
    key = f"{FORMAT}:{key}"
    columns = open_columns(folder, key)
    if columns is None:
        writer = ColumnWriter(folder)
        try:
            for atoms in _prepend_empty(structures()):
                writer.append(**_make_row(atoms))
            columns = writer.finish(key, notes())
        except BaseException:
            writer.discard()
            raise
    return StructureTable(columns)


def _reopen(folder: Path, key: str, chosen: np.ndarray) -> StructureTable:
    """Open a table that another process has sent.

    Raises:
        FileNotFoundError: Its files are no longer there.
    """
    columns = open_columns(folder, key, verify=False)
    if columns is None:
        raise FileNotFoundError(f"{folder}: the cached structures are no longer there; start again")
    return StructureTable(columns, chosen)


def _prepend_empty(structures: Iterable[Atoms]) -> Iterator[Atoms | None]:
    yield None  # so that a table without structures has its columns, too
    yield from structures


def _make_row(atoms: Atoms | None) -> dict[str, np.ndarray]:
    """Return what one structure adds to each column; None adds no rows, only the types of the columns."""
    one = Atoms() if atoms is None else atoms
    label = born_effective_charges(one)
    text = np.frombuffer(_encode_info(one).encode(), np.uint8)
    row = {
        "sizes": np.array([len(one)], np.int32),
        "text_sizes": np.array([len(text)], np.int32),
        "cells": one.cell.array[None],
        "pbc": one.pbc[None],
        "labelled": np.array([label is not None]),
        "numbers": one.numbers.astype(np.int16),
        "positions": one.positions,
        "tensors": np.zeros((len(one), 3, 3)) if label is None else label,
        "texts": text,
    }
    return row if atoms is not None else {name: column[:0] for name, column in row.items()}


def _encode_info(atoms: Atoms) -> str:
    """Encode `atoms.info` as JSON, leaving out what JSON cannot hold."""
    from ase.io.jsonio import encode  # imports all of ase.io

    kept = {}
    for name, value in {**atoms.info, SOURCE: source(atoms)}.items():
        try:
            encode({str(name): value})
        except TypeError:
            continue
        kept[str(name)] = value
    return encode(kept)
