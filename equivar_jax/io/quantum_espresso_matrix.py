"""Readers of Quantum ESPRESSO's dynamical matrices (`fildyn` of ph.x) and force constants (`flfrc` of q2r.x).

Index order: three rows for each atom, in e.

- "Effective Charges E-U: Z_{alpha}{s,beta}" (from fields) has `zstareu` row by row: **first index (the row)
  the field direction** alpha, second the displacement.
- "Effective Charges U-E: Z_{s,alpha}{beta}" (from displacements) has **the displacement direction first**; it
  was compared with E-U of the same calculation and with forces in a field. It is read where there is no E-U.
- Force constants of q2r.x have the charges of E-U, **field first**, with seven decimals; its `zasr` has taken
  the drift out.

No library reads these files. With `epsil` and without `zeu`, and for atoms that `nat_todo` leaves out, they
hold numbers that were never calculated; these are refused.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr, _amu, _me

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import finish_structure, parse_numbers, parse_rows, whole_number
from equivar_jax.io.files import excerpt
from equivar_jax.io.isotopes import set_stated_masses
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.quantum_espresso_lattice import lattice_vectors
from equivar_jax.io.quantum_espresso_text import (
    CUT_SHORT,
    elements_of_labels,
    find_last,
    is_computed,
    parse_tensors,
    read_lines,
    skip_blank,
    stated_mass,
    undisplaced_atoms,
)

_TITLE = "Dynamical matrix file"
_FIELD_FIRST = "Effective Charges E-U: Z_{alpha}{s,beta}"
_DISPLACEMENT_FIRST = "Effective Charges U-E: Z_{s,alpha}{beta}"
_CHARGES = "Effective Charges"
_ATOM_IN_MATRIX = r"\s*atom\s*#\s*{atom}\s*"
_ATOM_IN_CONSTANTS = r"\s*{atom}\s*"
_ROW = r"(.*)"
_HEAD_OF_CONSTANTS = re.compile(rb"\s*\d+\s+\d+\s+-?\d+(\s+-?\d+\.\d+){6}\s*\n")
_HAS_CHARGES = re.compile(r"[TF](\s+\d+\.\d*)?")  # some versions may put a parameter of their sums behind it
_TYPE = re.compile(r"\s*\d+\s+'(.*)'\s*(\S*)")
_MASS_UNIT = 2.0 * _me / _amu
"""In u. Rydberg's atomic units have twice the mass of the electron."""


