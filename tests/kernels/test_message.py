import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.examples import slow

from equivar_jax.kernels import (
    HIDDEN,
    EdgeFeatures,
    MessageWeights,
    Neighbours,
    message,
    native,
    neighbour_sum,
    plan_products,
    radial_part,
)

NODES, EDGES, FUNCTIONS = 37, 200, 8  # two and a bit of the blocks in which the native kernel works
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-12}
PLANS = {
    "first": (HIDDEN[:1], HIDDEN),
    "second": (HIDDEN[:2] + HIDDEN[3:], HIDDEN),
    "middle": (HIDDEN, HIDDEN),
    "last": (HIDDEN, (HIDDEN[0], HIDDEN[2], HIDDEN[3])),
}
LAYERS = ["first", slow("second"), "middle", "last"]


def operands(plan, channels, dtype, envelope=True, seed=0):
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 9, NODES).astype(np.int32)
    counts[[0, 15, 16, -1]] = 0
    first = np.cumsum(counts, dtype=np.int32) - counts
    place = np.arange(8)
    slots = np.where(place < counts[:, None], first[:, None] + place, EDGES).astype(np.int32)
    senders = rng.integers(0, NODES, EDGES).astype(np.int32)

    def normal(*shape):
        return jnp.asarray(rng.normal(size=shape), dtype)

    edges = EdgeFeatures(
        normal(EDGES, FUNCTIONS),
        normal(EDGES, 9),
        normal(EDGES) if envelope else None,
        Neighbours(*map(jnp.asarray, (senders, first, counts, slots))),
    )
    mixing = tuple(normal(len(plan.products_to(out)) * channels, channels) for out in plan.outputs)
    weights = MessageWeights(normal(FUNCTIONS, 3 * channels), normal(channels), mixing)
    return normal(NODES, plan.input_components, channels), edges, weights


def close(actual, wanted, dtype):
    scale = max(float(jnp.abs(wanted).max()), 1e-30)
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=TOLERANCE[dtype] * scale)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("channels", [16, slow(32), slow(64), 80])
@pytest.mark.parametrize("envelope", [False, True])
def test_the_fused_message_equals_the_one_in_steps(layer, channels, envelope, precision):
    plan = plan_products(*PLANS[layer])
    given = operands(plan, channels, precision, envelope)
    fused, in_steps = (message(*given, plan, kernel) for kernel in ("native", "reference"))
    assert fused.dtype == precision
    close(fused, in_steps, precision)


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_of_the_fused_message_equal_those_of_the_steps(layer, precision):
    plan = plan_products(*PLANS[layer])
    features, edges, weights = operands(plan, 16, precision)

    def gradients(kernel):
        def total(features, floats, weights):
            given = EdgeFeatures(*floats, edges.neighbours)
            return jnp.sum(message(features, given, weights, plan, kernel) ** 2)

        return jax.jit(jax.grad(total, (0, 1, 2)))(features, tuple(edges[:3]), weights)

    jax.tree.map(lambda a, b: close(a, b, precision), gradients("native"), gradients("reference"))


def test_gradients_of_weights_alone_are_the_same(precision):
    plan = plan_products(HIDDEN, HIDDEN)
    features, edges, weights = operands(plan, 16, precision)

    def gradient(kernel):
        return jax.jit(jax.grad(lambda w: jnp.sum(message(features, edges, w, plan, kernel) ** 2)))(weights)

    jax.tree.map(lambda a, b: close(a, b, precision), gradient("native"), gradient("reference"))


def test_vmap_equals_a_loop(precision):
    plan = plan_products(HIDDEN, HIDDEN)
    features, edges, weights = operands(plan, 16, precision)
    stacked = jnp.stack([features, 2 * features])
    together = jax.vmap(lambda x: message(x, edges, weights, plan, "native"))(stacked)
    for one, other in zip(together, (features, 2 * features), strict=True):
        close(one, message(other, edges, weights, plan, "native"), precision)


def test_the_message_is_what_its_parts_say(precision):
    plan = plan_products(HIDDEN, HIDDEN)
    features, edges, weights = operands(plan, 16, precision)
    sums = neighbour_sum(features, radial_part(edges, weights), edges.harmonics, edges.neighbours, plan)
    found = message(features, edges, weights, plan, "native")
    start = 0
    for out, matrix in zip(plan.outputs, weights.mixing, strict=True):
        expected = sum(
            jnp.einsum("nmc,cd->nmd", sums[:, p.out], matrix[16 * k : 16 * (k + 1)], precision="highest")
            for k, p in enumerate(plan.products_to(out))
        )
        close(found[:, start : start + out.dim], expected, precision)
        start += out.dim
    assert start == found.shape[1]


@pytest.mark.parametrize("argument", [-120.0, -88.0, -20.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 20.0, 88.0, 200.0])
def test_the_softplus_is_exact_far_out_and_near_zero(argument, precision):
    """A single edge whose scalar radial part is the argument, and unit everything else."""
    plan = plan_products(HIDDEN[:1], HIDDEN[:1])
    edges = EdgeFeatures(
        jnp.ones((1, 1), precision),
        jnp.ones((1, 9), precision),
        None,
        Neighbours(*(jnp.asarray(a, jnp.int32) for a in ([0], [0], [1], [[0]]))),
    )
    weights = MessageWeights(
        jnp.full((1, 48), argument, precision), jnp.zeros(16, precision), (jnp.eye(16, dtype=precision),)
    )
    features = jnp.ones((1, 1, 16), precision)
    fused, plain = (message(features, edges, weights, plan, kernel) for kernel in ("native", "reference"))
    np.testing.assert_allclose(fused, plain, rtol=1e-6 if precision == np.float32 else 1e-14, atol=3e-7)


def test_what_is_not_finite_stays_visible():
    plan = plan_products(HIDDEN, HIDDEN)
    features, edges, weights = operands(plan, 16, np.float32)
    node = int(np.argmax(edges.neighbours.counts))
    edge = int(edges.neighbours.first[node])
    broken = edges._replace(basis=edges.basis.at[edge, 0].set(jnp.nan))
    found = message(features, broken, weights, plan, "native")
    assert jnp.isnan(found[node]).any()
    assert jnp.isfinite(jnp.delete(found, node, axis=0)).all()


def test_without_a_compiler_the_xla_kernel_runs_and_native_says_why(monkeypatch):
    plan = plan_products(HIDDEN, HIDDEN)
    given = operands(plan, 16, np.float32)
    expected = message(*given, plan, "native")
    monkeypatch.setattr(native, "reason_unavailable", lambda: "no C++ compiler")
    close(message(*given, plan), expected, np.float32)
    with pytest.raises(RuntimeError, match="kernel native: no C\\+\\+ compiler; use kernel auto or chunked"):
        message(*given, plan, "native")
