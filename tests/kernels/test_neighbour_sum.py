import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.examples import slow

from equivar_jax.kernels import HIDDEN, Neighbours, chunked, native, neighbour_sum, plan_products
from equivar_jax.kernels.neighbour_form import NeighbourSpace

NODES, EDGES, CHANNELS = 13, 60, 16
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}
KERNELS = ["native", "chunked"]


@functools.cache
def make_operands(precision):
    """Random operands: nodes with none to seven neighbours, and edges of no node at the end."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 8, NODES).astype(np.int32)
    first = np.cumsum(counts, dtype=np.int32) - counts
    assert counts.min() == 0
    assert counts.sum() < EDGES - 3
    place = np.arange(7)
    slots = np.where(place < counts[:, None], first[:, None] + place, EDGES).astype(np.int32)
    senders = rng.integers(0, NODES, EDGES).astype(np.int32)
    features = rng.normal(size=(NODES, 12, CHANNELS))
    radial, harmonics = rng.normal(size=(EDGES, 3, CHANNELS)), rng.normal(size=(EDGES, 9))
    floats = tuple(jnp.asarray(array, precision) for array in (features, radial, harmonics))
    return *floats, Neighbours(*map(jnp.asarray, (senders, first, counts, slots)))


@pytest.fixture
def operands(precision):
    return make_operands(precision)


PLANS = {
    "first": (HIDDEN[:1], HIDDEN),
    "second": (HIDDEN[:2] + HIDDEN[3:], HIDDEN),
    "middle": (HIDDEN, HIDDEN),
    "last": (HIDDEN, (HIDDEN[0], HIDDEN[2], HIDDEN[3])),
}
LAYERS = ["first", slow("second"), "middle", "last"]


def test_this_machine_has_a_compiler():
    assert native.reason_unavailable() is None


def values_and_gradients(layer, kernel, precision):
    """Sums, and the derivatives of a weighted sum of them by all operands."""
    plan = plan_products(*PLANS[layer])
    features, *edge, neighbours = make_operands(precision)
    weights = jax.random.normal(jax.random.key(0), (NODES, plan.output_components, CHANNELS), precision)

    def total(features, radial, harmonics):
        sums = neighbour_sum(features, radial, harmonics, neighbours, plan, kernel)
        assert sums.shape == weights.shape
        return jnp.sum(sums * weights), sums

    inputs = features[:, : plan.input_components], *edge
    return jax.jit(jax.value_and_grad(total, (0, 1, 2), has_aux=True))(*inputs)


@functools.cache
def reference_values_and_gradients(layer, precision):
    return values_and_gradients(layer, "reference", precision)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(("kernel", "chunks"), [("native", 1), slow("chunked", 1), ("chunked", 4)])
def test_fast_kernels_equal_the_reference_in_values_and_gradients(
    layer, kernel, chunks, operands, precision, monkeypatch
):
    monkeypatch.setattr(chunked, "_nodes_per_chunk", lambda *_: -(-NODES // chunks))
    (_, sums), gradients = values_and_gradients(layer, kernel, precision)
    (_, expected), expected_gradients = reference_values_and_gradients(layer, precision)
    for actual, wanted in zip((sums, *gradients), (expected, *expected_gradients), strict=True):
        assert actual.dtype == precision
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=TOLERANCE[precision] * jnp.abs(wanted).max())


@pytest.mark.slow  # a long compilation
@pytest.mark.parametrize("precision", ["float64"], indirect=True)  # single precision compiles as long
@pytest.mark.parametrize("graph", ["both directions", "one sender"])
def test_gradients_in_one_chunk_for_every_number_of_edges_that_a_node_sends(operands, precision, graph):
    *floats, neighbours = operands
    used = int(neighbours.counts.sum())
    receivers = np.repeat(np.arange(NODES), neighbours.counts)
    senders = (
        np.random.default_rng(1).permutation(receivers).astype(np.int32) if graph == "both directions" else 3
    )
    neighbours = neighbours._replace(senders=neighbours.senders.at[:used].set(senders))
    is_looked_up = np.bincount(neighbours.senders[:used]).max() <= neighbours.slots.shape[1]
    assert is_looked_up == (graph == "both directions")

    def gradient(kernel):
        def total(features):
            plan = plan_products(HIDDEN, HIDDEN)
            return jnp.sum(neighbour_sum(features, *floats[1:], neighbours, plan, kernel) ** 2)

        return jax.grad(total)(floats[0])

    wanted = gradient("reference")
    np.testing.assert_allclose(
        gradient("chunked"), wanted, rtol=0, atol=TOLERANCE[precision] * jnp.abs(wanted).max()
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_edges_of_no_node_have_no_influence_and_no_gradient(operands, kernel):
    *floats, neighbours = operands
    plan, used = plan_products(HIDDEN, HIDDEN), int(neighbours.counts.sum())

    def total(radial, harmonics):
        return jnp.sum(neighbour_sum(floats[0], radial, harmonics, neighbours, plan, kernel) ** 2)

    poisoned = [array.at[used:].set(jnp.nan) for array in floats[1:]]
    value, gradients = jax.value_and_grad(total, (0, 1))(*poisoned)
    assert jnp.isfinite(value)
    assert all((gradient[used:] == 0).all() for gradient in gradients)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


@pytest.mark.parametrize("kernel", [*KERNELS, "reference"])
def test_atoms_without_any_edge_receive_nothing(kernel):
    alone = Neighbours(*(jnp.zeros(shape, jnp.int32) for shape in ((0,), (3,), (3,), (3, 0))))
    edges, plan = (jnp.zeros((0, 3, CHANNELS)), jnp.zeros((0, 9))), plan_products(HIDDEN, HIDDEN)

    def total(features):
        return neighbour_sum(features, *edges, alone, plan, kernel).sum()

    value, gradient = jax.value_and_grad(total)(jnp.ones((3, 12, CHANNELS)))
    assert value == 0
    assert (gradient == 0).all()


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_part_of_the_nodes_can_receive(operands, kernel):
    features, radial, harmonics, neighbours = operands
    plan = plan_products(HIDDEN, HIDDEN)
    part = slice(4, 9)
    some = neighbours._replace(
        first=neighbours.first[part], counts=neighbours.counts[part], slots=neighbours.slots[part]
    )
    both = [neighbour_sum(features, radial, harmonics, n, plan, kernel) for n in (neighbours, some)]
    np.testing.assert_array_equal(both[0][part], both[1])


@functools.cache
def gradients_of_gradients(kernel, precision):
    *floats, neighbours = make_operands(precision)
    plan = plan_products(HIDDEN, HIDDEN)

    def total(features, radial, harmonics):
        return jnp.sum(neighbour_sum(features, radial, harmonics, neighbours, plan, kernel) ** 2)

    def slope(*arrays):
        return sum(jnp.sum(bar**2) for bar in jax.grad(total, (0, 1, 2))(*arrays))

    return jax.jit(jax.grad(slope, (0, 1, 2)))(*floats)


@pytest.mark.parametrize("precision", ["float64"], indirect=True)  # single precision compiles as long
@pytest.mark.parametrize("kernel", ["native", slow("chunked")])
def test_gradients_of_gradients_equal_the_reference(precision, kernel):
    found, expected = (gradients_of_gradients(name, precision) for name in (kernel, "reference"))
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=0, atol=TOLERANCE[precision] * jnp.abs(wanted).max())


@pytest.mark.parametrize("kernel", KERNELS)
def test_vmap_over_structures_equals_a_loop(operands, kernel):
    features, radial, harmonics, neighbours = operands
    plan = plan_products(HIDDEN, HIDDEN)
    stacked = jnp.stack([features, 2 * features])
    together = jax.vmap(lambda x: neighbour_sum(x, radial, harmonics, neighbours, plan, kernel))(stacked)
    alone = neighbour_sum(features, radial, harmonics, neighbours, plan, kernel)
    np.testing.assert_allclose(together, jnp.stack([alone, 2 * alone]), rtol=1e-4, atol=1e-5)


def test_two_runs_of_the_native_kernel_are_equal_to_the_last_bit(operands):
    *floats, neighbours = operands
    plan = plan_products(HIDDEN, HIDDEN)
    many = [jnp.concatenate([array] * 200) for array in floats]
    offsets = np.repeat(np.arange(200), [EDGES] * 200)
    moved = Neighbours(
        jnp.tile(neighbours.senders, 200) + jnp.asarray(offsets, jnp.int32) * NODES,
        *(jnp.concatenate([n + k * EDGES for k in range(200)]) for n in (neighbours.first,)),
        jnp.tile(neighbours.counts, 200),
        jnp.zeros((NODES * 200, 0), jnp.int32),
    )

    @jax.jit
    def gradients(*arrays):
        return jax.grad(lambda *a: jnp.sum(neighbour_sum(*a, moved, plan, "native") ** 2), (0, 1, 2))(*arrays)

    for one, other in zip(gradients(*many), gradients(*many), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_without_slots_is_refused_by_kernels_that_need_them(operands):
    *floats, neighbours = operands
    bare = neighbours._replace(slots=neighbours.slots[:, :0])
    for kernel in ("chunked", "reference"):
        with pytest.raises(ValueError, match="Budget whose neighbours > 0"):
            neighbour_sum(*floats, bare, plan_products(HIDDEN, HIDDEN), kernel)


def test_channels_that_fill_no_vector_take_the_xla_kernel(operands, precision):
    features, radial, harmonics, neighbours = operands
    assert native.is_available(CHANNELS, np.dtype(precision))
    assert not native.is_available(CHANNELS + 1, np.dtype(precision))
    odd = (features[..., :3], radial[..., :3], harmonics, neighbours, plan_products(HIDDEN, HIDDEN))
    np.testing.assert_array_equal(neighbour_sum(*odd), neighbour_sum(*odd, "chunked"))


def test_chunks_cover_all_nodes_and_fit_the_cache():
    plan, dtype = plan_products(HIDDEN, HIDDEN), np.dtype(np.float32)
    space = NeighbourSpace(plan, 10_000, 10_000, 50_000, 64, dtype, chunked.evaluate)
    many, slices = jnp.zeros((10_000, 5), jnp.int32), 3
    size = chunked._nodes_per_chunk(space, 10_000, 5, slices)
    assert size * 5 * slices * chunked.COPIES_PER_EDGE * 12 * 64 * 4 <= chunked.CHUNK_BYTES["cpu"]
    pieces = chunked._split(many, size, 0)
    assert pieces.shape[1] == size
    assert chunked._join(pieces, 10_000).shape == many.shape
