"""The compiled list of neighbours, against matscipy's."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st
from matscipy.neighbours import neighbour_list

from equivar_jax.errors import InputError
from equivar_jax.response.dynamics.verlet_list import build_list, edges_within, plan_list, renew_list
from equivar_jax.response.phonons.harmonic import rock_salt

CUTOFF = 3.0
built, again = jax.jit(build_list), jax.jit(renew_list)
near = jax.jit(edges_within, static_argnames=("cutoff", "capacity", "degree"))


def random_crystal(seed, count, shear):
    """Atoms anywhere in and around a sheared cell; the cell may be far thinner than the cutoff."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(1.5, 9.0, size=3)) + shear * rng.uniform(-3.0, 3.0, size=(3, 3))
    if abs(np.linalg.det(cell)) < 20.0:
        cell += 4.0 * np.eye(3)
    places = rng.uniform(-2.0, 3.0, size=(count, 3))
    return Atoms(f"H{count}", cell=cell, scaled_positions=places, pbc=True)


def expected(atoms, cutoff):
    """Rows (receiver, sender, vector), in the order of receivers, senders and vectors."""
    return in_order(*neighbour_list("ijD", atoms=atoms, cutoff=cutoff))


def in_order(receivers, senders, vectors):
    rows = np.column_stack([receivers, senders, np.round(np.asarray(vectors), 7) + 0.0])
    return rows[np.lexsort(rows.T[::-1])]


def listed(pairs, positions):
    real = np.asarray(pairs.is_pair)
    assert np.all(np.diff(np.asarray(pairs.receivers)[real]) >= 0)
    assert not np.any(real[1:] & ~real[:-1])
    vectors = np.asarray(pairs.vectors(positions))
    np.testing.assert_array_equal(vectors[~real], np.tile([1.0, 0.0, 0.0], (np.sum(~real), 1)))
    return in_order(*(np.asarray(a)[real] for a in (pairs.receivers, pairs.senders)), vectors[real])


def within(edges):
    """Edges as (receiver, sender, vector), read through `first` and `counts` alone."""
    first, counts, senders, vectors = map(
        np.asarray, (edges.first, edges.counts, edges.senders, edges.vectors)
    )
    chosen = np.concatenate([np.arange(f, f + n) for f, n in zip(first, counts, strict=True)])
    receivers = np.repeat(np.arange(len(first)), counts)
    np.testing.assert_array_equal(receivers, np.asarray(edges.receivers)[chosen])
    assert np.all(np.linalg.norm(np.delete(vectors, chosen, axis=0), axis=1) == 1.0)
    return in_order(receivers, senders[chosen], vectors[chosen])


@given(seed=st.integers(0, 10**6), count=st.integers(1, 12), shear=st.sampled_from([0.0, 0.4, 1.0]))
@examples(6, derandomize=True)
def test_every_pair_of_any_periodic_cell(seed, count, shear):
    atoms = random_crystal(seed, count, shear)
    with jax.enable_x64(True):
        plan = plan_list(atoms, CUTOFF, skin=0.4)
        positions = jnp.asarray(atoms.positions)
        pairs = built(plan, positions)
        assert not pairs.overflow
        np.testing.assert_allclose(listed(pairs, positions), expected(atoms, CUTOFF + 0.4), atol=2e-7)


def test_a_crystal_of_many_bins(float64):
    """Bins are thinner than the cell here, and atoms lie on their faces."""
    atoms = rock_salt().repeat(4)
    plan = plan_list(atoms, CUTOFF, skin=0.4)
    assert min(plan.bins) > 3
    pairs = built(plan, jnp.asarray(atoms.positions))
    np.testing.assert_allclose(
        listed(pairs, jnp.asarray(atoms.positions)), expected(atoms, CUTOFF + 0.4), atol=2e-7
    )


def test_along_a_trajectory_it_is_renewed_when_an_atom_has_moved_by_half_of_the_skin(float64):
    atoms = random_crystal(3, 12, 0.4)
    skin, rng = 0.6, np.random.default_rng(0)
    plan = plan_list(atoms, CUTOFF, skin, room=2.0)
    steps = jnp.asarray(rng.normal(scale=0.06, size=(40, *atoms.positions.shape)))

    @jax.jit
    def walk(positions):
        def step(carry, moved):
            positions, pairs = carry
            positions = positions + moved
            pairs = renew_list(plan, pairs, positions)
            edges = edges_within(pairs, positions, CUTOFF, plan.capacity, plan.capacity)
            return (positions, pairs), (positions, edges, pairs.builds)

        start = positions, build_list(plan, positions)
        return jax.lax.scan(step, start, steps)

    (_, last), (path, edges, builds) = walk(jnp.asarray(atoms.positions))
    assert not last.overflow
    origin, number, expected_builds = atoms.positions.copy(), 1, []
    for k, positions in enumerate(np.asarray(path)):
        if np.linalg.norm(positions - origin, axis=1).max() > skin / 2:
            origin, number = positions, number + 1
        expected_builds.append(number)
        atoms.positions = positions
        found = within(jax.tree.map(lambda leaf, k=k: leaf[k], edges))
        np.testing.assert_allclose(found, expected(atoms, CUTOFF), atol=2e-7)
    assert 5 < number < 40
    np.testing.assert_array_equal(np.asarray(builds), expected_builds)


def test_too_little_room_is_noticed_and_not_forgotten(float64):
    atoms = rock_salt()
    atoms.rattle(0.05, seed=0)
    plan = plan_list(atoms, CUTOFF)
    positions = jnp.asarray(atoms.positions)
    pairs = built(plan, positions)
    number, most = int(pairs.is_pair.sum()), int(np.bincount(pairs.receivers[pairs.is_pair]).max())
    assert not built(dataclasses.replace(plan, capacity=number), positions).overflow
    tight = dataclasses.replace(plan, capacity=number - 1)
    full = built(tight, positions)
    assert full.overflow
    assert built(dataclasses.replace(plan, bin_capacity=1), positions).overflow
    for moved in (0.0, 1.0):
        assert again(tight, full, positions + moved).overflow
    everything = (pairs, positions, CUTOFF + plan.skin)
    assert not near(*everything, number, most).overflow
    assert near(*everything, number - 1, most).overflow
    assert near(*everything, number, most - 1).overflow


@pytest.mark.parametrize(
    ("pbc", "settings", "fault"),
    [
        ((True, True, False), {}, "periodic along 2 directions"),
        (False, {}, "periodic along 0 directions"),
        (True, {"cutoff": 0.0}, "cutoff 0.0"),
        (True, {"skin": -0.5}, "skin -0.5"),
        (True, {"room": 0.9}, "room 0.9"),
    ],
)
def test_what_makes_no_list_is_refused(pbc, settings, fault):
    atoms = rock_salt()
    atoms.pbc = pbc
    with pytest.raises(InputError, match=fault):
        plan_list(atoms, **{"cutoff": CUTOFF, **settings})
