"""Structures that ASE reads without complaint, but not as they were meant: types for elements, other units.

LAMMPS numbers its types of atoms from 1, and ASE 3.29 takes the number for the atomic number where a file has
nothing else; where it has masses, it takes the element with the nearest mass. i-PI writes PDB files in any
unit.
"""

import re
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_masses, atomic_numbers
from ase.io.formats import UnknownFileTypeError, filetype

from equivar_jax.errors import InputError
from equivar_jax.io.files import excerpt

_MASS_TOLERANCE = 0.005
"""Largest relative difference between the mass of a type and its element; files have 28 for 28.085."""
_ISOTOPE_TOLERANCE = 0.25
"""The same where the element is named, too; only the isotopes of hydrogen differ by more."""
_IN_ANGSTROM = ("metal", "real")
"""LAMMPS's units in which lengths are in Å; the velocities are in Å/ps in the first, Å/fs in the second."""
_REAL_VELOCITIES = 1000.0
_DUMP_FIX = "write the elements: dump ID all custom N FILE id element x y z; dump_modify ID element Mg O ..."
_DATA_FIX = "add a section 'Atom Type Labels' with the elements, or convert it to extended XYZ"


class Meaning:
    """What a file says about itself that ASE does not heed.

    Args:
        path: the file, for messages.
        plain: the file, not compressed.

    Raises:
        InputError: ASE would misread the file.
    """

    def __init__(self, path: Path, plain: Path):
        self._path = path
        self._velocities = 1.0
        self._labels: dict[int, str] = {}
        try:
            self._format = filetype(str(plain))
        except (UnknownFileTypeError, OSError, ValueError):
            self._format = ""
        check = {
            "lammps-dump-text": self._check_dump,
            "lammps-dump-binary": self._refuse_types,
            "lammps-data": self._check_data,
            "netcdftrajectory": self._check_netcdf,
            "proteindatabank": self._check_pdb,
            "castep-cell": self._check_mixtures,
            "res": self._check_shelx,
        }.get(self._format)
        if check is not None:
            check(plain)

    def correct(self, atoms: Atoms) -> Atoms:
        """Return a frame as the file means it.

        Raises:
            InputError: masses and elements of the frame contradict each other.
        """
        if self._velocities != 1.0 and atoms.has("momenta"):
            atoms.set_momenta(atoms.get_momenta() * self._velocities, apply_constraint=False)
        if self._labels:
            # ASE has looked all of them up already, and then took the elements of the masses.
            atoms.numbers = np.array([atomic_numbers[self._labels[kind]] for kind in atoms.arrays["type"]])
        if self._format == "lammps-dump-text":
            self._check_default_element(atoms)
        if self._format in ("lammps-data", "cfg") and atoms.has("masses"):
            self._check_masses(atoms)
        return atoms

    def _check_dump(self, plain: Path) -> None:
        """Refuse a dump without elements or in other units than Å, by the titles of its columns."""
        place: int | None = None
        masses: set[str] = set()
        with plain.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line.startswith("ITEM: UNITS"):
                    self._check_unit(next(lines, "").strip())
                elif line.startswith("ITEM: ATOMS"):
                    place = self._find_masses(line.split()[2:])
                elif line.startswith("ITEM:"):
                    place = None
                elif place is not None:
                    masses.update(line.split()[place : place + 1])
        for mass in sorted(masses):
            if not _is_natural(mass):
                raise InputError(f"{self._path}: the mass {excerpt(mass)} is that of no element; {_DUMP_FIX}")

    def _check_unit(self, unit: str) -> None:
        """Refuse a dump whose lengths are not in Å, and note the unit of its velocities."""
        if unit not in _IN_ANGSTROM:
            raise InputError(
                f"{self._path}: a LAMMPS dump in units {excerpt(unit)}, not in Å; convert it to metal"
            )
        self._velocities = _REAL_VELOCITIES if unit == "real" else 1.0

    def _find_masses(self, titles: list[str]) -> int | None:
        """Return the column of masses if they stand for the elements, None if the elements are there.

        Raises:
            InputError: there are neither elements nor masses.
        """
        if "element" in titles:
            return None
        if "mass" in titles:
            return titles.index("mass")
        raise InputError(
            f"{self._path}: a LAMMPS dump of {', '.join(titles)}, without elements: the types are numbers of "
            f"the simulation; {_DUMP_FIX}"
        )

    def _refuse_types(self, _: Path) -> None:
        """Refuse a format that has types only."""
        raise InputError(f"{self._path}: a binary LAMMPS dump has no elements; write text, and {_DUMP_FIX}")

    def _check_netcdf(self, plain: Path) -> None:
        """Refuse LAMMPS's NetCDF trajectories, which have types only."""
        with plain.open("rb") as handle:
            if b"LAMMPS" in handle.read(1 << 16):
                raise InputError(f"{self._path}: a NetCDF dump of LAMMPS has no elements; {_DUMP_FIX}")

    def _check_data(self, plain: Path) -> None:
        """Take the elements of a LAMMPS data file from its labels; refuse one that has types only."""
        text = plain.read_text(encoding="utf-8", errors="replace")
        section = re.search(r"^\s*Atom Type Labels.*\n\s*\n((?:\s*\d+\s+\S+.*\n?)+)", text, re.MULTILINE)
        if section is not None:
            pairs = [line.split()[:2] for line in section[1].splitlines() if line.strip()]
            labels = {int(kind): label for kind, label in pairs}
            if all(atomic_numbers.get(label, 0) > 0 for label in labels.values()):
                self._labels = labels
                return
        if not re.search(r"^\s*Masses\b", text, re.MULTILINE):
            raise InputError(
                f"{self._path}: a LAMMPS data file with types only, which are numbers of the simulation, no "
                f"elements; {_DATA_FIX}"
            )

    def _check_pdb(self, plain: Path) -> None:
        """Refuse i-PI's PDB files in other units than Å."""
        with plain.open(encoding="utf-8", errors="replace") as lines:
            titles = [line for line in islice(lines, 1000) if line.startswith(("TITLE", "REMARK"))]
        for name, unit in re.findall(r"\b(\w+)\{\s*(\w+)\s*\}", " ".join(titles)):
            if unit != "angstrom" or name not in ("cell", "positions", "x_centroid"):
                raise InputError(
                    f"{self._path}: i-PI's {name}{{{unit}}} in a PDB file, which ASE takes for Å; "
                    "write cell and positions in angstrom"
                )

    def _check_mixtures(self, plain: Path) -> None:
        """Refuse a CASTEP cell with mixed sites, whose fractions ASE leaves out."""
        if re.search(r"\bMIXTURE\s*[:=]", plain.read_text(errors="replace"), re.IGNORECASE):
            raise InputError(
                f"{self._path}: MIXTURE: sites shared by several elements; give an ordered structure"
            )

    def _check_shelx(self, plain: Path) -> None:
        """Refuse a SHELX file with symmetry or partial occupancies, of which ASE reads neither."""
        with plain.open(encoding="utf-8", errors="replace") as lines:
            for words in map(str.split, lines):
                name = words[0].upper() if words else ""
                if name == "SYMM" or (name == "LATT" and words[1:2] != ["-1"]):
                    raise InputError(
                        f"{self._path}: {' '.join(words)}: ASE reads no symmetry of SHELX files; give all "
                        "atoms of the cell, for example as CIF"
                    )
                if len(words) < 6 or not (words[1].isdigit() and re.fullmatch(r"\d*\.\d+", words[5])):
                    continue
                share = float(words[5]) % 10  # 11 is a 1 that is not refined
                if abs(share - 1) > _MASS_TOLERANCE:
                    found = f"{words[0]} {share:g}"
                    raise InputError(
                        f"{self._path}: a partly occupied site, {found}; give an ordered structure"
                    )

    def _check_default_element(self, atoms: Atoms) -> None:
        """Refuse several types that are all carbon, which LAMMPS writes if it was not told the elements."""
        kinds = np.unique(atoms.arrays.get("type", [0]))
        if len(kinds) > 1 and (atoms.numbers == atomic_numbers["C"]).all():
            raise InputError(
                f"{self._path}: {len(kinds)} types that are all the element C, LAMMPS's default; {_DUMP_FIX}"
            )

    def _check_masses(self, atoms: Atoms) -> None:
        """Refuse masses that are not those of the elements."""
        named = bool(self._labels) or self._format == "cfg"
        natural = atomic_masses[atoms.numbers]
        off = np.abs(atoms.get_masses() / natural - 1)
        isotope = named & (atoms.numbers == 1) & (atoms.get_masses() < 3.1)
        wrong = np.flatnonzero((off > (_ISOTOPE_TOLERANCE if named else _MASS_TOLERANCE)) & ~isotope)
        if len(wrong):
            atom = int(wrong[0])
            fix = _DATA_FIX if self._format == "lammps-data" else "name the elements"
            raise InputError(
                f"{self._path}: atom {atom} has the mass {atoms.get_masses()[atom]:g}, which is not that of "
                f"{atoms.symbols[atom]}; {fix}"
            )


def _is_natural(mass: str) -> bool:
    """Return whether a mass in u is that of an element of natural composition."""
    try:
        value = float(mass)
    except ValueError:
        return False
    return bool(np.abs(atomic_masses[1:] / value - 1).min() < _MASS_TOLERANCE) if value > 0 else False
