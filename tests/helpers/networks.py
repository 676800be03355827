"""Small networks with random weights, and what they give for a structure."""

import dataclasses
import functools

import jax
import numpy as np

from equivar_jax.config import ModelConfig
from equivar_jax.graphs import Budget, Sample, build_graph, collate, neighbour_counts
from equivar_jax.network import born_effective_charges
from equivar_jax.network.forms import make_network

SMALL = ModelConfig(channels=16, interactions=2, mean_neighbours=9.0)
DEEP = dataclasses.replace(SMALL, interactions=3)
"""With a layer of each kind: from scalars, from everything, to what is read out."""


def dense_batch(structures, cutoff=3.0, dtype=np.float32, nodes=None, neighbours=None, edges=None):
    """All structures in one batch, just large enough or of a given shape."""
    samples = [Sample(build_graph(atoms, cutoff), None) for atoms in structures]
    most = max(int(neighbour_counts(sample.graph).max(initial=1)) for sample in samples)
    nodes = nodes or sum(map(len, structures)) + 1
    edges = edges or sum(len(sample.graph.senders) for sample in samples) + 3
    budget = Budget(nodes, edges, neighbours or max(most, 1), len(samples) + 1)
    return collate(samples, budget, dtype)


@functools.cache
def random_params(config: ModelConfig, dtype=np.float32, seed=0):
    """Weights with non-zero biases, so that nothing vanishes by accident."""
    model = make_network(config)
    params = {"params": model.init(jax.random.key(seed), method="make_weights")["params"]}
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    leaves = [leaf + 0.1 * rng.normal(size=leaf.shape) for leaf in leaves]
    return jax.tree.unflatten(tree, [jax.numpy.asarray(leaf, dtype) for leaf in leaves])


def predict(config, params, atoms, dtype=np.float32, **shape):
    """Tensors of one structure after the sum rule, without padding."""
    batch = dense_batch([atoms], config.cutoff, dtype, **shape)
    return np.asarray(_tensors(make_network(config), params, batch.graph))[: len(atoms)]


_tensors = jax.jit(born_effective_charges, static_argnums=0)
