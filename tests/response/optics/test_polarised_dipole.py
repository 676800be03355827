"""Rates of the dipole of a trajectory, from a network that gives the dipole itself."""

import numpy as np
import pytest
from ase import units
from helpers.polarised import molecule, predictor

from equivar_jax.calculators import EquivarCalculator
from equivar_jax.response.optics.dipole import dipole_rates

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def model():
    return predictor()


def swinging(steps, timestep, periodic=True):
    """Five ions that swing about their places, in a cell with a moving centre of mass."""
    rng, frames = np.random.default_rng(2), []
    swing, phases = 0.15 * rng.normal(size=(5, 3)), rng.uniform(0, 6, size=(5, 3))
    for step in range(steps):
        atoms = molecule()
        atoms.set_cell([6.5] * 3)
        atoms.pbc = periodic
        atoms.positions += swing * np.sin(0.12 * step * timestep + phases) + 0.4 * step * timestep
        if periodic:
            atoms.wrap()
        frames.append(atoms)
    return frames


@pytest.mark.parametrize("periodic", [True, False])
def test_positions_give_the_mean_over_each_step_exactly(model, periodic):
    """As the integral of the tensors over many short steps; the middle of one long step is farther off."""
    coarse, fine = swinging(4, 2.0, periodic), swinging(3 * 16 + 1, 2.0 / 16, periodic)
    exact = (
        dipole_rates(fine, 2.0 / 16, lambda atoms: model.predict(atoms)).values.reshape(3, 16, 3).mean(axis=1)
    )
    found = dipole_rates(coarse, 2.0, EquivarCalculator(model))
    integral = dipole_rates(coarse, 2.0, lambda atoms: model.predict(atoms))
    assert found.averaged
    assert found.timestep == pytest.approx(2.0 * units.fs)
    scale = np.abs(exact).max()
    assert np.abs(found.values - exact).max() < 2e-3 * scale
    assert np.abs(integral.values - exact).max() > 5 * np.abs(found.values - exact).max()


def test_velocities_are_taken_where_there_are_some_and_other_cells_are_not_compared(model):
    frames = swinging(3, 1.0)
    asked = EquivarCalculator(model)
    strained = [atoms.copy() for atoms in frames]
    strained[2].set_cell([6.6] * 3, scale_atoms=True)
    expected = dipole_rates(strained, 1.0, lambda atoms: model.predict(atoms))
    np.testing.assert_allclose(dipole_rates(strained, 1.0, asked).values, expected.values, atol=1e-9)
    for atoms in frames:
        atoms.set_velocities(np.full((5, 3), 0.4 / units.fs) + np.eye(5, 3) * 0.01)
    rates = dipole_rates(frames, 1.0, asked)
    assert not rates.averaged
    instant = np.einsum("iab,ib->a", model.predict(frames[1]), frames[1].get_velocities())
    np.testing.assert_allclose(rates.values[1], instant, atol=1e-9)
