"""Reader of the output of CP2K with atomic polar tensors (APT) of linear response.

They are in the output if the input has, in `&FORCE_EVAL / &PROPERTIES / &LINRES`,
`&DCDR / &PRINT / &APT / FILENAME __STD_OUT__`.

Index order in the file: three rows for each atom after "APT | Atom", **first index (the row) the
displacement direction**, second (the column) the field direction, in e. Source: CP2K 2023.1 (Debian
2023.1-2), a twisted H2O2 molecule. Two atoms agree to 4e-4 e with finite differences of the dipole in this
order; their tensors differ from the transposed ones by 0.1 e.

With more than one grid (`&MGRID / NGRIDS`, by default 4) this version of CP2K prints other tensors, which are
wrong: for the same molecule -2.86 e instead of -0.22 e, with a sum of -5.8 e. Such tensors are refused by
their sum.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import (
    check_elements,
    finish_structure,
    parse_numbers,
    parse_rows,
    refuse_choices,
)
from equivar_jax.io.files import excerpt, open_text
from equivar_jax.io.options import ReadOptions

_CHARGES = re.compile(r"APT \| Write the final apt matrix per atom.*")
_ATOM = re.compile(r"APT \| Atom +(\d+) - GAPT +(\S+) *")
_ROW = re.compile(r"APT \|( .*)")
_LINES = 4
"""Lines of the tensor of an atom: its name and three rows."""
_POSITIONS = re.compile(r" MODULE QUICKSTEP: +ATOMIC COORDINATES IN (\w+) *", re.IGNORECASE)
_SITE = re.compile(r" +(\d+) +\d+ +([A-Z][a-z]?) +\d+ +(\S+ +\S+ +\S+) .*")
_ONE_STRUCTURE = ("ENERGY", "ENERGY_FORCE", "LINEAR_RESPONSE")
_LARGEST_SUM = 0.1
"""Largest violation of the sum rule that is read, in e for each atom; the rules of hygiene are stricter."""


def recognises_cp2k(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of an output of CP2K."""
    return re.search(rb"^ (CP2K|DBCSR)\| ", head, re.MULTILINE) is not None


