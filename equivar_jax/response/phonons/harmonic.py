"""A crystal of springs with fixed Born charges, whose properties are all known analytically.

The examples use it, and so do the tests that compare every response function with an exact answer.
"""

from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from jaxtyping import Float
from matscipy.neighbours import neighbour_list

from equivar_jax.response.phonons.model_potential import ModelPotential


class HarmonicCrystal(ModelPotential):
    """A calculator that is harmonic in the displacement u from a reference structure.

    `E = 1/2 sum_ij u_i Phi_ij u_j` and `F_i = -sum_j Phi_ij u_j`.

    Args:
        reference: The structure at rest; its atoms keep their order.
        force_constants: Phi in eV/Å², [atom, atom, direction, direction], periodic images summed.
        born_effective_charges: Z in e, [atom, field, displacement]; the same for all displacements.
    """

    implemented_properties = ["energy", "forces", "born_effective_charges"]  # noqa: RUF012 (as ASE has it)

    def __init__(
        self,
        reference: Atoms,
        force_constants: Float[np.ndarray, "atoms atoms 3 3"],
        born_effective_charges: Float[np.ndarray, "atoms 3 3"],
    ):
        super().__init__()
        self.rest = reference.positions.copy()
        self.force_constants = force_constants
        self.charges = born_effective_charges

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Compute energy, forces and Born effective charges."""
        moved = atoms.positions - self.rest
        forces = -np.einsum("ijab,jb->ia", self.force_constants, moved)
        return {
            "energy": -0.5 * float(np.sum(forces * moved)),
            "forces": forces,
            "born_effective_charges": self.charges.copy(),
        }


def rock_salt(formula: str = "MgO", lattice_constant: float = 4.21, cubic: bool = True) -> Atoms:
    """Make a rock-salt crystal.

    Args:
        formula: Cation, then anion.
        lattice_constant: Edge of the cube in Å.
        cubic: Whether to return the conventional cell of eight atoms, not the primitive cell of two.
    """
    return bulk(formula, "rocksalt", a=lattice_constant, cubic=cubic)


def nearest_neighbour_springs(
    atoms: Atoms, along: float, across: float
) -> Float[np.ndarray, "atoms atoms 3 3"]:
    """Compute the force constants of springs between nearest neighbours, periodic images summed.

    In rock salt the transverse optical mode at Gamma has `omega² = (2 along + 4 across) / mu`, where mu is
    the reduced mass of the two ions.

    Args:
        atoms: The crystal at rest; all bonds of the shortest length get a spring.
        along: Spring constant in eV/Å² for displacements along the bond.
        across: Spring constant in eV/Å² for displacements across the bond.

    Returns:
        Force constants in eV/Å², [atom, atom, direction, direction]; each row sums to zero.
    """
    # Some atom has a neighbour within twice the edge of a cube with the volume per atom.
    wide = 2.0 * (atoms.get_volume() / len(atoms)) ** (1 / 3)
    spacing = neighbour_list("d", atoms=atoms, cutoff=wide).min()
    i, j, bonds = neighbour_list("ijD", atoms=atoms, cutoff=1.01 * spacing)
    units = bonds / np.linalg.norm(bonds, axis=1, keepdims=True)
    parallel = np.einsum("ea,eb->eab", units, units)
    springs = along * parallel + across * (np.eye(3) - parallel)
    constants = np.zeros((len(atoms), len(atoms), 3, 3))
    np.add.at(constants, (i, j), -springs)
    np.add.at(constants, (i, i), springs)
    return constants