def recognises_dynamical_matrix(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of a dynamical-matrix file."""
    return head.lstrip().startswith(_TITLE.encode())


def recognises_q2r_constants(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of force constants of q2r.x."""
    return _HEAD_OF_CONSTANTS.match(head) is not None and re.search(rb"\n\s*\d+\s+'", head) is not None


def read_dynamical_matrix(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of a dynamical-matrix file of ph.x.

    Args:
        path: the file, plain or compressed; the file of q = 0 has the charges.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure. It has a label [atom, field, displacement] in e if the file has charges, and the
        electronic dielectric tensor, float64 (3, 3), at `info["epsilon_inf"]`. An `InputError` stands in its
        place if it cannot be used.

    Raises:
        InputError: the file is not complete, or an option was given.
    """
    lines = read_lines(path, options)
    if sum(line.startswith(_TITLE) for line in lines) > 1:
        raise InputError(f"{path}: several dynamical-matrix files in one; give each a file of its own")
    end = find_last(lines, "Diagonalizing the dynamical matrix")
    if end is None or sum(line.strip().startswith("*****") for line in lines[end:]) < 2:
        raise InputError(
            f"{path}: not a complete dynamical-matrix file, the frequencies are missing: {CUT_SHORT}"
        )
    try:
        frame: Atoms | InputError = _matrix_frame(lines, f"{path}, frame 0")
    except InputError as error:
        frame = error
    yield frame


def read_q2r_constants(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of a file of force constants of q2r.x.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure, as `read_dynamical_matrix` yields it.

    Raises:
        InputError: the file ends before its force constants, or an option was given.
    """
    lines = read_lines(path, options)
    try:
        frame: Atoms | InputError = _constants_frame(lines, f"{path}, frame 0")
    except InputError as error:
        frame = error
    yield frame


def _matrix_frame(lines: list[str], where: str) -> Atoms:
    """Return the structure of a dynamical-matrix file with its calculated tensors."""
    atoms, _ = _read_structure(lines[2:], where, title_of_vectors=True)
    heading = find_last(lines, "Dielectric Tensor:")
    epsilon = None
    if heading is not None:
        epsilon = parse_rows(skip_blank(lines[heading + 1 :], 3), 3, where, "dielectric tensor")
    tensors = _matrix_tensors(lines, len(atoms), where)
    return finish_structure(atoms, where, tensors, epsilon)


def _matrix_tensors(lines: list[str], count: int, where: str) -> np.ndarray | None:
    """Return the charges of a dynamical-matrix file, [atom, field, displacement], or None if it has none."""
    by_field, by_displacement = find_last(lines, _FIELD_FIRST), find_last(lines, _DISPLACEMENT_FIRST)
    if by_field is None and by_displacement is None:
        unknown = find_last(lines, _CHARGES)
        if unknown is None:
            return None
        raise InputError(
            f"{where}: effective charges under a heading whose index order is not known here "
            f"({excerpt(lines[unknown])}); read the output of ph.x"
        )
    if by_field is not None:
        tensors = parse_tensors(lines[by_field + 1 :], count, _ATOM_IN_MATRIX, _ROW, where)
        if is_computed(tensors, all_digits=True):
            return tensors
        if by_displacement is None:
            raise InputError(
                f"{where}: effective charges (E-U) that ph.x did not calculate (zeros); repeat it with "
                "zeu = .true."
            )
    assert by_displacement is not None
    tensors = parse_tensors(lines[by_displacement + 1 :], count, _ATOM_IN_MATRIX, _ROW, where)
    left_out = undisplaced_atoms(tensors)
    if left_out:
        raise InputError(
            f"{where}: the effective charges (U-E) of atoms {', '.join(map(str, left_out[:6]))} are their "
            "valence, because ph.x did not displace them (nat_todo); repeat it with all atoms, or with "
            "epsil = .true."
        )
    if not is_computed(tensors, all_digits=True):
        raise InputError(f"{where}: effective charges (U-E) that ph.x did not calculate (zeros); repeat it")
    return tensors.transpose(0, 2, 1)


def _constants_frame(lines: list[str], where: str) -> Atoms:
    """Return the structure of a file of force constants with its tensors."""
    atoms, rest = _read_structure(lines, where, title_of_vectors=False)
    count = len(atoms)
    has_charges, body = "".join(rest[:1]).strip(), rest[1:]
    if not _HAS_CHARGES.fullmatch(has_charges):
        raise InputError(
            f"{where}: found {excerpt(has_charges)} in the place of T or F (whether charges follow); "
            "write the file again with q2r.x"
        )
    epsilon = tensors = None
    if has_charges.startswith("T"):
        epsilon = parse_rows(body[:3], 3, where, "dielectric tensor")
        tensors = parse_tensors(body[3 : 3 + 4 * count], count, _ATOM_IN_CONSTANTS, _ROW, where)
        body = body[3 + 4 * count :]
        if not is_computed(tensors):
            raise InputError(
                f"{where}: effective charges that ph.x did not calculate (zeros); repeat it with zeu = .true."
            )
    numbers = parse_numbers("".join(body[:1]), 3, where, "grid of force constants")
    grid = [whole_number(number, len(body), where, "grid of force constants") for number in numbers]
    expected = 9 * count**2 * (1 + math.prod(grid))
    found = sum(bool(line.strip()) for line in body[1:])
    if found != expected:
        raise InputError(f"{where}: {found} lines of force constants instead of {expected}: {CUT_SHORT}")
    return finish_structure(atoms, where, tensors, epsilon)


def _read_structure(lines: list[str], where: str, title_of_vectors: bool) -> tuple[Atoms, list[str]]:
    """Return the structure at the head of a file, in Å, and the lines after it.

    The first line holds the numbers of types and atoms, ibrav, and celldm(1) to (6). If ibrav is 0, the
    lattice vectors follow, after a title in dynamical matrices. Then there is one line for each type (number,
    label, mass) and one line for each atom (number, type, position in units of alat).
    """
    head = parse_numbers("".join(lines[:1]), 9, where, "line of types, atoms, ibrav and celldm")
    types, count = (
        whole_number(number, len(lines), where, "number of types or atoms") for number in head[:2]
    )
    ibrav = round(head[2]) if abs(head[2]) < 100 and head[2] == round(head[2]) else 100
    edge = head[3] * Bohr
    body = lines[1:]
    if ibrav == 0:
        body = body[title_of_vectors:]
        cell = parse_rows(body[:3], 3, where, "basis vectors")
        body = body[3:]
    else:
        cell = lattice_vectors(ibrav, head[3:], where)
    described = [found for line in body[:types] if (found := _TYPE.match(line))]
    labels = [found[1] for found in described]
    atoms = [parse_numbers(line, 5, where, "atoms") for line in body[types : types + count]]
    kinds = [whole_number(atom[1], types, where, "type of an atom") for atom in atoms]
    if len(labels) != types or len(atoms) != count:
        raise InputError(
            f"{where}: expected {types} types and {count} atoms at the head of the file, found {len(labels)} "
            f"and {len(atoms)}; copy the file again"
        )
    names = [labels[kind - 1] for kind in kinds]
    symbols = elements_of_labels(names, where)
    positions = np.array([atom[2:] for atom in atoms]).reshape(-1, 3) * edge
    crystal = Atoms(symbols, cell=cell * edge, positions=positions, pbc=True)
    masses = np.array([stated_mass(found[2]) for found in described])
    masses = masses[np.array(kinds) - 1] * _MASS_UNIT
    return set_stated_masses(crystal, names, masses), body[types + count :]
