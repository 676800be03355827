"""Spherical harmonics are those of e3nn-jax, with their derivatives."""

import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equivar_jax.network.harmonics import spherical_harmonics

ROUNDING = {np.float32: 1e-6, np.float64: 2e-15}


def by_e3nn(vectors):
    return e3nn.spherical_harmonics(
        "0e + 1o + 2e", vectors, True, "component", algorithm=("recursive", "sparse", "custom_jvp")
    ).array


def directions():
    """In all directions, of lengths from 0.01 to 30, then along the axes, and one of length zero."""
    random = np.random.default_rng(3).normal(size=(40, 3)) * np.geomspace(1e-2, 30, 40)[:, None]
    return np.concatenate([random, 2.5 * np.eye(3), -2.5 * np.eye(3), np.zeros((1, 3))])


def with_derivatives(function, vectors):
    """Values, first and second derivatives, times the length to the power of the order."""

    @jax.jit
    @jax.vmap
    def compute(vector):
        return function(vector), jax.jacrev(function)(vector), jax.jacfwd(jax.jacrev(function))(vector)

    lengths = np.linalg.norm(vectors, axis=1)
    lengths[-1] = 1.0
    orders = compute(vectors)
    return [np.einsum("i...,i->i...", of, lengths**order) for order, of in enumerate(orders)]


@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_values_and_derivatives_are_those_of_e3nn(precision):
    with jax.enable_x64(precision is np.float64):
        vectors = jnp.asarray(directions(), precision)
        assert spherical_harmonics(vectors).dtype == precision
        ours, theirs = (with_derivatives(function, vectors) for function in (spherical_harmonics, by_e3nn))
    for order, scale in enumerate([4, 20, 100]):
        np.testing.assert_allclose(
            ours[order][:-1], theirs[order][:-1], rtol=0, atol=scale * ROUNDING[precision]
        )
    # Without a direction: values and slope are e3nn's, too, and the curvature is at least finite.
    np.testing.assert_array_equal(ours[0][-1], [1, *[0] * 8])
    np.testing.assert_array_equal(theirs[0][-1], ours[0][-1])
    np.testing.assert_allclose(ours[1][-1], theirs[1][-1], rtol=0, atol=4 * ROUNDING[precision])
    assert np.isfinite(ours[2]).all()


def test_squares_of_a_degree_sum_to_its_number_of_components(float64):
    squares = np.asarray(spherical_harmonics(jnp.asarray(directions()[:-1]))) ** 2
    for degree in range(3):
        parts = squares[:, degree**2 : (degree + 1) ** 2]
        np.testing.assert_allclose(parts.sum(axis=1), 2 * degree + 1, rtol=1e-14)
