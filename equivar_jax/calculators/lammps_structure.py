"""The structure in a running LAMMPS as `ase.Atoms`, in the order of the atom IDs and in LAMMPS's own axes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.lammps import Prism
from ase.data import atomic_masses, atomic_numbers, chemical_symbols
from jaxtyping import Float, Int

from equivar_jax.config.settings import did_you_mean
from equivar_jax.errors import InputError

Species = Sequence[str] | Mapping[int, str]
"""Element of each LAMMPS type: symbols in the order of types 1, 2, ..., or a dictionary of types."""
MASS_TOLERANCE = 0.02
"""How far a mass may be from the element's, as a share of it: atoms are rarely rounded by more."""


class LammpsStructure:
    """Reads atoms out of an instance of LAMMPS.

    Positions are followed through images: `x + n_x a + n_y b + n_z c` with LAMMPS's image flags, so that a
    path has no leaps where LAMMPS wraps atoms. The cell is LAMMPS's, with a along x and b in the plane of x
    and y; along directions that are not periodic it stays as it was at first, since LAMMPS may shrink it to
    the atoms.

    Args:
        lmp: A `lammps.lammps` with atoms.
        species: Element of each type.
        charge: Net charge of the cell in e.
        check_masses: Compare masses with those of the elements.

    Raises:
        InputError: `species` lacks a type or is no element, or an element has another mass in LAMMPS.
    """

    def __init__(self, lmp: Any, species: Species, charge: float, check_masses: bool):
        self._lmp = lmp
        self._charge = charge
        self._numbers = _numbers_of_types(species, lmp.extract_setting("ntypes"))
        if check_masses:
            _compare_masses(lmp, self._numbers)
        self._compares_masses = check_masses  # once more at the first step, when all types must have one
        self._first_cell: np.ndarray | None = None

    def read(
        self, ids: Int[np.ndarray, " atoms"], positions: Float[np.ndarray, "atoms 3"]
    ) -> tuple[Atoms, Int[np.ndarray, " atoms"]]:
        """Read the structure as it is now.

        Args:
            ids: Atom IDs in LAMMPS's order of the moment.
            positions: Of these atoms in Å, as LAMMPS has them.

        Returns:
            Atoms in the order of their IDs, and that order: `order[k]` is where LAMMPS has the k-th of them.
        """
        if self._compares_masses:
            _compare_masses(self._lmp, self._numbers)
            self._compares_masses = False
        order = np.argsort(ids)
        cell, periodic = self._cell()
        flags = _image_flags(self._lmp.numpy.extract_atom("image")[: len(ids)][order])
        kinds = self._lmp.numpy.extract_atom("type")[: len(ids)][order]
        atoms = Atoms(
            self._numbers[kinds - 1],
            positions=positions[order] + (flags * periodic) @ cell,
            cell=cell,
            pbc=periodic,
            info={"source": "LAMMPS", "charge": self._charge},
        )
        return atoms, order

    def _cell(self) -> tuple[Float[np.ndarray, "3 3"], np.ndarray]:
        """Return the cell in Å, rows the lattice vectors, and which directions are periodic."""
        low, high, xy, yz, xz, flags, _ = self._lmp.extract_box()
        lengths, periodic = np.subtract(high, low), np.array(flags, dtype=bool)
        cell = np.array([[lengths[0], 0, 0], [xy, lengths[1], 0], [xz, yz, lengths[2]]])
        if self._first_cell is None:
            self._first_cell = cell.copy()
        cell[~periodic] = self._first_cell[~periodic]
        return cell, periodic


