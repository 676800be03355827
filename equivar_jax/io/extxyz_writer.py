"""Writer of extended XYZ that keeps every digit of every number.

ASE's own writer always prints eight decimals, refuses (N, 3, 3) columns, and drops results and comment
entries that it does not know. The lines written here follow the same format and can be read by ASE. Each
number is the shortest decimal that gives the same float64 back.
"""

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixCartesian
from ase.io.extxyz import SPECIAL_3_3_KEYS, key_val_str_to_dict, per_atom_properties
from ase.spacegroup import Spacegroup
from ase.stress import voigt_6_to_full_3x3_stress

from equivar_jax.errors import InputError
from equivar_jax.io.files import open_for_writing
from equivar_jax.io.labels import prepare_label
from equivar_jax.structures import BEC, check_structure, source

# Names that have a meaning in the format; other columns and entries must not use them.
_RESERVED_COLUMNS = {"species", "symbols", "pos", "positions", "Z", "numbers", "move_mask"}
_RESERVED_ENTRIES = {"Lattice", "Properties", "pbc"}
_COLUMN_NAME = re.compile(r"[^\s:=,\"'{}\[\]\\]+")
_BARE_WORD = re.compile(r"[A-Za-z0-9_.+-]+")


def write_extxyz(path: Path, structures: Iterable[Atoms]) -> None:
    """Write structures as extended XYZ that reads back with the same float64 bits.

    The label becomes the column `born_effective_charges:R:9`: row by row, field index first, displacement
    second, in e. The file also gets the cell and periodicity, all of `atoms.arrays` (flattened to columns),
    all of `atoms.info`, the constraints FixAtoms and FixCartesian (the format has no others), and the other
    results of the calculator. Results that ASE's format does not know come back in `atoms.info`.

    Args:
        path: the file to write, compressed if its name ends in `.gz` or `.zst`.
        structures: the structures, with or without labels.

    Raises:
        InputError: there are no structures, the path cannot be written to, or an extended XYZ file cannot
            hold the content.
    """
    count = 0
    with open_for_writing(Path(path)) as handle:
        for atoms in structures:
            handle.writelines(frame_lines(atoms))
            count += 1
        if count == 0:
            raise InputError(f"{path}: no structures to write; give at least one")


def frame_lines(atoms: Atoms) -> Iterator[str]:
    """Yield the lines of one structure."""
    check_structure(atoms)
    results = {} if atoms.calc is None else {k: v for k, v in atoms.calc.results.items() if v is not None}
    columns = [("species", "S", np.array(list(atoms.symbols))), ("pos", "R", atoms.positions)]
    columns += _label_columns(atoms, results.pop(BEC, None))
    columns += _move_mask_columns(atoms)
    free = {name: array for name, array in atoms.arrays.items() if name not in ("numbers", "positions")}
    per_atom = {name: results.pop(name) for name in per_atom_properties if name in results}
    for name, array in (*free.items(), *per_atom.items()):
        if not _COLUMN_NAME.fullmatch(name) or name in _RESERVED_COLUMNS or name in (c[0] for c in columns):
            raise InputError(
                f"{source(atoms)}: the array {name!r} cannot become a column of this name; rename it"
            )
        columns.append((name, *_check_column(atoms, name, np.asarray(array))))
    widths = [values.reshape(len(atoms), -1).shape[1] for _, _, values in columns]
    properties = ":".join(f"{name}:{kind}:{w}" for (name, kind, _), w in zip(columns, widths, strict=True))
    printed = [
        _format_column(column) for _, _, values in columns for column in values.reshape(len(atoms), -1).T
    ]
    yield f"{len(atoms)}\n{_format_comment(atoms, properties, results)}\n"
    yield from (" ".join(row).rstrip() + "\n" for row in zip(*printed, strict=True))


_Columns = list[tuple[str, str, np.ndarray]]


def _label_columns(atoms: Atoms, tensors: np.ndarray | None) -> _Columns:
    """Return the nine columns of the label, [field, displacement] row by row, or none."""
    if tensors is None:
        return []
    return [(BEC, "R", prepare_label(atoms, tensors))]


def _move_mask_columns(atoms: Atoms) -> _Columns:
    """Return fixed atoms or Cartesian directions as ASE stores them: false where fixed."""
    movable = np.ones((len(atoms), 3), dtype=bool)
    cartesian = False
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            movable[constraint.index] = False
        elif isinstance(constraint, FixCartesian):
            movable[constraint.index] &= ~np.asarray(constraint.mask, dtype=bool)
            cartesian = True
    if movable.all():
        return []
    return [("move_mask", "L", movable if cartesian else movable[:, 0])]


