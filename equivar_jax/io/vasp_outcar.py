"""The ionic steps of a VASP OUTCAR; ASE reads elements, cell and positions (see `vasp` for the rest)."""

import re
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.io import ParseError
from ase.io.vasp_parsers import vasp_outcar_parsers as ase_outcar
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import Step, check_elements, finish_structure, parse_rows
from equivar_jax.io.files import excerpt, open_text
from equivar_jax.io.isotopes import set_stated_masses
from equivar_jax.io.vasp_checks import CUT_SHORT, refuse_doubtful, require_agreement

_SETTING = re.compile(r"\s+(IBRION|LRPA)\s*=\s*(-?\w+)")
_ITERATION = re.compile(r"- Iteration +(\d+)\(")
_PERTURBED = ("7", "8")
_ROUNDING = 0.0055
"""Of masses with two decimals, in u."""
_TITLE = re.compile(r"CHARGES \((including local field effects|in e\b|in \|e\|)")


@dataclass
class _Lines:
    """The lines of one ionic step; tensors and dielectric tensors are lists of blocks."""

    index: int
    cell: list[str]
    positions: list[str]
    converged: bool
    tensors: list[list[str]] = field(default_factory=list)
    epsilon: list[list[str]] = field(default_factory=list)


def read_outcar_steps(path: Path) -> list[Step]:
    """Read every ionic step of an OUTCAR.

    Args:
        path: the file, plain or compressed.

    Returns:
        The steps in the order of the file; tensors are [atom, field, displacement] in e.

    Raises:
        InputError: the file is not a complete OUTCAR.
    """
    # The title given by the user may have any encoding.
    with open_text(path, errors="replace") as handle:
        symbols, settings, masses = _read_header(handle, path)
        steps = _collect_steps(handle, len(symbols), path)
    made = [_make_step(step, symbols, settings, path) for step in steps]
    for step in made:
        if masses is not None and isinstance(step.frame, Atoms):
            set_stated_masses(step.frame, symbols, masses)
    return made


def _read_header(
    handle: TextIOWrapper, path: Path
) -> tuple[list[str], dict[str, str], Float[np.ndarray, " atoms"] | None]:
    """Read elements and settings from the lines before the first electronic iteration."""
    parsers = [ase_outcar.SpeciesTypes(), ase_outcar.IonsPerSpecies()]
    try:
        lines = ase_outcar.build_header(handle)
        symbols = list(ase_outcar.OutcarHeaderParser(parsers).build(lines)["symbols"])
    except (ParseError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: the header is not that of a complete OUTCAR ({excerpt(str(error), 120)}): {CUT_SHORT}"
        ) from None
    settings = {}
    for line in lines:
        if match := _SETTING.match(line):
            settings[match[1]] = match[2]  # the last one counts, since a copy of the INCAR may precede it
    return symbols, settings, _given_masses("".join(lines), len(symbols))


def _given_masses(header: str, count: int) -> Float[np.ndarray, " atoms"] | None:
    """Return the mass of each atom if the INCAR gives others than the potentials (POMASS), else None."""
    potentials = re.findall(r"^ *POMASS = *(\d+\.\d+); *ZVAL", header, re.MULTILINE)
    used = re.search(r"Mass of Ions in am\s+POMASS =([\d.\s]+)", header)
    atoms = re.search(r"ions per type = +([\d ]+)", header)
    if used is None or atoms is None:
        return None
    masses = re.findall(r"\d+\.\d\d", used[1])  # six characters each, with nothing between them
    counts = [int(word) for word in atoms[1].split()]
    if not len(masses) == len(counts) == len(potentials) or sum(counts) != count:
        return None
    # POTCAR has rounded masses of the elements, with a digit more.
    changed = np.abs(np.array(masses, dtype=float) - np.array(potentials, dtype=float)) > _ROUNDING
    return np.repeat(np.where(changed, np.array(masses, dtype=float), np.nan), counts)


def _collect_steps(handle: TextIOWrapper, count: int, path: Path) -> list[_Lines]:
    """Collect the blocks of each ionic step of `count` atoms."""
    steps: list[_Lines] = []
    early = _Lines(-1, [], [], True)  # what is printed before any positions
    cell: list[str] = []
    converged, complete, last_step = False, False, 1
    for line in handle:
        step = steps[-1] if steps else early
        if "direct lattice vectors" in line:
            cell = [line, *islice(handle, 3)]
        elif line.startswith(" POSITION   ") and "FORCE-CONSTANT" not in line:
            steps.append(_Lines(len(steps), cell, [line, *islice(handle, count + 1)], converged))
        elif "BORN EFFECTIVE CHARGES" in line:
            step.tensors.append([line, *islice(handle, 1 + 4 * count)])
        elif "MACROSCOPIC STATIC DIELECTRIC TENSOR" in line:
            step.epsilon.append([line, *islice(handle, 4)])
        elif iteration := _ITERATION.search(line):
            converged = False
            last_step = int(iteration[1])
        elif "aborting loop because EDIFF is reached" in line:
            converged = True
        complete = complete or "General timing and accounting" in line
    if not complete or not steps:
        raise InputError(f"{path}: not a complete OUTCAR, the timing at its end is missing: {CUT_SHORT}")
    if early.tensors and max(last_step, len(steps)) > 1:
        raise InputError(
            f"{path}: Born effective charges before the positions of several ionic steps, so their structure "
            "is unknown; repeat the calculation with NSW = 0"
        )
    steps[0].tensors[:0], steps[0].epsilon[:0] = early.tensors, early.epsilon
    return steps


