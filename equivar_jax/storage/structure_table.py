"""Structures as columns on disk: thirty thousand take a few megabytes of memory and open at once."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io.jsonio import decode, encode
from jaxtyping import Float

from equivar_jax.storage.store import Columns, ColumnWriter, open_columns, ragged
from equivar_jax.structures import BEC, SOURCE, born_effective_charges, source

FORMAT = "1"
"""Part of every key: raise it when the columns change."""


class StructureTable(Sequence[Atoms]):
    """A read-only sequence of structures; each is made when it is asked for.

    Kept of a structure: elements, positions, cell, pbc, `info` (what JSON can hold) and the Born effective
    charges, all digits of each. `info["source"]` is kept with it.
    """

    def __init__(self, columns: Columns, chosen: np.ndarray | None = None):
        self.columns = columns
        self.chosen = np.arange(len(columns["sizes"])) if chosen is None else chosen
        """Rows of the columns, in the order of this sequence."""
        self._atoms = ragged(columns["sizes"])
        self._texts = ragged(columns["text_sizes"])

    def __reduce__(self):
        # Another process opens the files itself.
        return _reopened, (self.columns.folder, self.columns.key, self.chosen)

    def subset(self, indices: np.ndarray | Sequence[int]) -> "StructureTable":
        """Some of the structures, by their places in this sequence; nothing is copied."""
        return StructureTable(self.columns, self.chosen[np.asarray(indices, dtype=np.int64)])

    def __len__(self) -> int:
        return len(self.chosen)

    @overload
    def __getitem__(self, index: int) -> Atoms: ...

    @overload
    def __getitem__(self, index: slice) -> "StructureTable": ...

    def __getitem__(self, index):
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
        """The label [atom, field, displacement] in e of one structure, without making the structure."""
        row = int(self.chosen[index])
        if not self.columns["labelled"][row]:
            return None
        return self.columns["tensors"][self._atoms[row] : self._atoms[row + 1]]

    @property
    def labelled(self) -> np.ndarray:
        """Which structures have a label: bool [structures]."""
        return np.asarray(self.columns["labelled"])[self.chosen]

    @property
    def elements(self) -> np.ndarray:
        """Atomic numbers that occur, rising."""
        here = np.zeros(len(self.columns["sizes"]), bool)
        here[self.chosen] = True
        return np.unique(self.columns["numbers"][np.repeat(here, self.columns["sizes"])])


def cached_table(
    folder: Path, key: str, structures: Callable[[], Iterable[Atoms]], notes: Callable[[], Any] = lambda: None
) -> StructureTable:
    """The table of that key, from the cache or made now and kept there.

    Args:
        folder: Where the cache keeps it.
        key: Names content and code; a table of another key is replaced.
        structures: Makes them, one after the other.
        notes: Called after the last structure; what it gives (for JSON) is `table.columns.notes` then.

    Raises:
        InputError: what making them raises.
    """
    key = f"{FORMAT}:{key}"
    columns = open_columns(folder, key)
    if columns is None:
        writer = ColumnWriter(folder)
        try:
            for atoms in _with_empty_first(structures()):
                writer.append(**_row(atoms))
            columns = writer.finish(key, notes())
        except BaseException:
            writer.discard()
            raise
    return StructureTable(columns)


def _reopened(folder: Path, key: str, chosen: np.ndarray) -> StructureTable:
    """A table that came from another process."""
    columns = open_columns(folder, key, verify=False)
    if columns is None:
        raise FileNotFoundError(f"{folder}: the cached structures are gone")
    return StructureTable(columns, chosen)


def _with_empty_first(structures: Iterable[Atoms]) -> Iterator[Atoms | None]:
    yield None  # so that an empty table has its columns, too
    yield from structures


def _row(atoms: Atoms | None) -> dict[str, np.ndarray]:
    """What one structure adds to each column; None adds nothing but the types."""
    one = Atoms() if atoms is None else atoms
    label = born_effective_charges(one)
    text = np.frombuffer(_encoded_info(one).encode(), np.uint8)
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


def _encoded_info(atoms: Atoms) -> str:
    """`atoms.info` as JSON, without what JSON cannot hold."""
    kept = {}
    for name, value in {**atoms.info, SOURCE: source(atoms)}.items():
        try:
            encode({str(name): value})
        except TypeError:
            continue
        kept[str(name)] = value
    return encode(kept)