def _check_column(atoms: Atoms, name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Return the letter of a column's type and its values, if the format can hold them."""
    letters = {"f": "R", "i": "I", "u": "I", "b": "L", "U": "S", "O": "S"}
    letter = letters.get(array.dtype.kind)
    if array.shape[:1] != (len(atoms),) or array.size == 0 or letter is None:
        raise InputError(
            f"{source(atoms)}: the array {name!r} of shape {array.shape} and type {array.dtype} does not fit "
            "into columns of numbers, words or booleans; remove it"
        )
    if letter == "I" and np.abs(array.astype(np.float64)).max() > np.iinfo(np.int32).max:
        raise InputError(
            f"{source(atoms)}: the array {name!r} has integers beyond 32 bits, which ASE cannot read back; "
            "store it as floating-point numbers or words"
        )
    if letter == "S" and not all(_is_word(value) for value in array.ravel().tolist()):
        raise InputError(
            f"{source(atoms)}: the array {name!r} has entries that are not single words; "
            "remove or rename them"
        )
    return letter, array


def _is_word(value: object) -> bool:
    """Return whether a value survives as one entry of a line that is split at white space."""
    return isinstance(value, str) and value.isprintable() and value.split() == [value]


def _format_column(column: np.ndarray) -> list[str]:
    """Return one column of a frame as texts of equal width."""
    if column.dtype.kind == "b":
        return ["T" if value else "F" for value in column.tolist()]
    if column.dtype.kind == "f":
        # `repr` gives the shortest decimal that reads back as the same float64.
        numbers = [repr(value) for value in column.astype(np.float64).tolist()]
        width = max(map(len, numbers))
        return [number.rjust(width) for number in numbers]
    words = [str(value) for value in column.tolist()]
    width = max(map(len, words))
    return [word.ljust(width) for word in words]


def _format_comment(atoms: Atoms, properties: str, results: dict[str, Any]) -> str:
    """Return the second line of a frame: cell, columns, periodicity, and all named entries."""
    where = source(atoms)
    parts = []
    if atoms.cell.array.any():
        # One lattice vector after the other; the format calls this order column-major.
        parts.append(f'Lattice="{_format_numbers(atoms.cell.array)}"')
    parts.append(f"Properties={properties}")
    parts.append('pbc="' + " ".join("T" if periodic else "F" for periodic in atoms.pbc) + '"')
    if "stress" in results and np.shape(results["stress"]) == (6,):
        results = {**results, "stress": voigt_6_to_full_3x3_stress(results["stress"])}
    twice = sorted(set(atoms.info) & set(results), key=str)
    if twice:
        raise InputError(
            f"{where}: {twice[0]!r} is both in atoms.info and in the results; remove it from atoms.info"
        )
    for name, value in (*atoms.info.items(), *results.items()):
        entry = None if name in _RESERVED_ENTRIES else _format_entry(name, value)
        if entry is None:
            raise InputError(
                f"{where}: the entry {name!r} of type {type(value).__name__} cannot be written to the "
                "comment line of an extended XYZ file; remove it from atoms.info"
            )
        parts.append(entry)
    return " ".join(parts)


def _format_entry(name: object, value: Any) -> str | None:
    """Return `name=value` in the first form that ASE parses back to the same value, or None."""
    if not isinstance(name, str):
        return None
    if isinstance(value, Spacegroup):
        value = value.symbol
    try:
        encoded = json.dumps(value, default=_to_plain_lists)
    except (TypeError, ValueError):
        return None
    for text in (_format_bare(name, value), f"_JSON {encoded}"):
        entry = f"{_quote(name)}={_quote(text)}" if text is not None else ""
        if entry and entry.isprintable() and _parses_to(entry, name, encoded):
            return entry
    return None


def _parses_to(entry: str, name: str, encoded: str) -> bool:
    """Return whether ASE reads an entry as the value with this JSON form."""
    try:
        parsed = key_val_str_to_dict(entry)
    except ValueError:
        return False
    return set(parsed) == {name} and json.dumps(parsed[name], default=_to_plain_lists) == encoded


def _format_bare(name: str, value: Any) -> str | None:
    """Return the form that other programs expect (words, numbers, rows of numbers), or None."""
    if isinstance(value, bool | np.bool_):
        return "T" if value else "F"
    if isinstance(value, int | float | np.integer | np.floating):
        return str(value)
    if isinstance(value, str):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "if":
        if name in SPECIAL_3_3_KEYS and value.shape == (3, 3):
            return _format_numbers(value.T)
        if value.ndim == 1 and value.size > 1:
            return _format_numbers(value)
    return None


def _format_numbers(array: np.ndarray) -> str:
    """Return numbers in a row, each as the shortest decimal that reads back the same."""
    return " ".join(repr(value) for value in array.ravel().tolist())


def _quote(text: str) -> str:
    """Return text as one token of the comment line, where a backslash escapes the next character."""
    if _BARE_WORD.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _to_plain_lists(value: Any) -> Any:
    """Convert NumPy values to the numbers and lists that JSON knows."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(type(value).__name__)
