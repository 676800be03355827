"""The network in C++ against the Flax module, for every setting."""

import dataclasses

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from helpers.networks import SMALL, dense_batch, random_params

from equivar_jax.config import ModelConfig
from equivar_jax.graphs import Sample, build_graph
from equivar_jax.kernels.whole_network import Watch, run
from equivar_jax.network import Equivar
from equivar_jax.network.compiled import weight_shapes, write_tape
from equivar_jax.prediction.in_cpp import structures_of

EVERYTHING = {
    "envelope": True,
    "edge_hidden": 32,
    "self_connection": True,
    "gates": True,
    "node_products": True,
    "element_shift": True,
    "dielectric": True,
}
SETTINGS = [
    {},
    *({name: value} for name, value in EVERYTHING.items()),
    EVERYTHING,
    {**EVERYTHING, "interactions": 1},
    {"interactions": 3, "node_products": True},
    {"interactions": 4, "radial_functions": 21, "edge_hidden": 48, "channels": 48},
]


def crystals():
    """A distorted perovskite, wurtzite, a molecule, and an atom that has no neighbours."""
    rng = np.random.default_rng(3)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    perovskite = Atoms("BaTiO3", scaled_positions=places, cell=[4.0, 4.1, 4.2], pbc=True)
    found = [perovskite * (2, 1, 1), bulk("ZnO", "wurtzite", 3.25, 5.2), molecule("CH3OH"), Atoms("He")]
    for atoms in found[:3]:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings) or "published")
def test_it_is_the_network(settings, precision):
    dtype, tolerance = precision, 1e-5 if precision is np.float32 else 1e-12
    config = dataclasses.replace(SMALL, cutoff=4.0, **settings)
    params, structures = random_params(config, dtype), crystals()
    samples = [Sample(build_graph(atoms, config.cutoff), None) for atoms in structures]
    atoms = sum(map(len, structures))
    batch = dense_batch(structures, config.cutoff, dtype)
    model = Equivar(dataclasses.replace(config, kernel="reference"))
    expected = np.asarray(model.apply(params, batch.graph))[:atoms]
    found, atomic = run(write_tape(config, params, dtype), structures_of(samples), config.dielectric)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found, expected, atol=tolerance * scale)
    if config.dielectric:
        means = np.asarray(model.apply(params, batch.graph, method="dielectric_means"))[: len(structures)]
        sizes = np.array([len(one) for one in structures])
        sums = np.add.reduceat(atomic, np.cumsum(sizes) - sizes)
        np.testing.assert_allclose(sums / sizes[:, None, None], means, atol=tolerance * np.abs(means).max())
    else:
        assert atomic is None


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(settings) or "published")
def test_the_shapes_are_those_of_flax(settings):
    config = dataclasses.replace(SMALL, **settings)
    batch = dense_batch([Atoms("H")])
    expected = jax.eval_shape(Equivar(config).init, jax.random.key(0), batch.graph)
    assert weight_shapes(config) == {"params": jax.tree.map(lambda leaf: leaf.shape, expected["params"])}


def test_a_structure_has_the_same_tensors_in_any_company():
    config = ModelConfig(channels=16, interactions=2, mean_neighbours=9.0)
    tape, structures = write_tape(config, random_params(config)), crystals()
    samples = [Sample(build_graph(atoms, config.cutoff), None) for atoms in structures]
    together, _ = run(tape, structures_of(samples * 40))  # many, so that several threads share them
    apart = np.concatenate([run(tape, structures_of([sample]))[0] for sample in samples] * 40)
    np.testing.assert_array_equal(together, apart)


def test_a_network_is_watched_and_stopped():
    tape = write_tape(SMALL, random_params(SMALL))
    structures = structures_of([Sample(build_graph(crystals()[0], SMALL.cutoff), None)])
    watch = Watch()
    run(tape, structures, watch=watch)
    assert watch.done == SMALL.interactions * len(structures.species)
    stopped = Watch(stop=1)
    run(tape, structures, watch=stopped)
    assert stopped.done == 0


def test_a_network_without_its_mean_number_of_neighbours_is_refused():
    config = dataclasses.replace(SMALL, mean_neighbours=None)
    with pytest.raises(ValueError, match="mean_neighbours is not set"):
        write_tape(config, random_params(SMALL))
