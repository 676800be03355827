"""Reader of CASTEP's main output file, `.castep`, with the charges of task = efield or phonon+efield.

Index order in the file: three rows for each atom under "Born Effective Charges", **first index (the row) the
displacement direction**, second (the column) the field direction, in e. Source: a file of CASTEP 24.1 in the
public examples of PDielec (github.com/JohnKendrick/PDielec, `Examples/Castep/Na2SO42/phonon.castep`, 12
atoms). With this order the infrared intensities of four modes in `phonon.phonon` beside it are reproduced to
2e-4 (D/Å)²/amu; with the other order one of them, 10.747, would be 5.754. PDielec 10.0.0
(`CastepOutputReader`) reads the same order; castep-outputs 0.3.3 gives the rows as they are printed.

CASTEP appends a new run to an old file, and prints the structure again whenever it changes. Charges belong to
the structure that is printed last before them. A `.phonon` file holds no charges.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
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

_BANNER = b"CASTEP version"
_CHARGES = re.compile(r"\s*Born Effective Charges\s*")
_LATTICE = re.compile(r"\s*Real Lattice\((.*?)\)")
_SPECIES = r"([A-Z][a-z]?)(?::\w+)?(?:\s*\[[^\]]*\])?"
_SITE = re.compile(rf"\s*x\s+{_SPECIES}\s+(\d+)\s+((?:\S+\s+){{2}}\S+)(?:\s+\S{{1,8}})?\s+x\s*")
_CHARGE = re.compile(rf"\s*{_SPECIES}\s+(\d+)\s+(.*?)(?:\s+ID=\S+)?\s*")
_CUT_SHORT = "the calculation did not finish or the file was cut short; finish it or copy it again"


@dataclass(frozen=True)
class _Run:
    """What a run of CASTEP has printed so far; `number` counts the runs of the file."""

    number: int = 0
    lattice: list[str] = field(default_factory=list)
    unit: str = ""
    sites: list[tuple[str, ...]] = field(default_factory=list)
    mixed: bool = False
    epsilon: list[str] = field(default_factory=list)
    doubt: bool = False


def recognises_castep(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of a `.castep` file."""
    return _BANNER in head and b"C  A  A" in head


