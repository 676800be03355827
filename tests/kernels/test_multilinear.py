"""Derivatives of every order and mode, and batches, of every kernel."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.examples import slow

from equivar_jax.kernels import HIDDEN, Neighbours, native, neighbour_sum, plan_products
from equivar_jax.kernels.multilinear import MISSING, ONE, derivative
from equivar_jax.kernels.neighbour_form import NeighbourSpace, Slot
from equivar_jax.kernels.sums import neighbour_sum_at_rest

TABLE, CHANNELS = 7, 8
COUNTS = np.array([3, 0, 6, 1, 2], np.int32)
EDGES = COUNTS.sum() + 3
PLAN = plan_products(HIDDEN, HIDDEN)
KERNELS = ["native", slow("chunked")]
pytestmark = pytest.mark.usefixtures("float64")


@functools.cache
def operands():
    """Features, radial part, harmonics, and directions to move each; the edges of every node."""
    rng = np.random.default_rng(0)
    first = (np.cumsum(COUNTS) - COUNTS).astype(np.int32)
    place = np.arange(COUNTS.max())
    slots = np.where(place < COUNTS[:, None], first[:, None] + place, EDGES).astype(np.int32)
    senders = rng.integers(0, TABLE, EDGES).astype(np.int32)
    shapes = (TABLE, 12, CHANNELS), (EDGES, 3, CHANNELS), (EDGES, 9)
    arrays, directions = (tuple(jnp.asarray(rng.normal(size=shape)) for shape in shapes) for _ in range(2))
    return arrays, directions, Neighbours(*map(jnp.asarray, (senders, first, COUNTS, slots)))


def sums(kernel, *arrays):
    return neighbour_sum(*arrays, operands()[2], PLAN, kernel)


def number(kernel, *arrays):
    """A number that is not linear in the sums."""
    found = sums(kernel, *arrays)
    return jnp.sum(jnp.sin(0.3 * found) * jnp.cos(jnp.arange(found.size).reshape(found.shape)))


def gradient(kernel, *arrays):
    return jax.grad(functools.partial(number, kernel), (0, 1, 2))(*arrays)


def along(kernel, function, *arrays):
    """The gradient of `function` along fixed directions, which is a function of one order more."""

    def slope(*arrays):
        parts = zip(function(kernel, *arrays), operands()[1], strict=True)
        return sum(jnp.vdot(part, direction) for part, direction in parts)

    return jax.grad(slope, (0, 1, 2))(*arrays)


def second(kernel, *arrays):
    return along(kernel, gradient, *arrays)


def third(kernel, *arrays):
    return along(kernel, second, *arrays)


def forwards(kernel, *arrays):
    return jax.jvp(functools.partial(sums, kernel), arrays, operands()[1])


def forwards_twice(kernel, *arrays):
    step = functools.partial(forwards, kernel)
    return jax.jvp(lambda *moved: step(*moved)[1], arrays, operands()[1])


def forwards_over_reverse(kernel, *arrays):
    return jax.jvp(functools.partial(gradient, kernel), arrays, operands()[1])


def rows(kernel, *arrays):
    """Three cotangents in one pass, and the gradient of a function of what they give."""

    def of_all(*arrays):
        found, pullback = jax.vjp(functools.partial(sums, kernel), *arrays)
        cotangents = jnp.stack([jnp.cos(k + jnp.arange(found.size)).reshape(found.shape) for k in range(3)])
        return sum(jnp.sum(jnp.sin(bar)) for bar in jax.vmap(pullback)(cotangents))

    return jax.grad(of_all, (0, 1, 2))(*arrays)


def hessian(kernel, features, radial, harmonics):
    few = harmonics[:2]  # edges

    def of_few(few):
        return number(kernel, features, radial, jnp.concatenate([few, harmonics[2:]]))

    return jax.hessian(of_few)(few), jax.jacfwd(jax.grad(of_few))(few)


def batch_of_batches(kernel, features, radial, harmonics):
    several, other = jnp.stack([features, 2 * features, features**2]), jnp.stack([radial, radial**2])

    def all_pairs(several, other):
        by_radial = jax.grad(functools.partial(number, kernel), 1)
        inner = jax.vmap(by_radial, (0, None, None))
        return jax.vmap(inner, (None, 0, None))(several, other, harmonics)

    return all_pairs(several, other), jax.grad(lambda x: jnp.sum(jnp.sin(all_pairs(x, other))))(several)


TRANSFORMED = (gradient, second, forwards, forwards_twice, forwards_over_reverse, rows, batch_of_batches)


@functools.cache
def expected(function):
    return jax.jit(functools.partial(function, "reference"))(*operands()[0])


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("function", [*TRANSFORMED, slow(third), slow(hessian)])
def test_every_transformation_equals_that_of_the_plain_formula(function, kernel):
    found = jax.jit(functools.partial(function, kernel))(*operands()[0])
    for own, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected(function)), strict=True):
        np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def test_third_derivatives_equal_finite_differences():
    arrays, directions, _ = operands()
    step = 1e-4
    ahead, behind = (
        second("native", *(a + side * step * d for a, d in zip(arrays, directions, strict=True)))
        for side in (1, -1)
    )
    found = third("native", *arrays)
    # The third derivative along the directions is the derivative of the second along them.
    for plus, minus, wanted in zip(ahead, behind, found, strict=True):
        slope = (plus - minus) / (2 * step)
        np.testing.assert_allclose(slope, wanted, rtol=0, atol=1e-7 * np.abs(wanted).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_stretch_of_zero_has_the_derivatives_of_the_formula(kernel):
    (features, radial, harmonics), (_, slope, turn), neighbours = operands()
    rest, stretch = jnp.zeros(EDGES), jnp.cos(jnp.arange(EDGES))

    def formula(features, radial, slope, stretch, harmonics):
        moved = radial + stretch[:, None, None] * slope
        return neighbour_sum(features, moved, harmonics, neighbours, PLAN, "reference")

    def at_rest(*arrays):
        return neighbour_sum_at_rest(*arrays, neighbours, PLAN, kernel)

    def of_rows(function, features, radial, slope, harmonics):
        found, pullback = jax.vjp(lambda s, y: function(features, radial, slope, s, y), rest, harmonics)
        by_stretch, by_harmonics = jax.vmap(pullback)(jnp.stack([found, jnp.sin(found)]))
        return jnp.sum(jnp.sin(by_stretch)) + jnp.sum(jnp.sin(by_harmonics)), found

    arrays = (features, radial, slope, harmonics)
    both = [
        jax.value_and_grad(functools.partial(of_rows, function), (0, 1, 2, 3), has_aux=True)(*arrays)
        for function in (at_rest, formula)
    ]
    both_forwards = [
        jax.jvp(lambda s, y, f=f: f(*arrays[:3], s, y), (rest, arrays[3]), (stretch, turn))
        for f in (at_rest, formula)
    ]
    for one, other in (both, both_forwards):
        for own, wanted in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            np.testing.assert_allclose(own, wanted, rtol=0, atol=1e-12 * np.abs(wanted).max())


def test_an_operand_of_the_wrong_shape_is_refused():
    (features, radial, harmonics), _, neighbours = operands()
    space = NeighbourSpace(PLAN, TABLE, len(COUNTS), int(EDGES), CHANNELS, features.dtype, native.evaluate)
    arrays = (features, radial, harmonics[1:])
    compute = functools.partial(derivative, space, Slot.SUMS, [(0, 1, ONE, 2, MISSING)], neighbours)
    with pytest.raises(ValueError, match=r"operand in slot 3 is float64\[14, 9\], not float64\[15, 9\]"):
        jax.eval_shape(compute, arrays)
    with pytest.raises(jax.errors.JaxRuntimeError, match="size of an operand"):
        compute(arrays)
