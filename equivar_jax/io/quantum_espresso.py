"""Readers of Quantum ESPRESSO: the output of ph.x, and dynamical-matrix files (`fildyn`).

Index order in both: three rows for each atom, **first index (the row) the field direction**, second the
displacement direction, in e.

- ph.x prints `zstareu(1, :, atom)` after `Ex` under "Effective charges (d Force / dE)", and
  `zstarue(:, atom, 1)`, whose first index is the displacement, after `Px` under "(d P / du)" (subroutines
  summarize_zeu and summarize_zue of PHonon). This reader prefers charges as calculated to those "with asr
  applied", from which the mean error has been subtracted, and derivatives of forces to derivatives of the
  polarisation.
- A dynamical-matrix file has `zstareu` row by row under "Effective Charges E-U: Z_{alpha}{s,beta}", where
  alpha is the field.

ph.x prints the lattice with four decimals (in units of alat) and positions with five; a dynamical-matrix file
has nine and ten. ASE's reader of ph.x (3.29) gives only the charges with asr applied and does not know labels
like `Fe1`; no library reads a dynamical-matrix file.
"""

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io.espresso import label_to_symbol
from ase.units import Bohr

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
from equivar_jax.io.quantum_espresso_lattice import lattice_vectors

_CUT_SHORT = "the calculation did not finish or the file was cut short; finish it or copy it again"
_FIELD_FIRST = "Effective Charges E-U: Z_{alpha}{s,beta}"
_DISPLACEMENT_FIRST = "Effective Charges U-E"
_ATOM_IN_PH = r"\s*atom\s+{atom}\s.*"
_ROW_IN_PH = r"\s*[EP]\*?{row}\s*\((.*)\)\s*"
_ATOM_IN_MATRIX = r"\s*atom\s*#\s*{atom}\s*"
_ROW_IN_MATRIX = r"(.*)"


