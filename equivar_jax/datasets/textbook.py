"""Published Born effective charges of well-known crystals ("the textbook table"), to compare a model with.

Values are components of `Z[atom, field, displacement]` in e; the table itself is in `textbook_crystals`. A
value is `confirmed` if its number was read in a text or data file that gives it under that source;
`CITATIONS` says where. The other values are from memory of the literature: use them for a look, not for an
assertion.

Sources differ among themselves because of functional, pseudopotential and cell: by a few per cent in most
crystals, by more in ferroelectrics, whose charges along the polar axis follow the displacements. The
structures here are measured ones, while the calculations relaxed theirs. Petretto's set may also be used for
training; a model that was trained on a crystal is not tested by it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from ase import Atoms
from ase.spacegroup import crystal
from jaxtyping import Float

from equivar_jax.datasets import textbook_crystals as table

TRACE = "trace/3"


@dataclass(frozen=True)
class Citation:
    """A source of values: what to cite, the method, and where the numbers were read.

    Attributes:
        text: authors, journal, volume, page and year.
        method: functional, or "experiment".
        read_in: where the confirmed values were seen, and remarks on the others.
    """

    text: str
    method: str
    read_in: str


@dataclass(frozen=True)
class Reference:
    """A published value of one component of the tensor of one atom.

    Attributes:
        site: label, such as "Ti" or "O parallel to Ti–O".
        atom: its index in the structure.
        component: "trace/3", or the Cartesian directions of field and displacement, such as "xx" or "xy".
        value: charge, e.
        source: key of `CITATIONS`.
        confirmed: whether the number was read under that source, and not only remembered.
    """

    site: str
    atom: int
    component: str
    value: float
    source: str
    confirmed: bool


@dataclass(frozen=True)
class TextbookCrystal:
    """A crystal and its published charges.

    Attributes:
        name: unique name, such as "rutile TiO2".
        prototype: structure type, such as "rock salt".
        spacegroup: number of its space group.
        build: makes the conventional cell, periodic and without labels; every call makes a new one.
        structure: source of cell and coordinates.
        references: published charges, e.
    """

    name: str
    prototype: str
    spacegroup: int
    build: Callable[[], Atoms]
    structure: str
    references: tuple[Reference, ...]


def textbook_crystals() -> tuple[TextbookCrystal, ...]:
    """Read all crystals of the table, anew at each call."""
    return tuple(_make_crystal(*entry) for entry in _parse_table(table.TABLE))


def compare(
    crystal: TextbookCrystal, tensors: Float[np.ndarray, "atoms 3 3"]
) -> list[tuple[Reference, float]]:
    """Pair each published value with the corresponding value of a model.

    Args:
        crystal: the crystal.
        tensors: the model's Born effective charges of `crystal.build()`, e, [atom, field, displacement].

    Returns:
        Each reference with the model's value, e, in the order of `crystal.references`.
    """
    return [
        (reference, component(tensors[reference.atom], reference.component))
        for reference in crystal.references
    ]


def component(tensor: Float[np.ndarray, "3 3"], name: str) -> float:
    """Return a component of a tensor: "trace/3", or field and displacement, such as "xy".

    Args:
        tensor: Born effective charge, e, [field, displacement].
        name: the component.

    Returns:
        Its value, e.
    """
    if name == TRACE:
        return float(np.trace(tensor)) / 3
    field, displacement = ("xyz".index(axis) for axis in name)
    return float(tensor[field, displacement])


def _parse_table(text: str) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Yield each crystal of the table: the fields of its head, and those of each line of charges."""
    lines: list[tuple[int, str]] = []
    for line in text.strip().splitlines():
        depth = (len(line) - len(line.lstrip())) // 4
        if depth == 2:  # continues the line above
            lines[-1] = (lines[-1][0], f"{lines[-1][1]} {line.strip()}")
        else:
            lines.append((depth, line.strip()))
    heads = [index for index, (depth, _) in enumerate(lines) if depth == 0]
    for start, stop in zip(heads, [*heads[1:], len(lines)], strict=True):
        head, *charges = ([field.strip() for field in line.split(";")] for _, line in lines[start:stop])
        yield head, charges


def _make_crystal(head: list[str], charges: list[list[str]]) -> TextbookCrystal:
    """Make a crystal from its fields in the table."""
    name, prototype, number, lattice, sites, structure = head
    references = [
        reference
        for source, *values in charges
        for site in values
        for reference in _parse_references(source, site)
    ]

    def build() -> Atoms:
        """Make the conventional cell."""
        symbols, *coordinates = zip(*(site.split() for site in sites.split(",")), strict=True)
        basis = [[float(Fraction(number)) for number in axis] for axis in coordinates]
        cell = _cell_parameters([float(length) for length in lattice.split()], int(number))
        atoms = crystal(symbols, np.transpose(basis), spacegroup=int(number), cellpar=cell)
        return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)

    return TextbookCrystal(name, prototype, int(number), build, structure, tuple(references))


