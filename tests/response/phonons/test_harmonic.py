"""The crystal of springs, against its analytic frequencies."""

import numpy as np
import pytest

from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs, rock_salt


@pytest.mark.parametrize("cubic", [True, False])
def test_transverse_optical_frequency_of_rock_salt(cubic):
    """omega² = (2 along + 4 across) / mu."""
    crystal = rock_salt(cubic=cubic)
    constants = nearest_neighbour_springs(crystal, along=8.0, across=1.5)
    roots = np.sqrt(crystal.get_masses())
    dynamical = constants / roots[:, None, None, None] / roots[None, :, None, None]
    size = 3 * len(crystal)
    squares = np.linalg.eigvalsh(dynamical.transpose(0, 2, 1, 3).reshape(size, size))
    mu = 1 / np.sum(1 / crystal.get_masses()[:2])
    assert np.min(np.abs(squares - (2 * 8.0 + 4 * 1.5) / mu)) < 1e-12
    assert np.sum(np.abs(squares) < 1e-10) >= 3


def test_forces_are_the_gradient_of_the_energy():
    """Central differences."""
    crystal = rock_salt()
    calculator = HarmonicCrystal(crystal, nearest_neighbour_springs(crystal, 8.0, 1.5), np.zeros((8, 3, 3)))
    crystal.calc = calculator
    crystal.rattle(0.05, seed=0)
    forces = crystal.get_forces()
    from ase.calculators.fd import calculate_numerical_forces

    assert np.abs(forces - calculate_numerical_forces(crystal, eps=1e-4)).max() < 1e-8