def recognises_ph_output(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of an output of ph.x."""
    return b"Program PHONON v" in head


def recognises_dynamical_matrix(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of a dynamical-matrix file."""
    return head.lstrip().startswith(b"Dynamical matrix file")


def read_ph_output(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges that ph.x prints.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure. It has a label [atom, field, displacement] in e if the file has charges, and the
        electronic dielectric tensor, float64 (3, 3), at `info["epsilon_inf"]`. An `InputError` stands in its
        place if it cannot be used.

    Raises:
        InputError: the calculation did not finish, or an option was given.
    """
    lines = _read_lines(path, options)
    if not any("JOB DONE" in line for line in lines):
        raise InputError(
            f"{path}: not a complete output of ph.x, the words JOB DONE at its end are missing: {_CUT_SHORT}"
        )
    try:
        frame: Atoms | InputError = _ph_frame(lines, f"{path}, frame 0")
    except InputError as error:
        frame = error
    yield frame


def read_dynamical_matrix(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of a dynamical-matrix file of ph.x.

    Args:
        path: the file, plain or compressed; the file of q = 0 has the charges.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure, as `read_ph_output` yields it.

    Raises:
        InputError: the file is not complete, or an option was given.
    """
    lines = _read_lines(path, options)
    end = _find_last(lines, "Diagonalizing the dynamical matrix")
    if end is None or sum(line.strip().startswith("*****") for line in lines[end:]) < 2:
        raise InputError(
            f"{path}: not a complete dynamical-matrix file, the frequencies are missing: {_CUT_SHORT}"
        )
    try:
        frame: Atoms | InputError = _matrix_frame(lines, f"{path}, frame 0")
    except InputError as error:
        frame = error
    yield frame


def _read_lines(path: Path, options: ReadOptions) -> list[str]:
    """Return all lines of a file; refuse any option."""
    refuse_choices(path, options)
    # The title given by the user may have any encoding.
    with open_text(path, errors="replace") as handle:
        return handle.read().splitlines()


def _ph_frame(lines: list[str], where: str) -> Atoms:
    """Return the structure of an output of ph.x with its calculated tensors."""
    atoms = _ph_structure(lines, where)
    headings = [number for number, line in enumerate(lines) if "Effective charges (d " in line]
    if not headings:
        return finish_structure(atoms, where)
    if any("No convergence has been achieved" in line for line in lines):
        raise InputError(
            f"{where}: ph.x did not converge; repeat it with a larger niter_ph or a smaller alpha_mix"
        )
    if any("DV_xc=0" in line or "DV_Hxc=0" in line for line in lines):
        raise InputError(
            f"{where}: charges without local fields (lrpa or lnoloc); repeat ph.x without these options"
        )
    best = min(_rank(lines[number]) for number in headings)
    heading = max(number for number in headings if _rank(lines[number]) == best)
    tensors = _parse_tensors(lines[heading + 1 :], len(atoms), _ATOM_IN_PH, _ROW_IN_PH, where)
    dielectric = _find_last(lines, "Dielectric constant in cartesian axis")
    if dielectric is None:
        return finish_structure(atoms, where, tensors)
    printed = (line.strip(" ()") for line in _skip_blank(lines[dielectric + 1 :], 3))
    return finish_structure(atoms, where, tensors, parse_rows(printed, 3, where, "dielectric tensor"))


def _rank(heading: str) -> tuple[bool, bool]:
    """Return the rank of a heading of effective charges; the best charges have the smallest.

    Derivatives of forces rank first, and among them charges as calculated.
    """
    return "d Force" not in heading, "asr" in heading and "without" not in heading


def _ph_structure(lines: list[str], where: str) -> Atoms:
    """Return the structure that ph.x prints for its first q, in Å."""
    count = int(_find_number(lines, "number of atoms/cell", where))
    edge = _find_number(lines, "celldm(1)", where) * Bohr
    axes = [found[1] for line in lines if (found := re.match(r"\s*a\(\d\)\s*=\s*\((.*)\)", line))]
    cell = parse_rows(axes[:3], 3, where, "crystal axes") * edge
    site = re.compile(r"\s*\d+\s+(\S+)\s.*tau\(\s*\d+\)\s*=\s*\((.*)\)")
    sites = [found for line in lines if (found := site.match(line))][:count]
    positions = parse_rows([found[2] for found in sites], count, where, "positions (site n.)") * edge
    return Atoms(
        _elements_of_labels([found[1] for found in sites], where), cell=cell, positions=positions, pbc=True
    )


def _matrix_frame(lines: list[str], where: str) -> Atoms:
    """Return the structure of a dynamical-matrix file with its calculated tensors."""
    atoms = _matrix_structure(lines, where)
    heading = _find_last(lines, _FIELD_FIRST)
    if heading is None:
        if _find_last(lines, _DISPLACEMENT_FIRST) is not None:
            raise InputError(
                f"{where}: effective charges of the kind U-E only, whose index order is not known here; "
                "read the output of ph.x, or repeat it with epsil = .true."
            )
        return finish_structure(atoms, where)
    tensors = _parse_tensors(lines[heading + 1 :], len(atoms), _ATOM_IN_MATRIX, _ROW_IN_MATRIX, where)
    dielectric = _find_last(lines, "Dielectric Tensor:")
    if dielectric is None:
        return finish_structure(atoms, where, tensors)
    epsilon = parse_rows(_skip_blank(lines[dielectric + 1 :], 3), 3, where, "dielectric tensor")
    return finish_structure(atoms, where, tensors, epsilon)


def _matrix_structure(lines: list[str], where: str) -> Atoms:
    """Return the structure at the head of a dynamical-matrix file, in Å.

    The third line holds the numbers of types and atoms, ibrav, and celldm(1) to (6). If ibrav is 0, a title
    and the lattice vectors follow. Then there is one line for each type (number, label, mass) and one line
    for each atom (number, type, position in units of alat).
    """
    head = parse_numbers("".join(lines[2:3]), 9, where, "third line")
    types, count, ibrav = map(int, head[:3])
    edge = head[3] * Bohr
    body = lines[3:]
    if ibrav == 0:
        cell = parse_rows(body[1:4], 3, where, "basis vectors")
        body = body[4:]
    else:
        cell = lattice_vectors(ibrav, head[3:], where)
    labels = [found[1] for line in body[:types] if (found := re.match(r"\s*\d+\s+'(.*)'", line))]
    atoms = [parse_numbers(line, 5, where, "atoms") for line in body[types : types + count]]
    kinds = [int(atom[1]) for atom in atoms]
    if len(labels) != types or len(atoms) != count or not set(kinds) <= set(range(1, types + 1)):
        raise InputError(
            f"{where}: expected {types} types and {count} atoms at the head of the file, found {len(labels)} "
            f"and {len(atoms)}; copy the file again"
        )
    symbols = _elements_of_labels([labels[kind - 1] for kind in kinds], where)
    positions = np.array([atom[2:] for atom in atoms]).reshape(-1, 3) * edge
    return Atoms(symbols, cell=cell * edge, positions=positions, pbc=True)


def _elements_of_labels(labels: list[str], where: str) -> list[str]:
    """Return the elements that labels such as Fe1, O_h or TI stand for."""
    symbols = []
    for label in labels:
        try:
            symbols.append(label_to_symbol(label.strip()))
        except (KeyError, IndexError):
            symbols.append(label)
    return check_elements(symbols, where)


def _parse_tensors(lines: list[str], count: int, atom: str, row: str, where: str) -> np.ndarray:
    """Parse `count` tensors: a line that names the atom, then three rows; patterns `atom` and `row`."""
    printed: list[str] = []
    for position, line in enumerate(_skip_blank(lines, 4 * count)):
        number, direction = divmod(position, 4)
        pattern = atom.format(atom=number + 1) if direction == 0 else row.format(row=" xyz"[direction])
        found = re.fullmatch(pattern, line)
        if not found:
            raise InputError(
                f"{where}: effective charges of atom {number + 1}: found {excerpt(line)} in the place of "
                f"{'its name' if direction == 0 else f'row {direction}'}; copy the file again"
            )
        printed += found.groups()
    return parse_rows(printed, 3 * count, where, "effective charges").reshape(count, 3, 3)


def _skip_blank(lines: list[str], count: int) -> list[str]:
    """Return the first `count` lines that are not blank."""
    return list(islice((line for line in lines if line.strip()), count))


def _find_last(lines: list[str], text: str) -> int | None:
    """Return the number of the last line that contains a text, or None."""
    return next((number for number in reversed(range(len(lines))) if text in lines[number]), None)


def _find_number(lines: list[str], name: str, where: str) -> float:
    """Return the number after the first `name =`."""
    pattern = rf"{re.escape(name)}\s*=\s*(\S+)"
    found = next((found for line in lines if (found := re.search(pattern, line))), None)
    if found is None:
        raise InputError(
            f"{where}: the structure is not in this output ({name!r} is missing); "
            "read the dynamical-matrix file of the calculation"
        )
    return parse_numbers(found[1], 1, where, name)[0]
