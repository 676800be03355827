"""Fixtures that many modules share."""

import contextlib
import dataclasses
import functools

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal

from equivar_jax.batch import Budget, Sample, collate
from equivar_jax.config import ModelConfig
from equivar_jax.graph import build_graph, neighbour_counts
from equivar_jax.model import Equivar, born_effective_charges

SMALL = ModelConfig(channels=4, interactions=3, mean_neighbours=9.0)


@pytest.fixture
def small_config():
    """A network of every kind of path, small enough to compile in a second."""
    return SMALL


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    """The dtype, with JAX set to it."""
    with jax.enable_x64(True) if request.param == "float64" else contextlib.nullcontext():
        yield np.dtype(request.param).type


@pytest.fixture
def float64():
    """JAX in double precision."""
    with jax.enable_x64(True):
        yield np.float64


@pytest.fixture
def calcium_titanate():
    """A low-symmetry 20-atom perovskite, thermally displaced."""
    atoms = crystal(
        ["Ca", "Ti", "O", "O"],
        [(0.036, 0.25, 0.993), (0, 0, 0.5), (0.484, 0.25, 0.071), (0.289, 0.037, 0.711)],
        spacegroup=62,
        cellpar=[5.44, 7.64, 5.38, 90, 90, 90],
    )
    atoms.info.clear()
    atoms.rattle(0.08, seed=1)
    return atoms


def dense_batch(structures, cutoff=3.0, dtype=np.float32, nodes=None, neighbours=None):
    """All structures in one batch, just large enough or of a given shape."""
    samples = [Sample(build_graph(atoms, cutoff), None) for atoms in structures]
    most = max(int(neighbour_counts(sample.graph).max(initial=1)) for sample in samples)
    budget = Budget(nodes or sum(map(len, structures)) + 1, neighbours or max(most, 1), len(samples) + 1)
    return collate(samples, budget, dtype)


@functools.cache
def random_params(config: ModelConfig, dtype=np.float32, seed=0):
    """Weights with non-zero biases, so that nothing vanishes by accident."""
    batch = dense_batch([Atoms("H")], dtype=dtype)
    model = Equivar(dataclasses.replace(config, kernel="reference"))
    params = jax.jit(model.init)(jax.random.key(seed), batch.graph)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    leaves = [leaf + 0.1 * rng.normal(size=leaf.shape) for leaf in leaves]
    return jax.tree.unflatten(tree, [jax.numpy.asarray(leaf, dtype) for leaf in leaves])


def predict(config, params, atoms, dtype=np.float32, **shape):
    """Tensors of one structure after the sum rule, without padding."""
    batch = dense_batch([atoms], config.cutoff, dtype, **shape)
    return np.asarray(_tensors(Equivar(config), params, batch.graph))[: len(atoms)]


_tensors = jax.jit(born_effective_charges, static_argnums=0)