def field_in_lammps_axes(
    atoms: Atoms, field: Sequence[float] | np.ndarray | Callable[[float], Any]
) -> np.ndarray | Callable[[float], np.ndarray]:
    """Turn a field from the axes of a structure into those of LAMMPS.

    LAMMPS has the first lattice vector along x and the second in the plane of x and y, and
    `ase.io.lammpsdata` turns crystals so. For a cell that has this form already, nothing changes.

    Args:
        atoms: The structure in its own axes.
        field: Three components, or a function of the time that returns them.

    Returns:
        The same in LAMMPS's axes.

    Raises:
        InputError: The lattice vectors are left-handed or span no cell, so that LAMMPS cannot have them.
    """
    volume = np.linalg.det(atoms.cell.array)
    if volume <= 0:
        raise InputError(
            f"a cell whose lattice vectors have the triple product {volume:g} Å³ cannot be turned to "
            "LAMMPS's axes; give three vectors in right-handed order"
        )
    prism = Prism(atoms.cell.array, atoms.pbc)
    if callable(field):
        return lambda time: prism.vector_to_lammps(np.asarray(field(time), dtype=np.float64))
    return prism.vector_to_lammps(np.asarray(field, dtype=np.float64))


def _image_flags(packed: Int[np.ndarray, " atoms"]) -> Int[np.ndarray, "atoms 3"]:
    """Unpack image flags: ten bits for each direction in integers of four bytes, 21 in those of eight."""
    bits = 10 if packed.dtype.itemsize == 4 else 21
    mask, offset = (1 << bits) - 1, 1 << (bits - 1)
    wide = packed.astype(np.int64)
    return np.stack([((wide >> (bits * axis)) & mask) - offset for axis in range(3)], axis=1)


def _numbers_of_types(species: Species, types: int) -> Int[np.ndarray, " types"]:
    """Return the atomic number of each type; refuse lists of another length, and what is no element."""
    if isinstance(species, str):
        raise InputError(f"species {species!r}: give a list, the element of each type, such as ['Mg', 'O']")
    given = dict(species) if isinstance(species, Mapping) else dict(enumerate(species, start=1))
    if sorted(given) != list(range(1, types + 1)):
        raise InputError(
            f"species {species!r}: LAMMPS has {types} atom types; give the element of each, in their order"
        )
    for kind, symbol in given.items():
        if symbol not in atomic_numbers or symbol == "X":
            raise InputError(
                f"species of LAMMPS type {kind}: {symbol!r} is no element"
                f"{did_you_mean(symbol, atomic_numbers)}; give chemical symbols"
            )
    return np.array([atomic_numbers[given[kind]] for kind in range(1, types + 1)])


def _compare_masses(lmp: Any, numbers: Int[np.ndarray, " types"]) -> None:
    """Refuse an element whose mass in LAMMPS is that of another."""
    masses = _masses_of_types(lmp, len(numbers))
    for kind, (number, mass) in enumerate(zip(numbers, masses, strict=True), start=1):
        expected = atomic_masses[number]
        if np.isfinite(mass) and abs(mass - expected) > max(MASS_TOLERANCE * expected, 0.1):
            nearest = chemical_symbols[int(np.nanargmin(np.abs(atomic_masses[1:] - mass))) + 1]
            raise InputError(
                f"LAMMPS type {kind} has a mass of {mass:g} u, near that of {nearest}, and "
                f"{chemical_symbols[number]} has {expected:.4g} u; give the elements in the order of the "
                "types, or check_masses=False for isotopes"
            )


def _masses_of_types(lmp: Any, types: int) -> Float[np.ndarray, " types"]:
    """Return the mass of each type in u: NaN for one that has none yet, or no atoms."""
    if not lmp.extract_setting("rmass_flag"):
        masses = np.array(lmp.numpy.extract_atom("mass"))[1 : types + 1]
        return np.where(masses > 0, masses, np.nan)
    count = lmp.extract_setting("nlocal")
    each, kinds = (lmp.numpy.extract_atom(name)[:count] for name in ("rmass", "type"))
    sums, atoms = (np.bincount(kinds, weights, types + 1)[1:] for weights in (each, np.ones(count)))
    return np.where(atoms > 0, sums / np.maximum(atoms, 1), np.nan)
