"""Springs in JAX, against the force constants of the harmonic crystal."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.response.dynamics.springs import springs_between
from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs, rock_salt


@pytest.mark.parametrize("cubic", [True, False])
def test_energy_and_forces_of_the_harmonic_crystal(float64, cubic):
    crystal = rock_salt(cubic=cubic)
    springs = springs_between(crystal, 2.2, along=8.0, across=1.5)
    constants = nearest_neighbour_springs(crystal, 8.0, 1.5)
    crystal.calc = HarmonicCrystal(crystal, constants, np.zeros((len(crystal), 3, 3)))
    crystal.rattle(0.1, seed=0)
    energy, forces = springs(jnp.asarray(crystal.positions), None)
    assert float(energy) == pytest.approx(crystal.get_potential_energy(), rel=1e-13)
    np.testing.assert_allclose(forces, crystal.get_forces(), atol=1e-13)


def test_atoms_with_different_numbers_of_bonds(float64):
    """Two bonded atoms beside a chain of three: the energy of each bond, by hand."""
    chain = Atoms("H5", positions=[[0, 0, 0], [1, 0, 0], [0, 5, 0], [1, 5, 0], [2, 5, 0]])
    springs = springs_between(chain, 1.1, along=2.0, across=0.5)
    moved = np.zeros((5, 3))
    moved[1] = [0.1, 0.2, 0.0]
    moved[3] = [0.0, 0.0, 0.3]
    energy, forces = springs(jnp.asarray(chain.positions + moved), None)
    bonds = 0.5 * (2.0 * 0.1**2 + 0.5 * 0.2**2), 2 * 0.5 * 0.5 * 0.3**2
    assert float(energy) == pytest.approx(sum(bonds), rel=1e-12)
    np.testing.assert_allclose(forces[0], [0.2, 0.1, 0.0], atol=1e-12)
    np.testing.assert_allclose(forces.sum(axis=0), 0.0, atol=1e-12)


def test_an_atom_without_a_bond_is_refused():
    with pytest.raises(InputError, match="atom 2 has no bond within"):
        springs_between(Atoms("H3", positions=[[0, 0, 0], [1, 0, 0], [9, 0, 0]]), 1.5, 1.0, 1.0)
