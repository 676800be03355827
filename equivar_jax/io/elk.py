"""Reader of Elk's Born effective charges (task 208, `BEC_Sss_Aaaa_Pp.OUT`, with `GEOMETRY.OUT` beside them).

Index order: the file of species ss, atom aaa and displacement direction p has one line for each direction of
the polarisation, **that is of the field**. Elk counts the charge of electrons as positive (subroutine
bornechg adds `spzn`, which is negative), so that **the sign is reversed**: -1.24 of Li in LiH is +1.24 e.
Both were found by comparison for a crystal without symmetry, with version 8.4.30.

Elk makes each file empty before it computes it; a set that is not complete is refused. Files of the same name
by task 478 depend on a frequency and are refused, too.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.ase_formats import read_bare_structure
from equivar_jax.io.calculations import finish_structure, parse_numbers, refuse_choices
from equivar_jax.io.files import base_name, excerpt, open_text
from equivar_jax.io.options import ReadOptions

_NAME = re.compile(r"BEC_S(\d{2})_A(\d{3})_P([123])\.OUT")
_FIRST = (1, 1, 1)
_GEOMETRY = "GEOMETRY.OUT"
_LINE = re.compile(r"\s*(\S+)\s*:\s*ip\s*=\s*([123])\s*")


def recognises_elk_charges(path: Path, _head: bytes) -> bool:
    """Return whether a file is, by its name, the first of the set of Elk's Born effective charges."""
    return _place(path) == _FIRST


def recognises_elk_part(path: Path, _head: bytes) -> bool:
    """Return whether a file is, by its name, one of the set of Elk's Born effective charges."""
    return _place(path) is not None


def read_elk_charges(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the whole set of Elk's Born effective charges to which a file belongs, and its structure.

    Args:
        path: one file of the set, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure, in Å, with a label [atom, field, displacement] in e.

    Raises:
        InputError: files of the set or `GEOMETRY.OUT` are missing or damaged, or an option was given.
    """
    refuse_choices(path, options)
    where = f"{path}, frame 0"
    atoms = _read_geometry(path)
    files = {place: file for file in path.parent.iterdir() if (place := _place(file)) is not None}
    places = _atoms_of_set(path, files)
    species = [place[0] for place in places]
    if len(places) != len(atoms) or any(
        len({symbol for symbol, other in zip(atoms.symbols, species, strict=True) if other == kind}) > 1
        for kind in set(species)
    ):
        raise InputError(
            f"{path}: files of {len(places)} atoms of {len(set(species))} species, and {_GEOMETRY} has "
            f"{atoms.get_chemical_formula()}; put all files of one task 208 into a folder"
        )
    tensors = np.array(
        [np.transpose([_read_column(files[*place, p], where) for p in (1, 2, 3)]) for place in places]
    )
    yield finish_structure(atoms, where, -tensors)


read_elk_part = read_elk_charges


def _place(path: Path) -> tuple[int, int, int] | None:
    """Return species, atom and displacement direction, from 1, that a file name states."""
    found = _NAME.fullmatch(base_name(path))
    return None if found is None else (int(found[1]), int(found[2]), int(found[3]))


def _file_name(place: tuple[int, int, int]) -> str:
    """Return the name of the file of a species, an atom and a direction."""
    return "BEC_S{:02d}_A{:03d}_P{}.OUT".format(*place)


def _atoms_of_set(path: Path, files: dict[tuple[int, int, int], Path]) -> list[tuple[int, int]]:
    """Return species and number within the species, from 1, of each atom that a set of files is about.

    Raises:
        InputError: a number is left out, or a direction is missing.
    """
    atoms = sorted({place[:2] for place in files})
    expected: list[tuple[int, int]] = []
    for species in range(1, max(place[0] for place in atoms) + 1):
        last = max((atom for kind, atom in atoms if kind == species), default=1)
        expected += [(species, atom) for atom in range(1, last + 1)]
    missing = sorted({(*atom, p) for atom in expected for p in (1, 2, 3)} - set(files))
    if missing:
        raise InputError(
            f"{path}: {_file_name(missing[0])} is missing; finish task 208, and put all of its files and "
            f"{_GEOMETRY} into one folder"
        )
    return atoms


def _read_geometry(path: Path) -> Atoms:
    """Return the structure of the calculation."""
    file = path.parent / _GEOMETRY
    if not file.is_file():
        raise InputError(f"{path}: it has no structure, and there is no {_GEOMETRY} beside it; put it there")
    frames = list(read_bare_structure(file, ReadOptions()))
    if len(frames) != 1:
        raise InputError(f"{file}: {len(frames)} structures; give Elk's own {_GEOMETRY}")
    if isinstance(frames[0], InputError):
        raise frames[0]
    return Atoms(frames[0].numbers, cell=frames[0].cell, positions=frames[0].positions, pbc=True)


def _read_column(file: Path, where: str) -> list[float]:
    """Return the three numbers of a file, one for each direction of the field."""
    if file.stat().st_size == 0:
        raise InputError(f"{file}: the file is empty, Elk has not computed it yet; finish task 208")
    with open_text(file) as handle:
        lines = [line for line in handle.read().splitlines() if line.strip()]
    found = [_LINE.fullmatch(line) for line in lines]
    values = [match[1] for match in found if match]
    if [match and match[2] for match in found] != ["1", "2", "3"]:
        raise InputError(
            f"{file}: found {excerpt(' / '.join(lines), 80)}, expected three lines 'number : ip = 1' to 3, "
            "as task 208 writes them; copy the file again"
        )
    return [parse_numbers(value, 1, where, file.name)[0] for value in values]
