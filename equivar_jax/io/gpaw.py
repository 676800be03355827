"""Reader of GPAW's Born effective charges (`borncharges-*.json`, written by `gpaw.borncharges`).

Index order: `Z_avv` is [atom, field, displacement] in e: **the field comes first**. It was compared with
Quantum ESPRESSO and Abinit for the same crystal without symmetry.

The file has the elements and no structure; that is read from another file of its folder: one whose name
begins with `gs` or `structure`, else any, as long as there is only one structure with these elements in this
order.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.ase_formats import read_bare_structure
from equivar_jax.io.calculations import check_elements, finish_structure, refuse_choices
from equivar_jax.io.files import excerpt, format_suffix, open_text
from equivar_jax.io.options import ReadOptions

_TENSORS = "Z_avv"
_NAMES = ("gs", "structure")
_STRUCTURES = (".txt", ".gpw", ".traj", ".json", ".cif", ".xyz", ".extxyz", ".vasp", "")
_SAME = 1e-5
"""In Å. The same structure written by two programs differs by less."""


def recognises_gpaw_charges(path: Path, head: bytes) -> bool:
    """Return whether a file is GPAW's file of Born effective charges."""
    return format_suffix(path) == ".json" and b'"Z_avv"' in head


def read_gpaw_charges(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read GPAW's Born effective charges together with the structure in their folder.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure, in Å, with a label [atom, field, displacement] in e.

    Raises:
        InputError: the file is damaged or has not the tensors of all atoms, its folder has no structure with
            these elements or several, or an option was given.
    """
    refuse_choices(path, options)
    content = _read_json(path)
    where = f"{path}, frame 0"
    symbols = content.get("sym_a")
    if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
        raise InputError(f"{where}: no list of elements sym_a; write the file again with gpaw.borncharges")
    check_elements(symbols, where)
    tensors = _tensors(content, len(symbols), where)
    atoms = _find_structure(path, symbols)
    yield finish_structure(atoms, where, tensors)


def _read_json(path: Path) -> dict[str, Any]:
    """Return the content of the file."""
    try:
        with open_text(path) as handle:
            content = json.load(handle)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a JSON file ({excerpt(str(error), 80)}); copy it again") from None
    if not isinstance(content, dict) or _TENSORS not in content:
        raise InputError(f"{path}: no {_TENSORS} in it; give the file that gpaw.borncharges writes")
    return content


def _tensors(content: dict[str, Any], count: int, where: str) -> np.ndarray:
    """Return the tensors of all atoms."""
    if _plain(content.get("indices_a", list(range(count)))) != list(range(count)):
        raise InputError(
            f"{where}: tensors of the atoms {excerpt(str(content['indices_a']))} only; run gpaw.borncharges "
            "for all atoms"
        )
    try:
        tensors = np.array(_plain(content[_TENSORS]))
    except ValueError:  # rows of different lengths
        tensors = np.array(None)
    if tensors.dtype.kind not in "iuf" or tensors.shape != (count, 3, 3):
        raise InputError(
            f"{where}: {_TENSORS} is no array of real numbers of shape ({count}, 3, 3); copy the file again"
        )
    return tensors.astype(np.float64)


def _plain(stored: Any) -> Any:
    """Return an array as a list; ASE's JSON has it as shape, type and a flat list."""
    if not isinstance(stored, dict) or not isinstance(stored.get("__ndarray__"), list):
        return stored
    shape, _, numbers = (*stored["__ndarray__"], None, None, None)[:3]
    try:
        return np.array(numbers).reshape(shape).tolist()
    except (TypeError, ValueError):
        return None


def _find_structure(path: Path, symbols: list[str]) -> Atoms:
    """Return the structure of the folder that belongs to a list of elements."""
    files = [
        file
        for file in sorted(path.parent.iterdir())
        if file.is_file() and file != path and format_suffix(file) in _STRUCTURES
    ]
    named = [file for file in files if file.name.lower().startswith(_NAMES)]
    for candidates in (named, files):
        found = {file: atoms for file in candidates if (atoms := _structure_of(file, symbols)) is not None}
        if found:
            first, *others = found.values()
            if all(_is_same(first, other) for other in others):
                return first
            raise InputError(
                f"{path}: {', '.join(file.name for file in found)} beside it have these elements and differ; "
                "leave the one whose charges these are"
            )
    raise InputError(
        f"{path}: it has no structure, and no file beside it has exactly one structure of "
        f"{excerpt(' '.join(symbols))} in this order; put gs.txt or another structure file there"
    )


def _structure_of(file: Path, symbols: list[str]) -> Atoms | None:
    """Return the only structure of a file, if it has these elements in this order."""
    try:
        frames = list(read_bare_structure(file, ReadOptions()))
    except InputError:
        return None
    if len(frames) != 1 or isinstance(frames[0], InputError) or list(frames[0].symbols) != symbols:
        return None
    atoms = frames[0]
    return Atoms(atoms.numbers, cell=atoms.cell, positions=atoms.positions, pbc=atoms.pbc)


def _is_same(one: Atoms, other: Atoms) -> bool:
    """Return whether two structures are the same, as printed."""
    return bool(
        np.abs(one.cell.array - other.cell.array).max() < _SAME
        and np.abs(one.positions - other.positions).max() < _SAME
        and (one.pbc == other.pbc).all()
    )