def _make_step(step: _Lines, symbols: list[str], settings: dict[str, str], path: Path) -> Step:
    """Return one ionic step, parsed and checked."""
    where = f"{path}, frame {step.index}"
    try:
        atoms = _parse_atoms(step, symbols, where)
        if not step.tensors:
            return Step(False, finish_structure(atoms, where))
        refuse_doubtful(settings, step.index, step.converged, where)
        chosen = _select_blocks(step, where)
        if settings.get("IBRION") in _PERTURBED:
            chosen = _select_field_blocks(chosen, settings["IBRION"], where)
        blocks = [_parse_tensors(lines, len(symbols), where) for lines in chosen]
        return Step(
            True,
            finish_structure(atoms, where, require_agreement(blocks, where), _parse_epsilon(step, where)),
        )
    except InputError as error:
        return Step(bool(step.tensors), error)


def _parse_atoms(step: _Lines, symbols: list[str], where: str) -> Atoms:
    """Parse cell and positions with ASE's parsers."""
    try:
        cell = ase_outcar.Cell().parse(0, step.cell)["cell"]
        parser = ase_outcar.PositionsAndForces({"natoms": len(symbols)})
        positions = parser.parse(0, step.positions)["positions"]
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{where}: lattice vectors or positions and forces cannot be read ({excerpt(str(error))}); "
            "copy the file again or repeat the calculation"
        ) from None
    return Atoms(check_elements(symbols, where), cell=cell, positions=positions, pbc=True)


def _select_blocks(step: _Lines, where: str) -> list[list[str]]:
    """Return the blocks that hold Born effective charges with local field effects.

    LCALCEPS may print other tensors before them.
    """
    blocks = [lines for lines in step.tensors if "excluding local field effects" not in lines[0]]
    if not blocks:
        raise InputError(
            f"{where}: Born effective charges without local field effects only (LRPA = .TRUE.); "
            "repeat the calculation with LRPA = .FALSE."
        )
    for title in (lines[0] for lines in blocks):
        if not _TITLE.search(title):
            raise InputError(
                f"{where}: Born effective charges under the unknown heading {excerpt(title)}; "
                "read the vasprun.xml of the calculation"
            )
    return blocks


def _select_field_blocks(blocks: list[list[str]], ibrion: str, where: str) -> list[list[str]]:
    """Return the blocks of a run of IBRION 7 or 8 whose index order is known.

    Such a run prints charges of fields and, at its end, charges "(in e, cummulative output)" that may be of
    displacements. In the only such file at hand (SiC of VASP 5, in pymatgen's tests) the tensors are
    symmetric, so that the order of the latter is not known here, nor which of the two stands alone.
    """
    known = [lines for lines in blocks if "including local field effects" in lines[0]]
    if len(blocks) < 2 or not known:
        raise InputError(
            f"{where}: only one set of Born effective charges of a run that perturbs positions "
            f"(IBRION = {ibrion}), and its index order is not established; repeat it with IBRION = -1"
        )
    return known


def _parse_tensors(lines: list[str], count: int, where: str) -> np.ndarray:
    """Parse one block: for each atom a line `ion i` and three rows, each with its number in front."""
    body = [line.split(maxsplit=1) for line in lines[2:]]
    for position, words in enumerate(body):
        atom, row = divmod(position, 4)
        expected = ["ion", str(atom + 1)] if row == 0 else [str(row)]
        if len(words) != 2 or [words[0], *words[1].split()[:1]][: len(expected)] != expected:
            raise InputError(
                f"{where}: Born effective charges: expected the line {' '.join(expected)!r}, found "
                f"{excerpt(lines[2 + position])}; copy the file again or repeat the calculation"
            )
    numbers = [words[1] for position, words in enumerate(body) if position % 4]
    return parse_rows(numbers, 3 * count, where, "Born effective charges").reshape(count, 3, 3)


def _parse_epsilon(step: _Lines, where: str) -> np.ndarray | None:
    """Parse the electronic dielectric tensor with all local field effects, or return None."""
    for lines in reversed(step.epsilon):
        if "including local field effects" in lines[0] and "RPA" not in lines[0]:
            return parse_rows(lines[2:], 3, where, "dielectric tensor")
    return None