def read_cp2k(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the atomic polar tensors of an output of CP2K.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure with its label [atom, field, displacement] in e, or an `InputError` in its place. The
        output has the lattice vectors with three decimals in Å.

    Raises:
        InputError: the file has no tensors or several sets of them, it is not of a single structure, or an
            option was given.
    """
    refuse_choices(path, options)
    with open_text(path, errors="replace") as handle:
        lines = handle.read().splitlines()
    headings = [number for number, line in enumerate(lines) if _CHARGES.fullmatch(line)]
    if not headings:
        raise InputError(
            f"{path}: an output of CP2K without atomic polar tensors; print them by &PROPERTIES &LINRES "
            "&DCDR &PRINT &APT with FILENAME __STD_OUT__, or give a file of the structure to predict them"
        )
    run = next((line.split()[-1] for line in lines if line.startswith(" GLOBAL| Run type")), "unknown")
    if len(headings) > 1 or run not in _ONE_STRUCTURE:
        raise InputError(
            f"{path}: {len(headings)} sets of atomic polar tensors in a run of type {run}, whose structures "
            "are not in the output; repeat CP2K with RUN_TYPE ENERGY for each structure"
        )
    try:
        frame: Atoms | InputError = _make_frame(lines, headings[0], f"{path}, frame 0")
    except InputError as error:
        frame = error
    yield frame


def _make_frame(lines: list[str], heading: int, where: str) -> Atoms:
    """Return the structure with its tensors, which stand after the line `heading`."""
    atoms = _parse_structure(lines[:heading], where)
    tensors = _parse_tensors(lines[heading + 1 :], len(atoms), where)
    (charge,) = parse_numbers(_word_after(lines, r" DFT\| Charge"), 1, where, "charge of the cell")
    excess = float(np.abs(tensors.sum(axis=0) - charge * np.eye(3)).max())
    if excess > _LARGEST_SUM * len(atoms):
        raise InputError(
            f"{where}: the atomic polar tensors miss the charge of the cell by {excess:.2f} e, as those of "
            "CP2K do that were computed with several grids; repeat it with NGRIDS 1 in &MGRID"
        )
    if charge:
        atoms.info["charge"] = charge
    return finish_structure(atoms, where, tensors)


def _parse_structure(lines: list[str], where: str) -> Atoms:
    """Return the structure of the run, in Å."""
    tables = [
        (number, found[1]) for number, line in enumerate(lines) if (found := _POSITIONS.fullmatch(line))
    ]
    if len(tables) != 1 or tables[0][1].upper() != "ANGSTROM":
        raise InputError(
            f"{where}: {len(tables)} tables of atomic coordinates, expected one in Å; repeat CP2K with "
            "PRINT_LEVEL MEDIUM and RUN_TYPE ENERGY"
        )
    axes = [_word_after(lines, rf" CELL\| Vector {axis} \[angstrom\]:", 3) for axis in "abc"]
    cell = parse_rows(axes, 3, where, "lattice vectors")
    start = tables[0][0] + 1
    while start < len(lines) and not lines[start].strip():
        start += 1
    sites = []
    for line in lines[start + 1 :]:
        if found := _SITE.fullmatch(line):
            sites.append(found.groups())
        elif line.strip() or sites:
            break
    if [int(number) for number, *_ in sites] != list(range(1, len(sites) + 1)):
        raise InputError(f"{where}: the table of atomic coordinates is not complete; copy the file again")
    symbols = check_elements([symbol for _, symbol, _ in sites], where)
    places = parse_rows((place for *_, place in sites), len(symbols), where, "atomic coordinates")
    periodic = _word_after(lines, r" CELL\| Periodicity") or "NONE"
    return Atoms(symbols, cell=cell, positions=places, pbc=[axis in periodic for axis in "XYZ"])


def _parse_tensors(lines: list[str], count: int, where: str) -> np.ndarray:
    """Parse the tensors [atom, field, displacement], e, and compare their traces with those printed."""
    tensors = np.zeros((count, 3, 3))
    for index in range(count):
        block = lines[_LINES * index : _LINES * (index + 1)]
        name = f"atomic polar tensor of atom {index + 1}"
        found = _ATOM.fullmatch(block[0]) if len(block) == _LINES else None
        rows = [row[1] for line in block[1:] if (row := _ROW.fullmatch(line))]
        if found is None or int(found[1]) != index + 1 or len(rows) != 3:
            raise InputError(
                f"{where}: {name}: found {excerpt(block[0]) if block else 'nothing'} in its place; the "
                "calculation did not finish or the file was damaged: copy it again"
            )
        tensors[index] = parse_rows(rows, 3, where, name).T
        (third,) = parse_numbers(found[2], 1, where, f"GAPT of atom {index + 1}")
        if abs(third - np.trace(tensors[index]) / 3) > 1e-5 * max(1.0, abs(third)):
            raise InputError(
                f"{where}: {name}: a third of the trace is {np.trace(tensors[index]) / 3:.6f} and not the "
                f"{third:.6f} that is printed; copy the file again"
            )
    end = lines[_LINES * count : _LINES * count + 1]
    if not end or not end[0].startswith("APT | Write the total"):
        raise InputError(f"{where}: the atomic polar tensors are not those of {count} atoms; copy it again")
    return tensors


def _word_after(lines: list[str], pattern: str, words: int = 1) -> str | None:
    """Return the first words after a pattern at the beginning of a line, or None."""
    found = re.compile(rf"{pattern}((?: +\S+){{{words}}}).*")
    return next((match[1] for line in lines if (match := found.fullmatch(line))), None)