def _parse_references(source: str, site: str) -> Iterator[Reference]:
    """Yield the references that a field of the table such as "Ti @1 xx 7.00 zz 5.67" holds."""
    label, numbers = site.split("@")
    atom, *values = numbers.split()
    for name, value in zip(values[::2], values[1::2], strict=True):
        key, confirmed = source.removesuffix("?"), not source.endswith("?")
        yield Reference(label.strip(), int(atom), name, float(value), key, confirmed)


def _cell_parameters(lattice: list[float], number: int) -> list[float]:
    """Return lengths (Å) and angles (degrees) of the cell.

    They follow from the independent lattice parameters and the number of the space group.
    """
    a, b, c, beta = (lattice + [0.0] * 3)[:4]
    if len(lattice) == 1:
        return [a, a, a, 90.0, 90.0, 90.0]
    if len(lattice) == 2:
        return [a, a, b, 90.0, 90.0, 120.0 if 143 <= number <= 194 else 90.0]
    return [a, b, c, 90.0, beta, 90.0]


CITATIONS = {
    "Petretto 2018": Citation(
        "Petretto, Dwaraknath, Miranda, Winston, Giantomassi, van Setten, Gonze, Persson, Hautier and "
        "Rignanese, Sci. Data 5, 180065 (2018), CC-BY 4.0",
        "PBEsol, DFPT",
        "data/phonon_becs_epsilon.xyz of e3nn-models (S. Fang), whose structures match that set; crystals "
        "found by formula and space group",
    ),
    "Materials Project": Citation(
        "Petousis et al., Sci. Data 4, 160134 (2017); as used by Martin et al., arXiv:2508.17870 (2025)",
        "GGA, DFPT",
        "data of the second; raw: the two O of CeO2 differ by up to 0.12 e, whence Ce alone",
    ),
    "phonopy examples": Citation(
        "Togo, J. Phys. Soc. Jpn. 92, 012001 (2023): the program, its examples and tests",
        "VASP; functional not stated there",
        "github.com/phonopy/phonopy: example/MgO/BORN, example/Al2O3/BORN, test/BORN_NaCl, test/BORN_SnO2, "
        "test/BORN_TiO2",
    ),
    "phono3py examples": Citation(
        "Togo, J. Phys. Soc. Jpn. 92, 012001 (2023): the program and its examples",
        "LDA",
        "github.com/phonopy/phono3py: example/AlN-LDA/BORN",
    ),
    "ALAMODE examples": Citation(
        "Tadano, Gohda and Tsuneyuki, J. Phys.: Condens. Matter 26, 225402 (2014): program and examples",
        "PBEsol, DFPT (said of ZnO)",
        "documentation of thermal strain, which quotes example/ZnO/qha_relax and example/BaTiO3/scph_relax",
    ),
    "ezSCUP": Citation(
        "ezSCUP's model STO_JPCM2013, after Wojdeł et al., J. Phys.: Condens. Matter 25, 305401 (2013)",
        "first principles; functional not stated there",
        "source code, github.com/rcoteru/ezSCUP; not compared with the article",
    ),
    "Spencer 1994": Citation(
        "Spencer, Ho, Menéndez, Droopad, Fathollahnejad and Maracas, Phys. Rev. B 50, 14125 (1994)",
        "experiment (Raman)",
        "abstract: 2.18(1) for GaAs, 2.20(1) for AlAs; the anion has minus that by the sum rule",
    ),
    "Detraux 1997": Citation(
        "Detraux, Ghosez and Gonze, Phys. Rev. B 56, 983 (1997)",
        "density functional theory; functional not stated there",
        "abstract, orbi.uliege.be/handle/2268/30867",
    ),
    "Zhong 1994": Citation(
        "Zhong, King-Smith and Vanderbilt, Phys. Rev. Lett. 72, 3618 (1994)",
        "LDA, differences of polarisation",
        "BaTiO3 and PbTiO3 in source code that names this article (-2.565 for O across in PbTiO3); SrTiO3 "
        "in source code that names none; the others nowhere",
    ),
    "Ghosez 1998": Citation(
        "Ghosez, Michenaud and Gonze, Phys. Rev. B 58, 6224 (1998)",
        "LDA, DFPT",
        "Ti and O in a tutorial that names no source, and has 2.75 for Ba",
    ),
    "Ghosez 1995": Citation(
        "Ghosez, Gonze, Lambin and Michenaud, Phys. Rev. B 51, 6765 (1995)", "LDA, DFPT", "nowhere"
    ),
    "Lee 1994": Citation("Lee, Ghosez and Gonze, Phys. Rev. B 50, 13379 (1994)", "LDA, DFPT", "nowhere"),
    "Gonze 1992": Citation(
        "Gonze, Allan and Teter, Phys. Rev. Lett. 68, 3603 (1992)", "LDA, DFPT", "nowhere"
    ),
    "Giannozzi 1991": Citation(
        "Giannozzi, de Gironcoli, Pavone and Baroni, Phys. Rev. B 43, 7231 (1991)", "LDA, DFPT", "nowhere"
    ),
    "Bernardini 1997": Citation(
        "Bernardini, Fiorentini and Vanderbilt, Phys. Rev. B 56, R10024 (1997)", "Berry phase", "nowhere"
    ),
}
"""Sources of the values by the key that a `Reference` names."""
