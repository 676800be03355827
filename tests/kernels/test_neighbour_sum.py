import jax
import jax.numpy as jnp
import numpy as np
import pytest

from equivar_jax.kernels import HIDDEN, chunked, neighbour_sum, plan_products

NODES, NEIGHBOURS, CHANNELS = 13, 5, 3
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}


@pytest.fixture
def operands(precision):
    """Random operands, with empty slots."""
    rng = np.random.default_rng(0)
    radial = rng.normal(size=(NODES, NEIGHBOURS, 3, CHANNELS)) * (rng.random((NODES, NEIGHBOURS, 1, 1)) < 0.7)
    senders = rng.integers(0, NODES, (NODES, NEIGHBOURS)).astype(np.int32)
    features = rng.normal(size=(NODES, 12, CHANNELS))
    harmonics = rng.normal(size=(NODES, 9, NEIGHBOURS))
    return *(jnp.asarray(array, precision) for array in (features, radial, harmonics)), jnp.asarray(senders)


PLANS = {
    "first": (HIDDEN[:1], HIDDEN),
    "second": (HIDDEN[:2] + HIDDEN[3:], HIDDEN),
    "middle": (HIDDEN, HIDDEN),
    "last": (HIDDEN, (HIDDEN[0], HIDDEN[2], HIDDEN[3])),
}


@pytest.mark.parametrize("layer", PLANS)
@pytest.mark.parametrize("chunks", [1, 4])
def test_chunked_equals_reference_in_values_and_gradients(layer, chunks, operands, precision, monkeypatch):
    plan = plan_products(*PLANS[layer])
    features, *edge, senders = operands
    features = features[:, : plan.input_components]
    monkeypatch.setattr(chunked, "_nodes_per_chunk", lambda *_: -(-NODES // chunks))
    weights = jax.random.normal(jax.random.key(0), (NODES, plan.output_components, CHANNELS), precision)

    def weighted(kernel):
        def total(features, radial, harmonics):
            sums = neighbour_sum(features, radial, harmonics, senders, plan, kernel)
            assert sums.shape == weights.shape
            return jnp.sum(sums * weights), sums

        return jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(features, *edge)

    (_, sums), gradients = weighted("chunked")
    (_, expected), expected_gradients = weighted("reference")
    for actual, wanted in zip((sums, *gradients), (expected, *expected_gradients), strict=True):
        assert actual.dtype == precision
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=TOLERANCE[precision] * jnp.abs(wanted).max())


def test_vmap_over_structures_equals_a_loop(operands):
    features, radial, harmonics, senders = operands
    plan = plan_products(HIDDEN, HIDDEN)
    stacked = jnp.stack([features, 2 * features])
    together = jax.vmap(lambda x: neighbour_sum(x, radial, harmonics, senders, plan))(stacked)
    alone = neighbour_sum(features, radial, harmonics, senders, plan)
    np.testing.assert_allclose(together, jnp.stack([alone, 2 * alone]), rtol=1e-4, atol=1e-5)


def test_chunks_cover_all_nodes_and_fit_the_cache(operands):
    features, *_, senders = operands
    assert chunked._nodes_per_chunk(features, senders) == NODES  # small: one chunk
    many = jnp.zeros((10_000, NEIGHBOURS), jnp.int32)
    size = chunked._nodes_per_chunk(jnp.zeros((10_000, 12, 64), jnp.float32), many)
    assert size * NEIGHBOURS * chunked.COPIES_PER_EDGE * 12 * 64 * 4 <= chunked.CHUNK_BYTES["cpu"]
    pieces = chunked._split(many, size)
    assert pieces.shape[1] == size
    assert chunked._join(pieces, 10_000).shape == many.shape
