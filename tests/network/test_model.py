import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.examples import slow
from helpers.networks import DEEP, SMALL, dense_batch, predict, random_params

from benchmarks.common.plain_network import equivar
from equivar_jax.config.files import load_config
from equivar_jax.graphs.batch import graph_of
from equivar_jax.kernels import PATHS, shifted_softplus
from equivar_jax.network.initial_weights import scale_to_unit_variance
from equivar_jax.network.model import (
    Equivar,
    born_effective_charges,
    count_parameters,
    displace,
)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("bm1", 510_081), ("bm2", 139_905), ("bm3", 449_921), ("bm3_deep", 269_225)],  # the first two published
)
def test_parameter_counts(name, parameters):
    config = dataclasses.replace(load_config(name).model, mean_neighbours=10.0)
    batch = dense_batch([Atoms("H")])
    params = jax.eval_shape(Equivar(config).init, jax.random.key(0), batch.graph)
    assert count_parameters(params) == parameters


@functools.partial(jax.jit, static_argnums=5)
def plain_value_and_gradients(params, vectors, weights, mask, graph, config):
    """Of the plain network: a weighted sum of the tensors, and its derivatives by weights and vectors."""

    def total(params, vectors):
        species = graph.nodes["species"]
        tensors = equivar(params, species, vectors, mask, graph.senders, graph.receivers, config)
        return jnp.sum(weights * tensors)

    return jax.value_and_grad(total, (0, 1))(params, vectors)


@pytest.mark.parametrize(
    ("kernel", "envelope"),
    [("native", False), slow("native", True), slow("chunked", True), slow("reference", False)],
)
def test_values_and_gradients_equal_plain_e3nn(calcium_titanate, float64, kernel, envelope):
    config = dataclasses.replace(DEEP, kernel=kernel, envelope=envelope)
    batch = dense_batch([calcium_titanate], dtype=float64, nodes=23, neighbours=20)
    graph = jax.tree.map(jnp.asarray, batch.graph)
    params = random_params(config, float64)
    weights = jax.random.normal(jax.random.key(1), (len(batch.node_mask), 3, 3))

    def ours(params, vectors):
        edges = {**graph.edges, "vectors": vectors}
        return jnp.sum(weights * Equivar(config).apply(params, graph._replace(edges=edges)))

    mask = batch.node_mask[batch.graph.receivers]
    arguments = (params, graph.edges["vectors"])
    value, gradients = jax.jit(jax.value_and_grad(ours, (0, 1)))(*arguments)
    plain = dataclasses.replace(config, kernel="auto")  # one compilation for all kernels
    expected, expected_gradients = plain_value_and_gradients(*arguments, weights, mask, graph, plain)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    scale = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected_gradients))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-11 * scale),
        gradients,
        expected_gradients,
    )


