"""Writers of ASE trajectories (`.traj`) and SQLite databases (`.db`); both keep every bit of the label.

The label has ASE's own convention: [atom, field direction, displacement direction], shape (N, 3, 3), in e.
"""

import sqlite3
import warnings
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

import ase.db
from ase import Atoms
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from ase.db.core import check as check_key_value_pairs
from ase.db.core import object_to_bytes
from ase.db.row import AtomsRow
from ase.io.jsonio import encode
from ase.io.trajectory import TrajectoryWriter

from equivar_jax.errors import InputError
from equivar_jax.io.files import complete_file
from equivar_jax.io.labels import prepare_label
from equivar_jax.structures import BEC, check_structure, source


def write_trajectory(path: Path, structures: Iterable[Atoms]) -> None:
    """Write structures as an ASE trajectory.

    `ase.io.read` returns the same float64 bits: the cell, the positions, the calculator's results with
    `born_effective_charges`, and `atoms.info`. Results that ASE does not know are stored in `atoms.info`. Of
    the other arrays, ASE keeps masses, momenta, tags, initial charges and magnetic moments.

    Args:
        path: the file to write.
        structures: the structures, with or without labels [atom, field, displacement] in e.

    Raises:
        InputError: there are no structures, the path cannot be written to, or ASE cannot store an entry of
            `atoms.info`.
    """
    count = 0
    with complete_file(Path(path)) as partial, closing(TrajectoryWriter(str(partial))) as writer:
        for atoms in structures:
            prepared = prepare_for_ase(atoms)
            for key, value in prepared.info.items():
                require_storable(prepared, key, value, encode)
            writer.write(prepared)
            count += 1
        _require_some(path, count)


def write_database(path: Path, structures: Iterable[Atoms]) -> None:
    """Write structures as rows of a new ASE database (SQLite).

    ASE's table has no column for Born effective charges, and `ase.io.read` does not return them. They are
    `row.data["born_effective_charges"]` of the rows that `ase.db.connect(path).select()` gives, and
    `equivar_jax.io.read_structures` turns them into labels again. The entries of `atoms.info` become
    key-value pairs of the row (which can be used to select rows) where ASE allows it, else entries of `data`.
    For other arrays see `write_trajectory`.

    Args:
        path: the file to write; an existing database is replaced.
        structures: the structures, with or without labels [atom, field, displacement] in e.

    Raises:
        InputError: there are no structures, the path cannot be written to, or ASE cannot store an entry of
            `atoms.info`.
    """
    count = 0
    with complete_file(Path(path)) as partial:
        partial.unlink(missing_ok=True)
        try:
            with ase.db.connect(str(partial), type="db", use_lock_file=False) as database:
                for atoms in structures:
                    write_row(database, prepare_for_ase(atoms))
                    count += 1
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be written ({error}); check the folder") from None
        _require_some(path, count)


def prepare_for_ase(atoms: Atoms) -> Atoms:
    """Return a copy whose calculator holds the results of just this structure.

    Results that ASE cannot name are moved to `atoms.info`.

    Raises:
        InputError: a name is both in `atoms.info` and among these results, or the structure or its label is
            refused by `check_structure` or `prepare_label`.
    """
    check_structure(atoms)
    results = {} if atoms.calc is None else {k: v for k, v in atoms.calc.results.items() if v is not None}
    if BEC in results:
        results[BEC] = prepare_label(atoms, results[BEC])
    others = {name: results.pop(name) for name in list(results) if name not in all_properties}
    twice = sorted(set(atoms.info) & set(others))
    if twice:
        raise InputError(
            f"{source(atoms)}: {twice[0]!r} is both in atoms.info and in the results; "
            "remove it from atoms.info"
        )
    copy = atoms.copy()
    copy.info.update(others)
    # ASE silently drops the results of a calculator that was made for other positions.
    copy.calc = SinglePointCalculator(copy, **results) if results else None
    return copy


def write_row(database: Any, atoms: Atoms) -> None:
    """Add one prepared structure to a database."""
    pairs = {key: value for key, value in atoms.info.items() if _is_pair(key, value)}
    data = {key: value for key, value in atoms.info.items() if key not in pairs}
    if atoms.calc is not None and BEC in atoms.calc.results:
        data[BEC] = atoms.calc.results[BEC]
    for key, value in data.items():
        require_storable(atoms, key, value, object_to_bytes)
    database.write(atoms, key_value_pairs=pairs, data=data)


def _is_pair(key: object, value: object) -> bool:
    """Return whether ASE stores and returns an entry unchanged as a key-value pair."""
    if not isinstance(key, str) or hasattr(AtomsRow, key):  # such a key would return the row's own property
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            check_key_value_pairs({key: value})
    except (ValueError, UserWarning):
        return False
    return True


def require_storable(atoms: Atoms, key: object, value: Any, convert: Any) -> None:
    """Refuse an entry of info that ASE would drop or cannot write."""
    try:
        convert(value)
    except Exception:
        # ASE's converters raise TypeError, ValueError, AttributeError or AssertionError.
        storable = False
    else:
        storable = isinstance(key, str)
    if not storable:
        raise InputError(
            f"{source(atoms)}: the entry {key!r} of type {type(value).__name__} cannot be stored by ASE; "
            "remove it from atoms.info"
        )


def _require_some(path: Path, count: int) -> None:
    """Refuse to write a file without structures."""
    if count == 0:
        raise InputError(f"{path}: no structures to write; give at least one")
