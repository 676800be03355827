"""A potential of springs for the example and the tests, whose optical modes are known."""

from typing import Any

import numpy as np
from ase import Atoms
from ase.stress import full_3x3_to_voigt_6_stress
from matscipy.neighbours import neighbour_list

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.harmonic import rock_salt
from equivar_jax.response.phonons.model_potential import ModelPotential

LATTICE_CONSTANT = 4.21
"""Of rock salt at rest, in Å."""
STRETCHING, SECOND = 2.0, 0.5
"""Spring constants in eV/Å² between nearest neighbours and between second neighbours."""
CHARGE, EPSILON_INF = 2.0, 3.0
"""Nominal charge in e and electronic dielectric constant of the example."""
_RANGE = 1.12
"""Springs reach as far as second neighbours stretched by this factor."""


class PairSprings(ModelPotential):
    """Springs of fixed lengths between first and second neighbours of rock salt.

    `E = sum_pairs k/2 (r - r0)² + q/4 (r - r0)^4`, with energy, forces and stress. A bond shorter than the
    mean of both lengths is one between nearest neighbours. In rock salt at rest the transverse mode at Gamma
    has `omega² = 2 k1 / mu`, with the reduced mass mu of the two ions, whatever the second neighbours do.

    Args:
        stretching: k1 between nearest neighbours in eV/Å²; a negative one makes the crystal ferroelectric, if
            `quartic` is positive.
        second: k2 between second neighbours in eV/Å².
        quartic: q between nearest neighbours in eV/Å^4.
    """

    implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012 (as ASE has it)

    def __init__(self, stretching: float = STRETCHING, second: float = SECOND, quartic: float = 0.0):
        super().__init__()
        self.constants = np.array([stretching, second])
        self.quartic = np.array([quartic, 0.0])

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Compute energy in eV, forces in eV/Å and stress in eV/Å³."""
        rest = np.array([LATTICE_CONSTANT / 2, LATTICE_CONSTANT / np.sqrt(2)])
        i, bonds, lengths = neighbour_list("iDd", atoms=atoms, cutoff=_RANGE * rest[1])
        shell = (lengths > rest.mean()).astype(int)
        stretched = lengths - rest[shell]
        constants, quartic = self.constants[shell], self.quartic[shell]
        tension = constants * stretched + quartic * stretched**3
        energies = constants / 2 * stretched**2 + quartic / 4 * stretched**4
        pulls = (tension / lengths)[:, None] * bonds
        forces = np.zeros((len(atoms), 3))
        np.add.at(forces, i, pulls)
        # Each pair is there from both of its ends.
        results = {"energy": 0.5 * float(energies.sum()), "forces": forces}
        if atoms.pbc.all():
            stress = np.einsum("ea,eb->ab", pulls, bonds) / (2 * atoms.get_volume())
            results["stress"] = full_3x3_to_voigt_6_stress(stress)
        return results


def springs() -> PairSprings:
    """Make the potential; as `--potential equivar_jax.response.crystal.example:springs`."""
    return PairSprings()


def stretched_magnesia() -> Atoms:
    """Make MgO of the example, its lattice constant 1 % too large, in the conventional cell."""
    return rock_salt("MgO", 1.01 * LATTICE_CONSTANT)


def nominal_charges(atoms: Atoms) -> np.ndarray:
    """Return nominal charges of an oxide of magnesium as tensors in e, [atom, field, displacement].

    Raises:
        InputError: The structure has other elements.
    """
    if set(atoms.symbols) != {"Mg", "O"}:
        raise InputError(f"{atoms.symbols}: the example is of MgO")
    return np.where(atoms.symbols == "Mg", CHARGE, -CHARGE)[:, None, None] * np.eye(3)
