"""Readers of ASE trajectories (`.traj`) and databases (SQLite `.db`, `.json`).

Index order: the label is ASE's result `born_effective_charges`, shape (N, 3, 3), **first index the field
direction**, second the displacement direction, in e, as ASE's own reader of VASP output stores it. A flat (N,
9), which ASE makes of the nine columns of an extended XYZ file, holds the same numbers row by row.

ASE's SQLite table has no column for this result (see `ase_writers`). There the label is the entry of that
name in the row's `data`.
"""

import re
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db.row import AtomsRow
from ase.io.trajectory import TrajectoryReader

from equivar_jax.errors import InputError
from equivar_jax.io.files import excerpt, format_suffix, plain_file
from equivar_jax.io.labels import attach_label, remove_label
from equivar_jax.io.options import NotWantedError, ReadOptions, refuse_first_index, refuse_key
from equivar_jax.structures import BEC, SOURCE, check_structure

_TRAJECTORY = (b"- of UlmASE-Trajectory", b"AFFormatASE-Trajectory")
_SQLITE = b"SQLite format 3\x00"
_JSON_ROW = re.compile(rb'\{\s*"\d+"\s*:\s*\{')
_ROWS_AT_A_TIME = 256


def recognises_trajectory(_path: Path, head: bytes) -> bool:
    """Return whether a file begins like an ASE trajectory."""
    return head.startswith(_TRAJECTORY)


def recognises_database(path: Path, head: bytes) -> bool:
    """Return whether a file begins like an ASE database, SQLite or JSON."""
    return head.startswith(_SQLITE) or (format_suffix(path) == ".json" and _JSON_ROW.match(head) is not None)


def read_trajectory(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the frames of an ASE trajectory one by one, with all results and `atoms.info`.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because a trajectory has one label, in ASE's index order.

    Yields:
        The structures, with `atoms.info["source"]`. Labels are float64 (N, 3, 3), [atom, field,
        displacement], in e. An `InputError` stands in the place of each frame that cannot be used.

    Raises:
        InputError: the file is not a trajectory, or an option was given.
    """
    refuse_key(path, options)
    refuse_first_index(path, options)
    # ASE leaves a file that it opened but cannot read open, so the file is opened here.
    with plain_file(path) as plain, plain.open("rb") as handle:
        reader = _call_ase(path, TrajectoryReader, handle)
        count = _call_ase(path, len, reader)
        for index in range(count):
            yield _finish_frame(path, index, options, reader.__getitem__, index)
    if count == 0:
        raise InputError(f"{path}: no structures in the file; write it again")


def read_database(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the rows of an ASE database in the order of their ids.

    Args:
        path: an SQLite or JSON database, plain or compressed.
        options: `key` names the entry of the rows' `data` that holds the Born effective charges;
            `first_index` says what the first index of that entry is, by default the field. Without a key the
            label is the result `born_effective_charges`, else the entry of that name; their index order is
            known.

    Yields:
        The structures. `atoms.info` holds the key-value pairs and the `data` of the row, and `source`. Labels
        are float64 (N, 3, 3), [atom, field, displacement], in e. An `InputError` stands in the place of each
        row that cannot be used.

    Raises:
        InputError: the file is not an ASE database or is damaged, or a first index was given without a key.
    """
    if options.key is None:
        refuse_first_index(path, options)
    index = -1
    with plain_file(path) as plain:
        for index, row in enumerate(_read_rows(path, plain)):
            yield _finish_frame(path, index, options, structure_of_row, row, options)
    if index < 0:
        raise InputError(f"{path}: no structures in the database; write it again")


def _read_rows(path: Path, plain: Path) -> Iterator[AtomsRow]:
    """Yield the rows of a database, a few at a time where the format allows it."""
    kind = "json"
    with plain.open("rb") as handle:
        if handle.read(len(_SQLITE)) == _SQLITE:
            kind = "db"
    if kind == "db" and not _call_ase(path, _has_systems, plain):
        raise InputError(f"{path}: an SQLite file without ASE's table of systems; name an ASE database")
    database = _call_ase(path, _connect, plain, kind)
    if kind == "json":
        yield from _call_ase(path, _select_rows_after, database, 0, None)
        return
    last = 0
    while rows := _call_ase(path, _select_rows_after, database, last, _ROWS_AT_A_TIME):
        yield from rows
        last = rows[-1].id


def _has_systems(path: Path) -> bool:
    """Return whether an SQLite file is an ASE database; ASE would turn any other into one."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        query = "SELECT COUNT(*) FROM sqlite_master WHERE type='table' AND name='systems'"
        return connection.execute(query).fetchone()[0] > 0


def _connect(path: Path, kind: str) -> Any:
    """Open an existing database with ASE, only to read from it."""
    return ase.db.connect(str(path), type=kind, use_lock_file=False)


def _select_rows_after(database: Any, last: int, limit: int | None) -> list[AtomsRow]:
    """Return the rows that follow the id `last`, at most `limit` of them."""
    with database:
        return list(database.select(f"id>{last}", sort="id", limit=limit))


def structure_of_row(row: AtomsRow, options: ReadOptions) -> Atoms:
    """Return a row as a structure with its info; a label from the row's `data` becomes a result."""
    atoms = row.toatoms()
    # For a key named like one of ASE's properties, `row.get` would return that property instead: "charge"
    # gives the sum of the initial charges.
    atoms.info = {**row.data, **{key: vars(row)[key] for key in row.key_value_pairs}}
    stored = atoms.info.pop(BEC if options.key is None else options.key, None)
    if options.key is not None:
        remove_label(atoms)
    elif stored is not None and atoms.calc is not None and BEC in atoms.calc.results:
        raise InputError(f"{BEC} is both a result and an entry of data; remove one")
    if stored is not None:
        atoms.calc = atoms.calc or SinglePointCalculator(atoms)
        atoms.calc.results[BEC] = stored
    return atoms


def _finish_frame(
    path: Path, index: int, options: ReadOptions, make: Callable[..., Atoms], *arguments: Any
) -> Atoms | InputError:
    """Return a frame, checked and with its label, or the error that says why it cannot be used."""
    if not options.wants(index):
        return NotWantedError()
    where = f"{path}, frame {index}"
    try:
        atoms = _call_ase(where, make, *arguments)
        atoms.info[SOURCE] = where
        check_structure(atoms)
        if atoms.calc is None or BEC not in atoms.calc.results:
            return atoms
        return attach_label(atoms, atoms.calc.results[BEC], options.first_index)
    except InputError as error:
        return error


def _call_ase(where: str | Path, make: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function of ASE and report whatever it raises as a fault of the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return make(*arguments)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    except Exception as error:
        # ASE does not document what its parsers raise on damaged files (KeyError, ValueError, OSError, ...).
        raise InputError(
            f"{where}: ASE cannot read it ({type(error).__name__}: {excerpt(str(error), 120)}); "
            "the file is damaged, copy it again"
        ) from None
