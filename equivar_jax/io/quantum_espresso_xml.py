"""Reader of Quantum ESPRESSO's dynamical matrices and force constants in XML (`fildyn`, `flfrc` with `.xml`).

Index order: `Z_AT_.i` below ZSTAR is Fortran's `zstareu(field, displacement, atom)` in the order of its
memory, so that the rows that are printed have the displacement: **first index the displacement**, in e. It
was compared with the text file of the same calculation. Vectors below AT are rows, in units of alat.

The file is searched for its elements and not parsed as XML, because ph.x 6.7 writes none that a parser takes
(`<Root>` is closed by `</root>`). There are two dialects: up to 6.0 each element has attributes (`type`,
`size`) and numbers such as `1.05E+001`, later ones have none. With `epsil` and without `zeu` the file holds
memory in which no charges were put, which is refused.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import finish_structure, parse_numbers, whole_number
from equivar_jax.io.isotopes import set_stated_masses
from equivar_jax.io.options import ReadOptions
from equivar_jax.io.quantum_espresso_text import (
    CUT_SHORT,
    elements_of_labels,
    is_computed,
    read_lines,
    stated_mass,
)

_END = re.compile(r"</root>\s*\Z", re.IGNORECASE)
_VOLUME_TOLERANCE = 1e-6
_UNCALCULATED = re.compile(r"\d[+-]\d{3}\b|NaN|Infinity|\*")


def recognises_q_matrix_xml(_path: Path, head: bytes) -> bool:
    """Return whether the first (decompressed) bytes of a file are those of ph.x's or q2r.x's XML."""
    return head.lstrip().startswith(b"<?xml") and b"<Root>" in head and b"<GEOMETRY_INFO>" in head


def read_q_matrix_xml(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of a dynamical matrix or force constants in XML.

    Args:
        path: the file, plain or compressed; of dynamical matrices, the file of q = 0 has the charges.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure. It has a label [atom, field, displacement] in e if the file has charges, and the
        electronic dielectric tensor, float64 (3, 3), at `info["epsilon_inf"]`. An `InputError` stands in its
        place if it cannot be used.

    Raises:
        InputError: the file is not complete, or an option was given.
    """
    text = "\n".join(read_lines(path, options))
    if not _END.search(text):
        raise InputError(f"{path}: not a complete XML file of ph.x or q2r.x: {CUT_SHORT}")
    try:
        frame: Atoms | InputError = _read_frame(text, f"{path}, frame 0")
    except InputError as error:
        frame = error
    yield frame


def _read_frame(text: str, where: str) -> Atoms:
    """Return the structure of a file with its calculated tensors."""
    atoms = _read_structure(_element(text, "GEOMETRY_INFO", where), where)
    if "<DIELECTRIC_PROPERTIES" not in text:
        if "Z_AT_" in text or "<EPSILON" in text:
            raise InputError(f"{where}: tensors outside DIELECTRIC_PROPERTIES; copy the file again")
        return finish_structure(atoms, where)
    properties = _element(text, "DIELECTRIC_PROPERTIES", where)
    epsilon = _numbers(properties, "EPSILON", 9, where).reshape(3, 3).T
    if "ZSTAR" not in properties:
        return finish_structure(atoms, where, None, epsilon)
    charges = _element(properties, "ZSTAR", where)
    if charges.count("<Z_AT_") != len(atoms):
        raise InputError(
            f"{where}: {charges.count('<Z_AT_')} tensors for {len(atoms)} atoms; copy the file again"
        )
    never = InputError(
        f"{where}: effective charges that ph.x did not calculate (memory without numbers); repeat it with "
        "zeu = .true."
    )
    if _UNCALCULATED.search(charges):
        raise never
    tensors = np.array(
        [_numbers(charges, f"Z_AT_.{atom + 1}", 9, where).reshape(3, 3).T for atom in range(len(atoms))]
    )
    if not is_computed(tensors, all_digits=True):
        raise never
    return finish_structure(atoms, where, tensors, epsilon)


def _read_structure(geometry: str, where: str) -> Atoms:
    """Return the structure that is described below GEOMETRY_INFO, in Å."""
    types, count = (
        whole_number(_numbers(geometry, name, 1, where)[0], len(geometry), where, name)
        for name in ("NUMBER_OF_TYPES", "NUMBER_OF_ATOMS")
    )
    edge = _numbers(geometry, "CELL_DIMENSIONS", 6, where)[0]
    vectors = _numbers(geometry, "AT", 9, where).reshape(3, 3) * edge
    volume = _numbers(geometry, "UNIT_CELL_VOLUME_AU", 1, where)[0]
    with np.errstate(over="ignore", invalid="ignore"):  # of damaged numbers, which match no volume
        found = abs(np.linalg.det(vectors))
    if not abs(found - volume) <= _VOLUME_TOLERANCE * abs(volume):
        raise InputError(
            f"{where}: the lattice vectors span {found:g} bohr³ and the file states {volume:g}; copy it again"
        )
    names = [_element(geometry, f"TYPE_NAME.{kind + 1}", where).strip() for kind in range(types)]
    kinds, positions = [], []
    for atom in range(count):
        species, kind, place = _site(geometry, atom + 1, where)
        if not 1 <= kind <= types or names[kind - 1] != species:
            raise InputError(
                f"{where}: atom {atom + 1} is {species!r}, type {kind} is not; copy the file again"
            )
        kinds.append(species)
        positions.append(place)
    if geometry.count("<ATOM.") != count:
        raise InputError(
            f"{where}: {geometry.count('<ATOM.')} atoms of {count} that are announced; copy it again"
        )
    atoms = Atoms(
        elements_of_labels(kinds, where),
        cell=vectors * Bohr,
        positions=np.array(positions).reshape(-1, 3) * edge * Bohr,
        pbc=True,
    )
    masses = dict(zip(names, (_mass(geometry, kind + 1, where) for kind in range(types)), strict=True))
    return set_stated_masses(atoms, kinds, np.array([masses[name] for name in kinds]))


def _mass(geometry: str, kind: int, where: str) -> float:
    """Return the mass of a type of atoms, counted from 1, in u; NaN if the file has none."""
    name = f"MASS.{kind}"
    return stated_mass(_element(geometry, name, where)) if f"<{name}" in geometry else math.nan


def _site(geometry: str, atom: int, where: str) -> tuple[str, int, list[float]]:
    """Return label, type and position (in units of alat) of an atom, counted from 1."""
    pattern = rf'<ATOM\.{atom}\s+SPECIES="([^"]*)"\s+INDEX="\s*(\d+)\s*"\s+TAU="([^"]*)"\s*/>'
    found = re.findall(pattern, geometry)
    if len(found) != 1:
        raise InputError(f"{where}: {len(found)} entries of atom {atom} instead of one; copy the file again")
    ((species, kind, place),) = found
    return species.strip(), int(kind), parse_numbers(place, 3, where, f"position of atom {atom}")


def _element(text: str, name: str, where: str) -> str:
    """Return what stands between the tags of an element that must occur once."""
    found = re.findall(rf"<{re.escape(name)}(?:\s[^<>]*)?>(.*?)</{re.escape(name)}>", text, re.DOTALL)
    if len(found) != 1:
        raise InputError(f"{where}: {len(found)} elements {name} instead of one; copy the file again")
    return found[0]


def _numbers(text: str, name: str, count: int, where: str) -> np.ndarray:
    """Return the numbers of an element that must occur once."""
    return np.array(parse_numbers(_element(text, name, where), count, where, name))
