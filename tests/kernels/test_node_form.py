"""Products of the features of a node with themselves: C++ and XLA against the formula, with derivatives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equivar_jax.kernels import HIDDEN
from equivar_jax.kernels.node_form import Coefficients, products_of_nodes
from equivar_jax.network.plan import square_plan
from equivar_jax.network.squares import _coefficients

NODES, CHANNELS = 5, 8
pytestmark = pytest.mark.usefixtures("float64")
PLAN = square_plan(HIDDEN, HIDDEN)


@functools.cache
def operands():
    rng = np.random.default_rng(0)
    features = jnp.asarray(rng.normal(size=(NODES, 12, CHANNELS)))
    return features, jnp.asarray(rng.normal(size=(len(PLAN.outputs), CHANNELS)))


def formula(features, weights):
    """Every path by itself, as `SquarePlan` describes it."""
    sums, column = {}, 0
    for path, (out, dim) in enumerate(zip(PLAN.outputs, PLAN.dims, strict=True)):
        block = PLAN.coefficients[:, column : column + dim].reshape(12, 12, dim)
        column += dim
        made = jnp.einsum("njc,nkc,jkm->nmc", features, features, block) * weights[path]
        sums[out] = sums.get(out, 0.0) + made
    return jnp.concatenate([sums[out] for out in HIDDEN if out in sums], axis=1)


def products(kernel, features, weights):
    return products_of_nodes(features, weights, _coefficients(HIDDEN, HIDDEN), kernel)


def second(function, *arrays):
    """The gradient of a function of three rows of derivatives, which share one pass."""

    def of_rows(*arrays):
        found, pullback = jax.vjp(function, *arrays)
        bars = jax.vmap(pullback)(jnp.stack([jnp.sin(found), jnp.cos(found), found**2]))
        return sum(jnp.sum(jnp.sin(bar)) for bar in bars)

    return jax.grad(of_rows, (0, 1))(*arrays)


def forwards(function, *arrays):
    directions = tuple(map(jnp.cos, arrays))
    return jax.jvp(lambda *moved: jax.jvp(function, moved, directions)[1], arrays, directions)


def by_vmap(function, features, weights):
    several = jnp.stack([features, features**2])
    return jax.vmap(function, (0, None))(several, weights), jax.vmap(
        jax.vmap(function, (0, None)), (None, 0)
    )(several, jnp.stack([weights, 2 * weights, weights**3]))


@pytest.mark.parametrize("kernel", ["native", "chunked"])
@pytest.mark.parametrize(
    "transform", [lambda function, *arrays: function(*arrays), second, forwards, by_vmap]
)
def test_values_derivatives_and_batches_are_those_of_the_formula(kernel, transform):
    found = jax.jit(functools.partial(transform, functools.partial(products, kernel)))(*operands())
    expected = jax.jit(functools.partial(transform, formula))(*operands())
    for own, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def test_coefficients_are_equal_to_themselves_alone():
    """They are a constant of compiled programs, made once for each plan."""
    ours = _coefficients(HIDDEN, HIDDEN)
    assert ours is _coefficients(HIDDEN, HIDDEN)
    assert ours != Coefficients(ours.values, ours.rows, ours.sizes)


def test_two_runs_are_equal_to_the_last_bit():
    features, weights = operands()
    many = jnp.tile(features, (200, 1, 1))
    slope = jax.jit(jax.grad(lambda w: jnp.sum(products("native", many, w) ** 2)))
    np.testing.assert_array_equal(slope(weights), slope(weights))
