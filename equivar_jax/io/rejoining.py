"""Outputs of sweeps read back structure by structure, to be put together in another order.

A structure is kept as it stands in its file: lines of text, or what ASE stored. Only the number of the
structure in a .csv is written anew.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms
from ase.io.trajectory import TrajectoryReader

from equivar_jax.errors import InputError
from equivar_jax.io.appending import AppendingOutput, TextOutput, csv_row
from equivar_jax.io.appending_ase import DatabaseOutput, TrajectoryOutput
from equivar_jax.io.ase_database import structure_of_row
from equivar_jax.io.csv import HEADER
from equivar_jax.io.files import open_text, output_suffix
from equivar_jax.io.options import ReadOptions

Kept = Any
"""One structure of an output: rows of a .csv, lines of an extended XYZ, or `ase.Atoms`."""
_NUMBER = HEADER.index("structure")
_ROWS_AT_A_TIME = 256


def reread(path: Path, sizes: Iterable[int]) -> Iterator[Kept]:
    """Read back the structures of an output that a sweep has finished.

    Args:
        path: The output: .csv or .extxyz, compressed or not, .traj or .db.
        sizes: Number of atoms of each structure, in the order of the file.

    Yields:
        What `open_rejoined` can write.

    Raises:
        InputError: The file has fewer structures or more, or others than these.
    """
    suffix = output_suffix(path)
    if suffix == ".csv":
        yield from _text(path, sizes, csv.reader, lambda atoms: atoms, header=1)
    elif suffix in (".extxyz", ".xyz"):
        yield from _text(path, sizes, iter, lambda atoms: atoms + 2)
    else:
        yield from _stored(path, sizes, _rows if suffix == ".db" else _frames)


def reread_rows(path: Path) -> Iterator[list[str]]:
    """Yield the rows of a .csv after its header, which need not end in a line of their own."""
    with open_text(path, errors="surrogateescape", newline="") as lines:
        yield from islice(csv.reader(lines), 1, None)


def open_rejoined(path: Path, partial: Path, header: list[str] | None) -> AppendingOutput:
    """Open a new output for what `reread` yields.

    Args:
        path: Its final name, which decides the format.
        partial: The file that grows until it gets its final name.
        header: First line of a .csv, as `csv_header` reads it.
    """
    suffix = output_suffix(path)
    if suffix == ".csv":
        return TextOutput(path, partial, 0, 0, _renumbered, header=csv_row(header or HEADER))
    if suffix in (".extxyz", ".xyz"):
        return TextOutput(path, partial, 0, 0, lambda lines, _: "".join(lines))
    return DatabaseOutput(partial, 0) if suffix == ".db" else TrajectoryOutput(partial, 0)


def csv_header(path: Path) -> list[str] | None:
    """Return the names of the columns of an output, if it is a .csv."""
    if output_suffix(path) != ".csv":
        return None
    with open_text(path, errors="surrogateescape", newline="") as lines:
        return next(csv.reader(lines), None)


def _text(
    path: Path,
    sizes: Iterable[int],
    parse: Callable[[Iterator[str]], Iterator[Any]],
    length: Callable[[int], int],
    header: int = 0,
) -> Iterator[list[Any]]:
    """Yield the rows of each structure, so many after the header."""
    with open_text(path, errors="surrogateescape", newline="") as lines:
        rows = parse(lines)
        for _ in islice(rows, header):
            pass
        for atoms in sizes:
            found = list(islice(rows, length(atoms)))
            if len(found) < length(atoms):
                raise _other_content(path)
            yield found
        if next(rows, None) is not None:
            raise _other_content(path)


def _stored(path: Path, sizes: Iterable[int], read: Callable[[Path], Iterator[Atoms]]) -> Iterator[Atoms]:
    """Yield the structures that ASE reads."""
    frames = read(path)
    for size in sizes:
        atoms = next(frames, None)
        if atoms is None or len(atoms) != size:
            raise _other_content(path)
        yield atoms
    if next(frames, None) is not None:
        raise _other_content(path)


def _frames(path: Path) -> Iterator[Atoms]:
    with path.open("rb") as handle:
        reader = TrajectoryReader(handle)
        yield from (reader[frame] for frame in range(len(reader)))


def _rows(path: Path) -> Iterator[Atoms]:
    database, last = ase.db.connect(str(path), type="db", use_lock_file=False), 0
    while rows := list(database.select(f"id>{last}", sort="id", limit=_ROWS_AT_A_TIME)):
        yield from (structure_of_row(row, ReadOptions()) for row in rows)
        last = rows[-1].id


def _renumbered(rows: list[list[str]], index: int) -> str:
    """Return the lines of one structure in a .csv with its new number."""
    return "".join(csv_row([*row[:_NUMBER], index, *row[_NUMBER + 1 :]]) for row in rows)


def _other_content(path: Path) -> InputError:
    return InputError(f"{path}: has other structures than its journal says; write it anew with --restart")
