"""A network that gives a polarisation, inside a compiled trajectory."""

import jax.numpy as jnp
import numpy as np
import pytest
from ase import units
from helpers.polarised import predictor

from equivar_jax.calculators.polarised import dipoles_of_cells
from equivar_jax.response.dynamics.moving_charges import has_polarisation, network_charges
from equivar_jax.response.dynamics.springs import springs_between
from equivar_jax.response.dynamics.system import make_system
from equivar_jax.response.dynamics.verlet import simulate, start
from equivar_jax.response.phonons.harmonic import rock_salt

FIELD = np.array([0.2, -0.1, 0.3])

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def model():
    return predictor()


def warm_crystal(temperature):
    atoms = rock_salt(cubic=False)
    normal = np.random.default_rng(0).normal(size=(2, 3))
    atoms.set_velocities(normal * np.sqrt(units.kB * temperature / atoms.get_masses())[:, None])
    return atoms


def run(model, steps, temperature=300.0, timestep=1.0, field=FIELD, **settings):
    atoms = warm_crystal(temperature)
    charges = network_charges(model, atoms, room=2.0)
    system = make_system(atoms, springs_between(atoms, 2.2, 8.0, 1.5), charges, field, room=2.0)
    assert has_polarisation(charges)
    begin = start(system, atoms)
    return atoms, simulate(system, begin, timestep, steps, **settings)


@pytest.mark.parametrize("every", [1, 5])
def test_polarisation_is_the_networks_however_seldom_it_is_asked(model, every):
    atoms, (state, records) = run(model, 40, charges_every=every)
    moved = np.asarray(state.positions) - atoms.positions
    before = dipoles_of_cells(model, [atoms], [np.zeros((2, 3))])[0]
    atoms.positions += moved
    np.testing.assert_allclose(state.charges, model.predict(atoms), atol=1e-9)
    change = (dipoles_of_cells(model, [atoms], [moved])[0] - before) / atoms.get_volume()
    assert np.abs(change).max() > 1e-4
    np.testing.assert_allclose(records.polarisation[-1], change, atol=1e-12)
    if every == 1:
        work = atoms.get_volume() * records.polarisation @ FIELD
        np.testing.assert_allclose(records.work, work, rtol=1e-9, atol=1e-12)
        assert np.abs(work).max() > 1e-3


def test_the_work_of_a_field_that_changes_leaves_the_energy_conserved(model):
    """The error is that of velocity Verlet, of second order in the time step."""

    def field(time):
        return 0.3 * jnp.array([0, 0, 1.0]) * jnp.sin(0.05 * time)

    ripples = []
    for refinement in (1, 2):
        _, (_, records) = run(
            model, 40 * refinement, timestep=1.0 / refinement, field=field, record_every=10 * refinement
        )
        total = np.asarray(records.kinetic + records.potential - records.work)
        ripples.append(np.ptp(total))
    assert 3 < ripples[0] / ripples[1] < 5


@pytest.mark.slow  # forty thousand steps
def test_the_energy_in_a_constant_field_does_not_drift_in_ten_picoseconds(model):
    """NVE: kinetic + potential energy - V E.(P - P0), beside the ripple of velocity Verlet."""
    _, (_, records) = run(model, 40000, temperature=50.0, timestep=0.25, record_every=20)
    volume = rock_salt(cubic=False).get_volume()
    total = np.asarray(records.kinetic + records.potential - volume * records.polarisation @ FIELD) / 2
    assert np.ptp(records.work) / 2 > 1e-3
    ripple, drift = np.ptp(total), np.polyfit(np.linspace(0, 1, len(total)), total, 1)[0]
    assert ripple < 5e-6
    assert abs(drift) < 1e-6
