"""Reader of the output of Quantum ESPRESSO's ph.x.

Index order: three rows for each atom, **first index (the row) the field direction**, second the displacement
direction, in e: `zstareu(1, :, atom)` after `Ex` under "Effective charges (d Force / dE)", and
`zstarue(:, atom, 1)`, whose first index is the displacement, after `Px` under "(d P / du)" (subroutines
summarize_zeu and summarize_zue of PHonon). This reader prefers charges as calculated to those "with asr
applied", from which the mean error has been subtracted, and derivatives of forces to derivatives of the
polarisation.

A file may hold several runs, one after another, also of other programs (pw.x and ph.x in one log); each run
of ph.x gives one structure. (d P / du) exists for displaced atoms only: for the others ph.x prints the
valence, which is refused.

ph.x prints the lattice with four decimals (in units of alat) and positions with five; a dynamical-matrix
file has nine and ten. ASE's reader of ph.x (3.29) gives only the charges with asr applied and does not know
labels like `Fe1`.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import finish_structure, parse_numbers, parse_rows, whole_number
from equivar_jax.io.files import has_line_with
from equivar_jax.io.isotopes import set_stated_masses
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.quantum_espresso_text import (
    CUT_SHORT,
    elements_of_labels,
    find_last,
    is_computed,
    parse_tensors,
    read_lines,
    skip_blank,
    stated_mass,
)

_PROGRAM = re.compile(r"\s*Program\s+(\w+)\s+v\.")
_PHONON = "PHONON"
_ANY_PROGRAM = re.compile(rb"Program\s+\w+\s+v\.")
_ATOM = r"\s*atom\s+{atom}\s.*"
_ROW = r"\s*[EP]\*?{row}\s*\((.*)\)\s*"
_SITE = re.compile(r"\s*\d+\s+(\S+)\s+(\S*).*tau\(\s*\d+\)\s*=\s*\((.*)\)")
_PRINTED = 1.5e-4
"""In alat. The same vectors printed with four and with more digits differ by less."""
_STOPPED = ("Maximum CPU time exceeded", "stopped by user")


def recognises_ph_output(path: Path, head: bytes) -> bool:
    """Return whether a file holds output of ph.x, at its beginning or after that of another program."""
    if b"Program PHONON v" in head:
        return True
    return _ANY_PROGRAM.search(head) is not None and has_line_with(path, "Program PHONON v")


def read_ph_output(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structures and the Born effective charges that ph.x prints.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure for each run of ph.x in the file. It has a label [atom, field, displacement] in e if the
        run has charges, and the electronic dielectric tensor, float64 (3, 3), at `info["epsilon_inf"]`. An
        `InputError` stands in the place of a run that cannot be used.

    Raises:
        InputError: the only calculation in the file did not finish, or an option was given.
    """
    runs = _split_runs(read_lines(path, options))
    if len(runs) == 1 and not _is_complete(runs[0]):
        raise _unfinished(str(path))
    for number, lines in enumerate(runs):
        where = f"{path}, frame {number}"
        try:
            if not _is_complete(lines):
                raise _unfinished(where)
            frame: Atoms | InputError = _read_frame(lines, where)
        except InputError as error:
            frame = error
        yield frame


def _split_runs(lines: list[str]) -> list[list[str]]:
    """Return the lines of each run of ph.x, or all lines as one run if no program says its name."""
    runs: list[list[str]] = []
    inside = False
    for line in lines:
        if found := _PROGRAM.match(line):
            inside = found[1] == _PHONON
            if inside:
                runs.append([])
        if inside:
            runs[-1].append(line)
    return runs or [lines]


def _is_complete(lines: list[str]) -> bool:
    """Return whether a run came to its end."""
    return any("JOB DONE" in line for line in lines)


def _unfinished(where: str) -> InputError:
    """Return the error about a run that did not come to its end."""
    return InputError(
        f"{where}: not a complete output of ph.x, the words JOB DONE at its end are missing: {CUT_SHORT}"
    )


