import dataclasses

import jax
import numpy as np
import pytest
from helpers.examples import slow
from helpers.networks import SMALL, random_params

from equivar_jax.graphs.batch import graph_of
from equivar_jax.graphs.graph import build_graph
from equivar_jax.network.model import Equivar
from equivar_jax.network.plan import live_irreps
from equivar_jax.prediction import layerwise
from equivar_jax.prediction.layerwise import tensors_layer_by_layer


# With a rest, without one, and in one piece; every shape of a piece compiles.
@pytest.mark.parametrize(("nodes_at_once", "kernel"), [slow(7, "chunked"), (20, "auto"), slow(64, "auto")])
def test_pieces_give_the_numbers_of_the_whole(calcium_titanate, kernel, nodes_at_once):
    config = dataclasses.replace(SMALL, kernel=kernel)
    model, params = Equivar(config), random_params(config)
    atoms = calcium_titanate.repeat((2, 1, 1))
    atoms.rattle(0.03, seed=2)
    whole = jax.jit(model.apply)(params, graph_of(atoms, config.cutoff))
    found = tensors_layer_by_layer(model, params, build_graph(atoms, config.cutoff), nodes_at_once)
    assert found.dtype == np.float64
    assert found.shape == (40, 3, 3)
    np.testing.assert_allclose(found, whole, atol=1e-5 * float(np.abs(whole).max()))


def test_pieces_of_one_size_compile_once_a_layer(calcium_titanate):
    model, params = Equivar(SMALL), random_params(SMALL)
    before = layerwise._interact._cache_size()
    for seed in (1, 2):
        atoms = calcium_titanate.repeat((2, 2, 1))
        atoms.rattle(0.001, seed=seed)
        tensors_layer_by_layer(model, params, build_graph(atoms, SMALL.cutoff), 16)
    # The number of edges of a piece may differ between the two.
    assert layerwise._interact._cache_size() - before <= 2 * SMALL.interactions


def test_double_precision_is_kept(calcium_titanate, float64):
    model, params = Equivar(SMALL), random_params(SMALL, float64)
    graph = build_graph(calcium_titanate, SMALL.cutoff)
    whole = jax.jit(model.apply)(params, graph_of(calcium_titanate, SMALL.cutoff, float64))
    found = tensors_layer_by_layer(model, params, graph, 12)
    np.testing.assert_allclose(found, whole, atol=1e-12)


def test_live_irreps_are_those_of_the_features(calcium_titanate):
    model, params = Equivar(SMALL), random_params(SMALL)
    graph = graph_of(calcium_titanate, SMALL.cutoff)
    capture = {"capture_intermediates": True, "mutable": "intermediates"}
    captured = model.apply(params, graph, **capture)[1]["intermediates"]
    for layer in range(SMALL.interactions):
        features = captured[f"interaction_{layer}"]["__call__"][0]
        assert features.irreps == live_irreps(SMALL, layer + 1)
