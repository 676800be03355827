"""Reader of the output of CRYSTAL (Torino) with the charges of FREQCALC and INTENS.

Index order in the file: three rows for each atom under "ATOMIC BORN CHARGE TENSOR", **first index (the row)
the field direction**, second the displacement direction, in e. Source: the output of CRYSTAL17 in the public
examples of PDielec (github.com/JohnKendrick/PDielec, `Examples/Crystal/Na2SO42_C17/Na2SO42.out`, 12 atoms),
which also prints the charges of the normal modes: their directions are reproduced to 1e-3 with this order
and missed by up to 0.14 with the other. PDielec 10.0.0 (`CrystalOutputReader`) and phonopy 4.10
(`phonopy-crystal-born`) take the same order. `BORN.DAT`, which CRYSTAL writes beside it, is transposed and
has no structure.

Charges belong to the structure that is printed last before them. Tensors have five digits, `BORN.DAT` has
eight decimals.
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

_BANNER = re.compile(rb"^ \*\s+CRYSTAL\d\d\s+\*\s*$", re.MULTILINE)
_CHARGES = "ATOMIC BORN CHARGE TENSOR (UNITS OF e, ELECTRON CHARGE)"
_END = "EEEEEEEEEE TERMINATION"
_LATTICE = "DIRECT LATTICE VECTORS CARTESIAN COMPONENTS (ANGSTROM)"
_POSITIONS = "CARTESIAN COORDINATES - PRIMITIVE CELL"
_COUNT = re.compile(r"ATOMS IN THE UNIT CELL: +(\d+)")
_SITE = re.compile(r"\s+(\d+)\s+\d+\s+([A-Z]{1,2})\s+(.*)")
_ATOM = re.compile(r"\s+ATOM\s+(\d+)\s+([A-Z]{1,2})\s+DYNAMIC CHARGE\s+(\S+)\s*")
_COMPONENTS = ("XX", "XY", "XZ", "YY", "YZ", "ZZ")
_LINES = 7
"""Lines of the tensor of an atom: its name, blank, the columns' numbers, three rows, blank."""


