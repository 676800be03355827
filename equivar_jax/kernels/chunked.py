"""The neighbour sum in cache-sized chunks of nodes, with a hand-written derivative.

An edge feature has rank one, `rho_l,c(r) Y_lm`. The sum over neighbours of all products of a node component
m1 with an edge component (l, m2) is therefore a small matrix product for each node and degree,

    U_l[m2, (m1, c)] = sum_k Y[l m2, k] (x[sender_k, m1, c] rho_l[k, c]),

and the Clebsch-Gordan coefficients, most of which are zero, act once for each node instead of once for each
edge. No tensor of the size edges x components leaves the cache. Plain reverse-mode differentiation would
store and scatter such tensors; the derivative below recomputes them chunk by chunk.

In derivatives a name that ends in `_bar` is the cotangent of what the name without it stands for.
"""

import functools
from collections import defaultdict

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels.neighbours import Neighbours, from_slots, require_slots, to_slots
from equivar_jax.kernels.paths import ProductPlan
from equivar_jax.kernels.reference import DEGREE_SLICES

CHUNK_BYTES = {"cpu": 3 * 2**20, "gpu": 2**30}
"""Working set of one chunk: on a CPU about what the caches of a core hold; a GPU hides latency by size."""
PRECISION = jax.lax.Precision.HIGHEST
COPIES_PER_EDGE = 4
"""Arrays of the size of the gathered features: these, and their products with the radial part by degree."""

# Without this barrier XLA would fuse a gather into the products that read it and fetch element by element,
# which on a CPU is about ten times slower than copying rows.
_keep_apart = jax.lax.optimization_barrier


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
) -> Float[Array, "nodes products channels"]:
    """Compute the neighbour sum; see `equivar_jax.kernels.neighbour_sum`."""
    table = _keep_apart(features)

    def one_chunk(slots):
        edges = _put_edges_in_slots(radial, harmonics, neighbours, slots)
        return _clebsch_gordan(_outer_products(table, *edges), plan)

    nodes, chunk = len(neighbours.slots), _nodes_per_chunk(features, neighbours.slots)
    if chunk >= nodes:
        return one_chunk(neighbours.slots)
    return _join(jax.lax.map(one_chunk, _split(neighbours.slots, chunk, len(neighbours.senders))), nodes)


def _forward(features, radial, harmonics, neighbours, plan):
    result = neighbour_sum(features, radial, harmonics, neighbours, plan)
    return result, (features, radial, harmonics, neighbours)


def _backward(plan, saved, cotangent):
    *_, neighbours = saved
    integers = jax.tree.map(lambda array: np.zeros(array.shape, jax.dtypes.float0), neighbours)
    return *neighbour_sum_transpose(plan, saved, cotangent), integers


neighbour_sum.defvjp(_forward, _backward)


def neighbour_sum_transpose(plan, saved, cotangent):
    """Compute the cotangents of features, radial part and harmonics from the cotangent of the sums."""
    features, radial, harmonics, neighbours = saved
    table = _keep_apart(features)

    def one_chunk(chunk):
        slots, cotangent = chunk
        dense_radial, dense_harmonics, senders = _put_edges_in_slots(radial, harmonics, neighbours, slots)
        products_bar = _keep_apart(_clebsch_gordan_transpose(cotangent, plan))
        gathered_bar, radial_bar, harmonics_bar = _outer_products_transpose(
            table, dense_radial, dense_harmonics, senders, products_bar
        )
        return senders, gathered_bar, (radial_bar, jnp.swapaxes(harmonics_bar, 1, 2))

    def add_chunk(features_bar, chunk):
        senders, gathered_bar, edge_bars = one_chunk(chunk)
        return _scatter(features_bar, senders, gathered_bar), edge_bars

    nodes, chunk = len(neighbours.slots), _nodes_per_chunk(features, neighbours.slots)
    start = jnp.zeros_like(features)
    cotangent = _keep_apart(cotangent)
    if chunk >= nodes:
        senders, gathered_bar, edge_bars = one_chunk((neighbours.slots, cotangent))
        features_bar = _collect(start, senders, gathered_bar, neighbours.slots < len(neighbours.senders))
    else:
        pieces = _split(neighbours.slots, chunk, len(neighbours.senders)), _split(cotangent, chunk, 0)
        features_bar, edge_bars = jax.lax.scan(add_chunk, start, pieces)
        edge_bars = _join(edge_bars, nodes)
    return features_bar, *(from_slots(bar, neighbours) for bar in edge_bars)


def _put_edges_in_slots(radial, harmonics, neighbours: Neighbours, slots):
    """Return radial part, harmonics [nodes, 9, neighbours] and senders of the edges in the slots of nodes."""
    require_slots(neighbours)
    harmonics = jnp.swapaxes(to_slots(harmonics, slots), 1, 2)
    # The sender of an empty slot is row 0, but its radial part and harmonics are zero.
    return to_slots(radial, slots), harmonics, to_slots(neighbours.senders, slots)


def _outer_products(table, radial, harmonics, senders):
    """Compute `U_l` (see the module): for each degree one array [nodes, 2l+1, components, channels]."""
    nodes, neighbours = senders.shape
    components, channels = table.shape[1:]
    gathered = _gather(table, senders)
    scaled = [gathered * radial[:, :, degree, None, :] for degree in range(3)]
    products = [
        jnp.einsum(
            "nsk,nkd->nsd",
            harmonics[:, DEGREE_SLICES[degree]],
            scaled[degree].reshape(nodes, neighbours, components * channels),
            precision=PRECISION,
        ).reshape(nodes, 2 * degree + 1, components, channels)
        for degree in range(3)
    ]
    return _keep_apart(products)