def _read_frame(lines: list[str], where: str) -> Atoms:
    """Return the structure of a run of ph.x with its calculated tensors."""
    atoms = _read_structure(lines, where)
    headings = [number for number, line in enumerate(lines) if "Effective charges (d " in line]
    if not headings:
        _refuse_missing_charges(lines, where)
        return finish_structure(atoms, where, None, _read_epsilon(lines, where))
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
    if "d Force" not in lines[heading]:
        _refuse_partial_displacements(lines[:heading], len(atoms), where)
    tensors = parse_tensors(lines[heading + 1 :], len(atoms), _ATOM, _ROW, where)
    if not is_computed(tensors):
        raise InputError(
            f"{where}: all effective charges of an atom are exactly zero, as if they were not calculated; "
            "repeat ph.x with epsil = .true. and zeu = .true."
        )
    return finish_structure(atoms, where, tensors, _read_epsilon(lines, where))


def _refuse_missing_charges(lines: list[str], where: str) -> None:
    """Refuse a run that was to give charges, or that was stopped, and has none."""
    if any(word in line for line in lines for word in _STOPPED):
        raise InputError(
            f"{where}: ph.x was stopped before it printed effective charges (max_seconds); go on with "
            "recover = .true. and read the output of that run"
        )
    if any(line.strip().startswith("Born effective charges") for line in lines):
        raise InputError(
            f"{where}: this run of ph.x announces effective charges and does not print them; read the "
            "dynamical-matrix file (fildyn) of the calculation, or the output of the run that did"
        )


def _refuse_partial_displacements(lines: list[str], count: int, where: str) -> None:
    """Refuse charges from displacements (d P / du) if some atoms were not displaced.

    For an atom that is not displaced ph.x prints the valence of its pseudopotential.
    """
    lists = [re.findall(r"\d+", line) for line in lines if "Compute atoms:" in line]
    displaced = {int(number) for numbers in lists for number in numbers}
    missing = sorted(set(range(1, count + 1)) - displaced) if lists else []
    if missing or any("Not done in this run" in line for line in lines):
        named = f" (atoms {', '.join(map(str, missing[:6]))})" if missing else ""
        raise InputError(
            f"{where}: charges from displacements (d P / du) of which some were not made{named}; repeat ph.x "
            "without nat_todo, start_irr and last_irr, or with epsil = .true."
        )


def _read_epsilon(lines: list[str], where: str) -> np.ndarray | None:
    """Return the electronic dielectric tensor, or None if the run has none."""
    heading = find_last(lines, "Dielectric constant in cartesian axis")
    if heading is None or "(DV_" in lines[heading]:
        return None
    printed = (line.strip(" ()") for line in skip_blank(lines[heading + 1 :], 3))
    return parse_rows(printed, 3, where, "dielectric tensor")


def _rank(heading: str) -> tuple[bool, bool]:
    """Return the rank of a heading of effective charges; the best charges have the smallest.

    Derivatives of forces rank first, and among them charges as calculated.
    """
    return "d Force" not in heading, "asr" in heading and "without" not in heading


def _read_structure(lines: list[str], where: str) -> Atoms:
    """Return the structure that ph.x prints for every q, in Å.

    Raises:
        InputError: a number is missing, or the run has two structures.
    """
    edge = _find_number(lines, "celldm(1)", where) * Bohr
    axes = [found[1] for line in lines if (found := re.match(r"\s*a\(\d\)\s*=\s*\((.*)\)", line))]
    cell = parse_rows(axes[:3], 3, where, "crystal axes") * edge
    sites = [found for line in lines if (found := _SITE.match(line))]
    name = "number of atoms/cell"
    count = whole_number(_find_number(lines, name, where), max(1, len(sites)), where, name)
    labels, places = [site[1] for site in sites], [site[3] for site in sites]
    positions = parse_rows(places[:count], count, where, "positions (site n.)") * edge
    if not (
        labels == [labels[place % count] for place in range(len(labels))]
        and _is_repeated(places, count, where)
        and _is_repeated(axes, 3, where)
    ):
        raise InputError(
            f"{where}: two structures in one run of ph.x; give each calculation a file of its own"
        )
    atoms = Atoms(elements_of_labels(labels[:count], where), cell=cell, positions=positions, pbc=True)
    masses = [stated_mass(site[2]) for site in sites[:count]]
    return set_stated_masses(atoms, labels[:count], np.array(masses))


def _is_repeated(rows: list[str], count: int, where: str) -> bool:
    """Return whether the first `count` rows of a structure come again, printed with more or fewer digits."""
    numbers = parse_rows(rows, len(rows), where, "crystal axes or positions")
    again = [place % count for place in range(len(rows))]
    return bool(np.abs(numbers - numbers[again]).max() < _PRINTED)


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