def test_full_size_network_equals_plain_e3nn_in_float32(calcium_titanate):
    config = dataclasses.replace(load_config("bm2").model, mean_neighbours=10.0)
    batch = dense_batch([calcium_titanate])
    params = random_params(config)
    tensors = jax.jit(Equivar(config).apply)(params, batch.graph)
    graph = batch.graph
    expected = jax.jit(equivar, static_argnums=6)(
        params,
        graph.nodes["species"],
        graph.edges["vectors"],
        batch.node_mask[graph.receivers],
        graph.senders,
        graph.receivers,
        config,
    )
    np.testing.assert_allclose(tensors, expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_first_layer_uses_three_blocks_as_published(calcium_titanate, small_config):
    small_config = dataclasses.replace(small_config, kernel="reference", interactions=2)
    params = random_params(small_config)
    batch = dense_batch([calcium_titanate])

    def total(params):
        return jnp.sum(Equivar(small_config).apply(params, batch.graph) ** 2)

    gradient = jax.jit(jax.grad(total))(params)["params"]["interaction_0"]["path_weights"]
    live = np.flatnonzero(np.abs(gradient).sum(axis=(1, 2)))
    assert live.tolist() == [0, 6, 11]
    assert gradient.shape[0] == len(PATHS) == 15


@pytest.mark.slow  # a network of full size
@pytest.mark.parametrize("seed", [0, slow(1)])
def test_features_keep_unit_variance_through_the_layers(calcium_titanate, seed):
    config = dataclasses.replace(load_config("bm1").model, mean_neighbours=10.35, kernel="reference")
    batch = dense_batch([calcium_titanate])
    model = Equivar(config)
    params = scale_to_unit_variance(
        model, jax.jit(model.init)(jax.random.key(seed), batch.graph), batch.graph
    )
    capture = {"capture_intermediates": True, "mutable": "intermediates"}
    _, captured = jax.jit(lambda p: model.apply(p, batch.graph, **capture))(params)
    means = {}
    for layer in range(config.interactions):
        features = captured["intermediates"][f"interaction_{layer}"]["__call__"][0]
        for ir in features.irreps:
            means[layer, str(ir)] = float(jnp.mean(features.part(ir)[:20] ** 2))
    assert len(means) == 3 + 4 * 4 + 3  # 1e appears in the second layer, 1o is not needed after the last
    # A message has unit variance exactly; added to features it may be correlated with them.
    assert all(0.6 < mean < 1.6 for mean in means.values()), means


def test_what_vanishes_by_symmetry_is_not_enlarged():
    """In ideal rock salt every vector and quadrupole is zero but for rounding."""
    config = dataclasses.replace(SMALL, mean_neighbours=12.0)
    graph = graph_of(bulk("MgO", "rocksalt", a=4.21, cubic=True), config.cutoff)
    model = Equivar(config)
    params = scale_to_unit_variance(model, jax.jit(model.init)(jax.random.key(0), graph), graph)
    for layer in range(config.interactions):
        assert jnp.abs(params["params"][f"interaction_{layer}"]["linear_weight"]).max() < 20.0


def test_activation_has_unit_second_moment():
    x = jax.random.normal(jax.random.key(0), (200_000,))
    assert float(jnp.mean(shifted_softplus(x) ** 2)) == pytest.approx(1.0, abs=0.02)
    assert float(shifted_softplus(jnp.zeros(()))) == pytest.approx(0.0, abs=1e-6)


def test_gradients_are_finite_everywhere(calcium_titanate, small_config):
    lonely = Atoms("O", positions=[[0, 0, 0]])
    batch = dense_batch([calcium_titanate, lonely], nodes=27, neighbours=20)
    params = random_params(small_config)
    vectors = jnp.asarray(batch.graph.edges["vectors"]).at[-1].set(0.0)  # even a padding edge of no length

    def total(params, displacements, vectors):
        graph = batch.graph._replace(edges={**batch.graph.edges, "vectors": vectors})
        tensors = born_effective_charges(Equivar(small_config), params, displace(graph, displacements))
        return jnp.sum(tensors**3)

    displacements = jnp.zeros((len(batch.node_mask), 3))
    gradients = jax.jit(jax.grad(total, (0, 1, 2)))(params, displacements, vectors)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))
    by_position = gradients[1]
    assert float(jnp.abs(by_position[:20]).max()) > 0
    assert float(jnp.abs(by_position[20:]).max()) == 0  # the lonely atom and the padding


def test_envelope_makes_the_tensors_continuous_at_the_cutoff(small_config, float64):
    def jump(config):
        params = random_params(config, float64)
        distances = (config.cutoff - 1e-7, config.cutoff + 1e-7)
        pairs = [Atoms("HO", positions=[[0, 0, 0], [0, 0, z]]) for z in distances]
        inside, outside = (predict(config, params, pair, float64) for pair in pairs)
        return float(np.abs(inside - outside).max())

    assert jump(dataclasses.replace(small_config, envelope=True)) < 1e-6
    assert jump(small_config) > 1e-2


def test_displace_moves_the_atoms(calcium_titanate, small_config, float64):
    shift = np.random.default_rng(0).normal(scale=1e-3, size=(20, 3))
    moved = calcium_titanate.copy()
    moved.positions += shift
    here, there = (dense_batch([atoms], dtype=float64) for atoms in (calcium_titanate, moved))
    graph = displace(jax.tree.map(jnp.asarray, here.graph), jnp.pad(shift, ((0, 1), (0, 0))))
    np.testing.assert_allclose(graph.edges["vectors"], there.graph.edges["vectors"], atol=1e-12)


def test_a_batch_without_slots_and_missing_statistics_are_refused(calcium_titanate, small_config):
    graph = dense_batch([calcium_titanate]).graph
    bare = graph._replace(nodes={**graph.nodes, "slots": graph.nodes["slots"][:, :0]})
    with pytest.raises(ValueError, match="slots"):
        Equivar(dataclasses.replace(small_config, kernel="chunked")).init(jax.random.key(0), bare)
    with pytest.raises(ValueError, match="mean_neighbours"):
        Equivar(dataclasses.replace(small_config, mean_neighbours=None)).init(jax.random.key(0), graph)
