"""The network inside a trajectory, against its predictions outside."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from helpers.committees import with_kernel
from helpers.examples import slow

from equivar_jax import load
from equivar_jax.errors import InputError
from equivar_jax.response.dynamics.moving_charges import fixed_charges, network_charges
from equivar_jax.response.dynamics.simulation import perovskite, with_thermal_momenta
from equivar_jax.response.dynamics.springs import springs_between
from equivar_jax.response.dynamics.system import make_system
from equivar_jax.response.dynamics.verlet import simulate, start
from equivar_jax.structures import with_born_effective_charges


@pytest.fixture
def predictor(trained, float64):
    return load(trained.folder)


def hot(cells):
    return with_thermal_momenta(perovskite(cells), 2000.0)


def in_motion(predictor, atoms, steps=60, **settings):
    potential = springs_between(perovskite(round((len(atoms) / 5) ** (1 / 3))), 2.8, 3.0, 0.1)
    charges = network_charges(predictor, atoms, room=2.0)
    system = make_system(atoms, potential, charges, (0.0, 0.0, 0.2), skin=0.3, room=2.0)
    return simulate(system, start(system, atoms), 1.0, steps, **settings)


@pytest.mark.parametrize(("kernel", "cells"), [slow("auto", 2), ("chunked", 1)])
def test_charges_in_motion_are_those_of_the_predictor(predictor, kernel, cells):
    """In single precision, on a last frame whose list was renewed; the sum rule in double."""
    atoms = hot(cells)
    state, _ = in_motion(with_kernel(predictor, kernel), atoms)
    assert int(state.pairs.builds) > 1
    atoms.positions = np.asarray(state.positions)
    np.testing.assert_allclose(state.charges, predictor.predict(atoms), atol=1e-5)
    assert np.abs(np.asarray(state.charges).sum(axis=0)).max() < 1e-12


def test_a_crystal_and_its_supercell_polarise_alike(predictor):
    """From rest; the single cell sees its own images."""
    _, one = in_motion(predictor, perovskite(1))
    _, eight = in_motion(predictor, perovskite(2))
    assert np.abs(np.asarray(one.polarisation)).max() > 1e-4
    np.testing.assert_allclose(one.polarisation, eight.polarisation, atol=1e-7)
    np.testing.assert_allclose(8 * np.asarray(one.work), eight.work, atol=1e-4 * np.abs(eight.work).max())


def test_too_little_room_for_edges_is_an_error(predictor):
    atoms = hot(2)
    charges = network_charges(predictor, atoms, room=1.0)
    potential = springs_between(perovskite(2), 2.8, 3.0, 0.1)
    system = make_system(
        atoms, potential, dataclasses.replace(charges, capacity=charges.capacity // 2), (0.0, 0.0, 0.0)
    )
    with pytest.raises(InputError, match="larger room"):
        simulate(system, start(system, atoms), 1.0, 10)


def test_elements_the_network_does_not_know(predictor):
    with pytest.raises(InputError, match="never seen Au"):
        network_charges(predictor, Atoms("Au", cell=[3, 3, 3], pbc=True))


def test_the_network_needs_pairs(predictor):
    atoms = perovskite(1)
    with pytest.raises(ValueError, match="list of pairs"):
        network_charges(predictor, atoms)(jnp.asarray(atoms.positions), None)


def test_charges_that_a_structure_carries():
    atoms = perovskite(1)
    tensors = np.random.default_rng(0).normal(size=(5, 3, 3))
    found, lacking = fixed_charges(with_born_effective_charges(atoms, tensors))(jnp.zeros((5, 3)), None)
    np.testing.assert_allclose(found, tensors, rtol=1e-6)
    assert not lacking
    with pytest.raises(InputError, match="no Born effective charges"):
        fixed_charges(atoms)


def test_another_networks_weights_compile_nothing_anew(predictor):
    atoms = perovskite(1)
    charges = network_charges(predictor, atoms)
    other = dataclasses.replace(charges, params=jax.tree.map(lambda leaf: 0.5 * leaf, charges.params))
    assert jax.tree.structure(charges) == jax.tree.structure(other)
    assert hash(jax.tree.structure(charges)) == hash(jax.tree.structure(network_charges(predictor, atoms)))
