"""The network in C++ against the Flax module, for every setting."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from helpers.networks import SMALL, dense_batch, random_params

from equivar_jax.config import ModelConfig
from equivar_jax.graphs import Sample, build_graph
from equivar_jax.kernels.whole_network import Watch, run, run_polarisation
from equivar_jax.network import Equivar
from equivar_jax.network.compiled import weight_shapes, write_tape
from equivar_jax.network.forms import make_network
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
    {"edge_hidden": 20, "envelope": True},
]
POLARISED = [
    {name: value for name, value in settings.items() if name not in ("element_shift", "dielectric")}
    for settings in SETTINGS
    if [*settings] not in (["element_shift"], ["dielectric"])
]


def settings_name(settings):
    return "-".join(settings) or "published"


def crystals():
    """A distorted perovskite, wurtzite, a molecule, and an atom that has no neighbours."""
    rng = np.random.default_rng(3)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    perovskite = Atoms("BaTiO3", scaled_positions=places, cell=[4.0, 4.1, 4.2], pbc=True)
    found = [perovskite * (2, 1, 1), bulk("ZnO", "wurtzite", 3.25, 5.2), molecule("CH3OH"), Atoms("He")]
    for atoms in found[:3]:
        atoms.positions += rng.normal(scale=0.05, size=atoms.positions.shape)
    return found


@pytest.mark.parametrize("settings", SETTINGS, ids=settings_name)
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


@pytest.mark.parametrize("settings", POLARISED, ids=settings_name)
def test_it_is_the_network_of_a_polarisation(settings, precision):
    dtype, tolerance = precision, 1e-5 if precision is np.float32 else 1e-12
    config = dataclasses.replace(SMALL, form="polarisation", cutoff=4.0, **settings)
    params, structures = random_params(config, dtype), crystals()
    atoms = sum(map(len, structures))
    graph = dense_batch(structures, config.cutoff, dtype).graph
    model = make_network(dataclasses.replace(config, kernel="reference"))
    given = [
        np.asarray(part)[:atoms]
        for part in (
            *_tensors_and_dipoles(model, params, graph),
            model.apply(params, graph, method="charges"),
        )
    ]
    tape = write_tape(config, params, dtype)
    joined = structures_of([Sample(build_graph(one, config.cutoff), None) for one in structures])
    tensors, dipoles = run_polarisation(tape, joined)
    tensors = tensors + given[2][:, None, None] * np.eye(3)
    for found, expected in zip((tensors, dipoles), given, strict=False):
        np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max())
    forwards, alone = run_polarisation(tape, joined, tensors=False)
    assert forwards is None
    np.testing.assert_array_equal(alone, dipoles)


@functools.partial(jax.jit, static_argnums=0)
def _tensors_and_dipoles(model, params, graph):
    return model.apply(params, graph, method="tensors_and_dipoles")


def test_nothing_is_kept_of_a_large_structure_and_its_tensors_are_those_of_its_cell(float64):
    config = dataclasses.replace(
        SMALL, form="polarisation", cutoff=5.0, interactions=3, **(EVERYTHING | {"dielectric": False})
    )
    tape, cell = write_tape(config, random_params(config, np.float64), np.float64), crystals()[0]
    repeat = (5, 9, 10)
    found, expected = (
        run_polarisation(tape, structures_of([Sample(build_graph(atoms, config.cutoff), None)]))
        for atoms in (cell * repeat, cell)
    )
    for large, small in zip(found, expected, strict=True):
        each = large.reshape(np.prod(repeat), *small.shape)
        np.testing.assert_allclose(each, np.broadcast_to(small, each.shape), atol=1e-11 * np.abs(small).max())


@pytest.mark.parametrize("settings", SETTINGS, ids=settings_name)
def test_the_shapes_are_those_of_flax(settings):
    config = dataclasses.replace(SMALL, **settings)
    batch = dense_batch([Atoms("H")])
    expected = jax.eval_shape(Equivar(config).init, jax.random.key(0), batch.graph)
    assert weight_shapes(config) == {"params": jax.tree.map(lambda leaf: leaf.shape, expected["params"])}


FORMS = {"direct": run, "polarisation": run_polarisation}


@pytest.mark.parametrize("form", FORMS)
def test_a_structure_has_the_same_tensors_in_any_company(form):
    config = ModelConfig(channels=16, interactions=3, mean_neighbours=9.0, form=form)
    tape, structures, compute = write_tape(config, random_params(config)), crystals(), FORMS[form]
    samples = [Sample(build_graph(atoms, config.cutoff), None) for atoms in structures]
    # Many, so that several threads share them, and several parts backwards.
    together = compute(tape, structures_of(samples * 100))[0]
    apart = np.concatenate([compute(tape, structures_of([sample]))[0] for sample in samples] * 100)
    np.testing.assert_array_equal(together, apart)


@pytest.mark.parametrize(("form", "passes"), [("direct", 1), ("polarisation", 4)])
def test_a_network_is_watched_and_stopped(form, passes):
    config = dataclasses.replace(SMALL, form=form)
    tape, compute = write_tape(config, random_params(config)), FORMS[form]
    structures = structures_of([Sample(build_graph(crystals()[0], SMALL.cutoff), None)])
    watch = Watch()
    compute(tape, structures, watch=watch)
    assert watch.done == passes * SMALL.interactions * len(structures.species)
    stopped = Watch(stop=1)
    compute(tape, structures, watch=stopped)
    assert stopped.done == 0


def test_a_network_without_its_mean_number_of_neighbours_is_refused():
    config = dataclasses.replace(SMALL, mean_neighbours=None)
    with pytest.raises(ValueError, match="mean_neighbours is not set"):
        write_tape(config, random_params(SMALL))