def recognises_crystal_output(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of an output of CRYSTAL."""
    return _BANNER.search(head) is not None


def read_crystal_output(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structures of an output of CRYSTAL that have Born effective charges; if none, the last one.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        Structures with labels [atom, field, displacement] in e, and the electronic dielectric tensor of a
        CPHF calculation, float64 (3, 3), at `info["epsilon_inf"]` if the file has it. Slabs and polymers are
        periodic in two directions and one. An `InputError` stands in the place of a structure that cannot be
        used.

    Raises:
        InputError: the file cannot be read, has tensors without their heading, has neither tensors nor the
            end of an output, or an option was given.
    """
    refuse_choices(path, options)
    with open_text(path, errors="replace") as handle:  # a title may have any encoding
        lines = handle.read().splitlines()
    headings = [number for number, line in enumerate(lines) if _CHARGES in line]
    if not headings and any(map(_ATOM.fullmatch, lines)):
        raise InputError(f"{path}: tensors of atoms without the heading {_CHARGES!r}; copy the file again")
    if not headings and not any(_END in line for line in lines):
        raise InputError(
            f"{path}: neither Born effective charges nor the word TERMINATION of a complete output of "
            "CRYSTAL; finish the calculation or copy the file again"
        )
    for count, heading in enumerate(headings or [len(lines)]):
        start = headings[count - 1] if count else 0
        try:
            yield _make_frame(lines[start:heading], lines[heading:], f"{path}, frame {count}")
        except InputError as error:
            yield error


def _make_frame(before: list[str], charges: list[str], where: str) -> Atoms:
    """Return the structure at the end of `before`, with the tensors at the beginning of `charges`."""
    atoms = _parse_structure(before, where)
    tensors = _parse_charges(charges, atoms, where) if charges else None
    return finish_structure(atoms, where, tensors, _parse_epsilon(before, where))


def _parse_structure(lines: list[str], where: str) -> Atoms:
    """Return the structure that is printed last, in Å."""
    lattice, positions = _find_last(lines, _LATTICE), _find_last(lines, _POSITIONS)
    sizes = [found[1] for line in lines if (found := re.search(r"DIMENSIONALITY OF THE SYSTEM +(\d)", line))]
    if lattice is None or positions is None or not sizes:
        raise InputError(
            f"{where}: no lattice vectors and Cartesian coordinates of a primitive cell in this output of "
            "CRYSTAL; give the output of a periodic system, from its beginning"
        )
    cell = parse_rows(lines[lattice + 2 : lattice + 5], 3, where, "lattice vectors")
    rows = []
    for line in lines[positions + 4 :]:
        if not (found := _SITE.fullmatch(line)):
            break
        rows.append(found.groups())
    counts = [int(found[1]) for line in lines if (found := _COUNT.search(line))]
    if not counts or [int(number) for number, *_ in rows] != list(range(1, counts[-1] + 1)):
        raise InputError(
            f"{where}: {len(rows)} atoms in the table of the primitive cell, expected numbers 1 to "
            f"{counts[-1] if counts else 'that of the unit cell'}; copy the file again"
        )
    symbols = check_elements([symbol.capitalize() for _, symbol, _ in rows], where)
    places = parse_rows((row for *_, row in rows), len(rows), where, "Cartesian coordinates")
    periodic = [direction < int(sizes[-1]) for direction in range(3)]
    return Atoms(symbols, cell=cell, positions=places, pbc=periodic)


def _parse_charges(lines: list[str], atoms: Atoms, where: str) -> np.ndarray:
    """Parse the tensors [atom, field, displacement], e, after their heading and a line about the trace."""
    tensors = np.zeros((len(atoms), 3, 3))
    for index, symbol in enumerate(atoms.symbols):
        block = lines[3 + _LINES * index : 3 + _LINES * index + 6]
        name = f"Born effective charges of atom {index + 1}"
        found = _ATOM.fullmatch(block[0]) if len(block) == 6 else None
        if found is None or (int(found[1]), found[2].capitalize()) != (index + 1, symbol):
            raise InputError(
                f"{where}: {name}: found {excerpt(block[0]) if block else 'nothing'} in the place of its "
                "name; the calculation did not finish or the file was damaged: copy it again"
            )
        for direction, line in enumerate(block[3:]):
            row, *numbers = parse_numbers(line, 4, where, name)
            if row != direction + 1:
                raise InputError(
                    f"{where}: {name}: row {row:g} in the place of {direction + 1}; copy it again"
                )
            tensors[index, direction] = numbers
        (charge,) = parse_numbers(found[3], 1, where, f"dynamic charge of atom {index + 1}")
        if abs(charge - np.trace(tensors[index]) / 3) > 1e-3 * max(1.0, np.abs(tensors[index]).max()):
            raise InputError(
                f"{where}: {name}: a third of the trace is {np.trace(tensors[index]) / 3:.4f} and not the "
                f"dynamic charge {charge:.4f} that is printed; copy the file again"
            )
    if any(map(_ATOM.fullmatch, lines[3 + _LINES * len(atoms) : 4 + _LINES * len(atoms)])):
        raise InputError(
            f"{where}: more tensors than the {len(atoms)} atoms of the primitive cell; copy the file again"
        )
    return tensors


def _parse_epsilon(lines: list[str], where: str) -> np.ndarray | None:
    """Parse the dielectric tensor of a CPHF calculation at zero frequency; return None if there is none.

    CRYSTAL14 prints component, polarisability (real, imaginary), epsilon and chi; CRYSTAL17 and later print
    the frequency before them and the imaginary part of epsilon after it.
    """
    heading = _find_last(lines, "SUSCEPTIBILITY (CHI(1)) TENSORS")
    if heading is None:
        return None
    rows = [line.split() for line in lines[heading + 3 : heading + 9]]
    later = all(len(row) == 7 and row[0].strip("0.") == "" for row in rows)
    rows = [row[1:] for row in rows] if later else rows
    if [row[0] if row else "" for row in rows] != list(_COMPONENTS):
        return None
    values = parse_numbers(" ".join(row[3] for row in rows), 6, where, "dielectric tensor")
    epsilon = np.zeros((3, 3))
    epsilon[np.triu_indices(3)] = values
    return epsilon + np.triu(epsilon, 1).T


def _find_last(lines: list[str], text: str) -> int | None:
    """Return the number of the last line that contains a text, or None."""
    return next((number for number in reversed(range(len(lines))) if text in lines[number]), None)
