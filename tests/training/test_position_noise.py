"""Displacements of atoms in training."""

import dataclasses

import numpy as np
import pytest
from ase.build import bulk

from equivar_jax.config.files import load_config
from equivar_jax.config.schema import check_config
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.structures import with_born_effective_charges
from equivar_jax.training.plan import plan_run

NOISE = 0.02


@pytest.fixture(scope="module")
def plan_of(tmp_path_factory):
    """A plan on ten cells of rock salt, with a given noise and seed."""
    folder = tmp_path_factory.mktemp("noise")
    cells = []
    for seed in range(10):
        atoms = bulk("MgO", "rocksalt", a=4.2, cubic=True).repeat((1, 1, 2))
        atoms.rattle(0.05, seed=seed)
        charges = 2.0 - 0.25 * atoms.numbers[:, None, None]
        cells.append(with_born_effective_charges(atoms, np.eye(3) * charges))
    write_structures(folder / "cells.extxyz", cells)

    def make(noise, seed=0):
        config = load_config("test.py")
        hygiene = dataclasses.replace(config.data.hygiene, enabled=False)
        data = dataclasses.replace(config.data, path=str(folder / "cells.extxyz"), hygiene=hygiene)
        train = dataclasses.replace(config.train, position_noise=noise, batch_size=3, seed=seed)
        return plan_run(dataclasses.replace(config, data=data, train=train), folder)

    return make


def batches_of(plan, epoch):
    return [plan.training_batch(epoch, item) for item in enumerate(plan.epoch(epoch))]


def test_noise_moves_atoms_and_nothing_else(plan_of):
    plan = plan_of(NOISE)
    found = []
    for item, batch in zip(plan.epoch(1), batches_of(plan, 1), strict=True):
        still = plan.collate(item)
        graph, is_edge = batch.graph, batch.node_mask[batch.graph.receivers]
        change = graph.edges["vectors"] - still.graph.edges["vectors"]
        np.testing.assert_array_equal(change[~is_edge], 0.0)
        # One displacement for each atom explains the change of all its edges, to all images.
        nodes = len(batch.node_mask)
        incidence = np.eye(nodes)[graph.senders] - np.eye(nodes)[graph.receivers]
        moved, *_ = np.linalg.lstsq(incidence, change, rcond=None)
        np.testing.assert_allclose(incidence @ moved, change, atol=1e-6)
        found.append(moved[batch.node_mask])
        restored = graph._replace(edges=still.graph.edges)
        for left, right in zip(
            (*restored.nodes.values(), *restored.edges.values(), restored.senders, batch.tensors),
            (*still.graph.nodes.values(), *still.graph.edges.values(), still.graph.senders, still.tensors),
            strict=True,
        ):
            np.testing.assert_array_equal(left, right)
    spread = np.concatenate(found).std()
    assert spread == pytest.approx(NOISE, rel=0.2)  # of some 400 numbers


def test_noise_follows_from_seed_epoch_and_place(plan_of):
    first, again, other = (
        [batch.graph.edges["vectors"] for batch in batches_of(plan_of(NOISE, seed), 0)] for seed in (3, 3, 4)
    )
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left, right)
    assert not any(np.array_equal(left, right) for left, right in zip(first, other, strict=True))
    plan = plan_of(NOISE, 3)
    item = plan.epoch(0)[0]
    places = ((0, (0, item)), (0, (1, item)), (1, (0, item)))
    drawn = [plan.training_batch(*where).graph.edges["vectors"] for where in places]
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], drawn[2])


def test_without_noise_batches_are_those_of_the_data(plan_of):
    plan = plan_of(0.0)
    for item, batch in zip(plan.epoch(0), batches_of(plan, 0), strict=True):
        np.testing.assert_array_equal(batch.graph.edges["vectors"], plan.collate(item).graph.edges["vectors"])


def test_noise_is_not_negative():
    config = load_config("test.py")
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, position_noise=-0.1))
    with pytest.raises(InputError, match=r"position_noise -0\.1 is too small"):
        check_config(config)