def _outer_products_transpose(table, radial, harmonics, senders, products_bar):
    """Compute the cotangents of gathered features, radial part and harmonics from those of `U_l`."""
    nodes, neighbours = senders.shape
    gathered = _gather(table, senders)
    gathered_bar = jnp.zeros_like(gathered)
    radial_bar, harmonics_bar = [], []
    for degree in range(3):
        factor = radial[:, :, degree, None, :]
        product_bar = products_bar[degree].reshape(nodes, 2 * degree + 1, -1)
        scaled_bar = jnp.einsum(
            "nsk,nsd->nkd", harmonics[:, DEGREE_SLICES[degree]], product_bar, precision=PRECISION
        )
        scaled_bar = _keep_apart(scaled_bar).reshape(gathered.shape)
        gathered_bar += scaled_bar * factor
        radial_bar.append((scaled_bar * gathered).sum(axis=2))
        scaled = (gathered * factor).reshape(nodes, neighbours, product_bar.shape[-1])
        harmonics_bar.append(jnp.einsum("nsd,nkd->nsk", product_bar, scaled, precision=PRECISION))
    return (
        _keep_apart(gathered_bar),
        jnp.stack(radial_bar, axis=2),
        jnp.concatenate(harmonics_bar, axis=1),
    )


def _gather(table, senders):
    """Gather the features of the senders: [nodes, neighbours, components, channels]."""
    flat = table.reshape(table.shape[0], -1)
    return _keep_apart(flat[senders]).reshape(*senders.shape, *table.shape[1:])


def _scatter(features_bar, senders, gathered_bar):
    """Add the cotangent of each edge to that of its sender."""
    return features_bar.at[senders.reshape(-1)].add(gathered_bar.reshape(-1, *features_bar.shape[1:]))


def _collect(nothing, senders, gathered_bar, is_edge):
    """Do what `_scatter` does onto zeros by looking up, since XLA scatters slowly on a GPU (JAX issue 38806).

    If both directions of every pair are in the graph, no node sends more edges than a node has slots. Sorting
    the slots by sender then tells where the edges of each sender are. For other graphs this scatters.

    Args:
        nothing: Zeros of the shape of the result.
        senders: Sender of each slot.
        gathered_bar: Cotangent of the gathered features of each slot.
        is_edge: True for slots that hold an edge.
    """
    width = senders.shape[1]
    if width == 0:  # nobody has a neighbour
        return nothing
    sender = jnp.where(is_edge, senders, len(nothing)).reshape(-1)
    order = jnp.argsort(sender)
    bounds = jnp.searchsorted(sender[order], jnp.arange(len(nothing) + 1))
    first, counts = bounds[:-1, None], jnp.diff(bounds)[:, None]

    def look_up(gathered_bar):
        place = jnp.arange(width)
        slots = jnp.take(order, first + place, mode="clip")
        rows = jnp.where(place < counts, slots, sender.size)
        flat = gathered_bar.reshape(sender.size, nothing[0].size)
        found = jnp.take(flat, rows, axis=0, mode="fill", fill_value=0).sum(axis=1)
        return found.reshape(nothing.shape)

    return jax.lax.cond(
        counts.max(initial=0) <= width, look_up, lambda bar: _scatter(nothing, senders, bar), gathered_bar
    )


def _clebsch_gordan(products, plan: ProductPlan):
    """Contract `U_l` with the coefficients that are not zero to [nodes, products, channels]."""
    rows = []
    for product in plan.products:
        coefficients = product.coefficients()
        for out in range(coefficients.shape[2]):
            rows.append(
                sum(
                    float(coefficients[m, s, out]) * products[product.degree][:, s, product.node.start + m]
                    for m, s in zip(*_nonzero(coefficients[:, :, out]), strict=True)
                )
            )
    return jnp.stack(rows, axis=1)


def _clebsch_gordan_transpose(cotangent, plan: ProductPlan):
    """Compute the cotangents of `U_l` from that of the result of `_clebsch_gordan`."""
    terms = defaultdict(list)
    for product in plan.products:
        coefficients = product.coefficients()
        for m, s, out in zip(*_nonzero(coefficients), strict=True):
            terms[product.degree, s, product.node.start + m].append(
                float(coefficients[m, s, out]) * cotangent[:, product.out.start + out]
            )
    nothing = jnp.zeros_like(cotangent[:, 0])
    return [
        jnp.stack(
            [
                jnp.stack(
                    [sum(terms[degree, s, m], start=nothing) for m in range(plan.input_components)],
                    axis=1,
                )
                for s in range(2 * degree + 1)
            ],
            axis=1,
        )
        for degree in range(3)
    ]


def _nonzero(coefficients):
    return np.nonzero(np.abs(coefficients) > 1e-12)


def _nodes_per_chunk(features, slots) -> int:
    """Return the number of nodes whose edge tensors fill the working set; chunks get about equal sizes."""
    nodes, neighbours = slots.shape
    row_bytes = features.shape[1] * features.shape[2] * features.dtype.itemsize
    budget = CHUNK_BYTES.get(jax.default_backend(), CHUNK_BYTES["gpu"])
    most = max(1, budget // max(1, COPIES_PER_EDGE * neighbours * row_bytes))
    chunks = -(-nodes // most)
    return -(-nodes // max(chunks, 1))


def _split(array, chunk: int, filling):
    """Reshape [nodes, ...] to [chunks, chunk, ...], and fill up the last chunk with `filling`."""
    chunks = -(-array.shape[0] // chunk)
    missing = chunks * chunk - array.shape[0]
    edges = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    padded = jnp.pad(array, edges, constant_values=filling) if missing else array
    return padded.reshape(chunks, chunk, *array.shape[1:])


def _join(arrays, nodes: int):
    """Undo `_split`: reshape to [nodes, ...] and drop the filling."""
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:nodes], arrays)