def read_castep(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structures of a `.castep` file that have Born effective charges; if none has, all structures.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        Structures with labels [atom, field, displacement] in e, and the electronic dielectric tensor, float64
        (3, 3), at `info["epsilon_inf"]` if the file has it. An `InputError` stands in the place of each that
        cannot be used. Without charges in the file, the structures as ASE reads them.

    Raises:
        InputError: the file cannot be read, or an option was given.
    """
    refuse_choices(path, options)
    with open_text(path, errors="replace") as handle:  # a title may have any encoding
        lines = handle.read().splitlines()
    if not any(map(_CHARGES.fullmatch, lines)):
        from equivar_jax.io.ase_formats import read_bare_structure

        yield from read_bare_structure(path, options)
        return
    charged = [(start, run) for start, run in _walk(lines)]
    # CASTEP may print the charges of one structure several times.
    same_structure = groupby(charged, key=lambda found: (found[1].number, found[1].lattice, found[1].sites))
    for count, (_, same) in enumerate(same_structure):
        try:
            yield _make_frame(list(same), lines, f"{path}, frame {count}")
        except InputError as error:
            yield error


def _walk(lines: list[str]) -> Iterator[tuple[int, _Run]]:
    """Yield the number of each heading of charges, and what stands before it."""
    run = _Run()
    for number, line in enumerate(lines):
        if "CASTEP version" in line:
            run = _Run(number=run.number + 1)
        elif lattice := _LATTICE.match(line):
            run = replace(run, unit=lattice[1], lattice=lines[number + 1 : number + 4])
        elif "coordinates of atoms" in line:
            sites = _read_sites(islice(lines, number + 1, None))
            run = replace(run, mixed="Mixture" in line, sites=sites)
        elif "Optical Permittivity" in line:
            run = replace(run, epsilon=lines[number + 2 : number + 5])
        elif "has not reached the groundstate" in line:
            run = replace(run, doubt=True)
        elif _CHARGES.fullmatch(line):
            yield number, run


def _read_sites(rows: Iterator[str]) -> list[tuple[str, ...]]:
    """Read the table of atoms, which ends with a line of crosses: element, number, fractional coordinates."""
    sites = []
    for row in rows:
        if row.strip().startswith("xxx"):
            break
        if found := _SITE.fullmatch(row):
            sites.append(found.groups())
        elif set(row.strip()) - set("x-") and "Number" not in row:
            sites.append((row.strip(), "", ""))  # no element, which check_elements will report
    return sites


def _make_frame(printed: list[tuple[int, _Run]], lines: list[str], where: str) -> Atoms:
    """Return a structure with its tensors, which stand after the headings whose numbers are given."""
    run = printed[-1][1]
    if run.unit != "A" or run.mixed:
        found = "a mixture of atoms on a site" if run.mixed else f"lattice vectors in {run.unit or 'no'} unit"
        raise InputError(
            f"{where}: {found} before the Born effective charges; repeat CASTEP with ordered atoms and "
            "length_unit : ang"
        )
    if run.doubt:
        raise InputError(f"{where}: CASTEP has not reached the ground state; repeat it with more cycles")
    cell = parse_rows((" ".join(row.split()[:3]) for row in run.lattice), 3, where, "lattice vectors")
    symbols = check_elements([site[0] for site in run.sites], where)
    fractions = parse_rows((site[2] for site in run.sites), len(symbols), where, "fractional coordinates")
    with np.errstate(all="ignore"):  # check_structure refuses what is not finite
        places = fractions @ cell
    atoms = Atoms(symbols, cell=cell, positions=places, pbc=True)
    blocks = [_parse_charges(lines[start + 1 :], run.sites, where) for start, _ in printed]
    if any(np.abs(block - blocks[-1]).max() > 1e-4 for block in blocks):
        raise InputError(f"{where}: {len(blocks)} sets of Born effective charges that differ; repeat CASTEP")
    epsilon = None
    if run.epsilon:
        # Beside the optical tensor stands the static one.
        optical = (" ".join(row.split()[:3]) for row in run.epsilon)
        epsilon = parse_rows(optical, 3, where, "optical permittivity")
    return finish_structure(atoms, where, blocks[-1], epsilon)


def _parse_charges(rows: list[str], sites: list[tuple[str, ...]], where: str) -> np.ndarray:
    """Parse the table of charges: a rule, three rows for each atom in the order of the sites, a rule.

    Returns:
        Tensors [atom, field, displacement] in e.
    """
    count = len(sites)
    ends = rows[3 * count + 1 : 3 * count + 2]
    if not rows or set(rows[0].strip()) != {"-"} or not ends or set(ends[0].strip()) != {"="}:
        raise InputError(
            f"{where}: Born effective charges: expected {3 * count} rows for {count} atoms and a rule, "
            f"found {excerpt(ends[0]) if ends else 'the end of the file'} after them; {_CUT_SHORT}"
        )
    numbers: list[list[float]] = []
    for index, (element, number, _) in enumerate(sites):
        first, *others = rows[1 + 3 * index : 4 + 3 * index]
        found = _CHARGE.fullmatch(first)
        if found is None or found.groups()[:2] != (element, number):
            raise InputError(
                f"{where}: Born effective charges: found {excerpt(first)} in place of {element} {number}: "
                f"{_CUT_SHORT}"
            )
        name = f"Born effective charges of {element} {number}"
        numbers += [parse_numbers(row, 3, where, name) for row in (found[3], *others)]
    return np.array(numbers).reshape(count, 3, 3).transpose(0, 2, 1)
