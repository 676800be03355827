"""The form of the neighbours (`neighbour_form`) in XLA, in cache-sized chunks of nodes.

An edge feature has rank one, `rho_l,c(r) Y_lm`. The sum over neighbours of all products of a node component
m1 with an edge component (l, m2) is therefore a small matrix product for each node and degree,

    U_l[m2, (m1, c)] = sum_k Y[l m2, k] (x[sender_k, m1, c] rho_l[k, c]),

and the Clebsch-Gordan coefficients, most of which are zero, act once for each node instead of once for each
edge. No tensor of the size edges x components leaves the cache. The outputs in the other slots go the same
way back: what belongs to an edge is

    V_l[k, (m1, c)] = sum_m2 Y[l m2, k] ubar_l[m2, (m1, c)],

where `ubar` is an operand in the slot of the sums, contracted with the coefficients.
"""

from collections import defaultdict
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax.export import is_symbolic_dim
from jaxtyping import Array

from equivar_jax.kernels.multilinear import MISSING, ONE, Form, Output, evaluate_slice_by_slice
from equivar_jax.kernels.neighbour_form import NeighbourSpace, Slot
from equivar_jax.kernels.neighbours import (
    Neighbours,
    Size,
    from_slots,
    has_symbolic_sizes,
    require_slots,
    to_slots,
)
from equivar_jax.kernels.paths import ProductPlan
from equivar_jax.kernels.reference import DEGREE_SLICES

CHUNK_BYTES = {"cpu": 3 * 2**20, "gpu": 2**30}
"""Working set of one chunk: on a CPU about what the caches of a core hold; a GPU hides latency by size."""
EXPORTED_CHUNK_BYTES = 2**24
"""The same where the sizes are symbols: an exported function has one size of chunks for all platforms."""
PRECISION = jax.lax.Precision.HIGHEST
COPIES_PER_EDGE = 4
"""Arrays of the size of the gathered features: these, and their products with the radial part by degree."""

# Without this barrier XLA would fuse a gather into the products that read it and fetch element by element,
# which on a CPU is about ten times slower than copying rows.
_keep_apart = jax.lax.optimization_barrier


def evaluate(operands: Sequence[Array], neighbours: Neighbours, form: Form) -> list[Array]:
    """Compute the outputs of a form of the neighbours; see `equivar_jax.kernels.multilinear.evaluate`."""
    require_slots(neighbours)
    slices = max(1, form.slices)
    return evaluate_slice_by_slice(
        operands, form, lambda arrays, part: _evaluate(arrays, neighbours, part, slices)
    )


def _evaluate(operands: Sequence[Array], neighbours: Neighbours, form: Form, slices: int) -> list[Array]:
    """Compute outputs for one slice, chunk by chunk; each of `slices` takes its share of the working set."""
    nodes, width = neighbours.slots.shape
    edges, space = neighbours.senders.shape[0], form.space
    assert isinstance(space, NeighbourSpace)
    operands = [_keep_apart(array) for array in operands]
    node_operands = [k for k, slot in enumerate(form.slots) if slot == Slot.SUMS]
    collected = [k for k, output in enumerate(form.outputs) if output.slot == Slot.FEATURES]

    def one_chunk(slots, sums):
        chunk = _Chunk(space, operands, dict(zip(node_operands, sums, strict=True)), neighbours, slots)
        return chunk.senders, [chunk.output(output) for output in form.outputs]

    nothing = [jnp.zeros(space.shape(Slot.FEATURES), space.dtype) for _ in collected]
    sums = [operands[k] for k in node_operands]
    chunk = _nodes_per_chunk(space, nodes, width, slices)
    if not has_symbolic_sizes(neighbours) and chunk >= nodes:
        senders, found = one_chunk(neighbours.slots, sums)
        is_edge = neighbours.slots < edges
        for place, zeros in zip(collected, nothing, strict=True):
            found[place] = _collect(zeros, senders, found[place], is_edge)
    else:

        def add_chunk(tables, pieces):
            senders, found = one_chunk(*pieces)
            tables = [_scatter(t, senders, found[k]) for t, k in zip(tables, collected, strict=True)]
            return tables, [array for k, array in enumerate(found) if k not in collected]

        pieces = _split(neighbours.slots, chunk, edges), [_split(array, chunk, 0) for array in sums]
        tables, others = jax.lax.scan(add_chunk, nothing, pieces)
        rows, joined = iter(tables), iter(_join(others, nodes))
        found = [next(rows if k in collected else joined) for k in range(len(form.outputs))]
    return [
        from_slots(array, neighbours) if output.slot in (Slot.RADIAL, Slot.SCALE, Slot.HARMONICS) else array
        for output, array in zip(form.outputs, found, strict=True)
    ]


class _Chunk:
    """The edges of some nodes, in slots; what several terms read is computed once."""

    def __init__(self, space: NeighbourSpace, operands, sums, neighbours: Neighbours, slots):
        self.space, self.operands, self.sums, self.slots = space, operands, sums, slots
        # The sender of an empty slot is row 0, but its radial part and harmonics are zero.
        self.senders = to_slots(neighbours.senders, slots)
        self._made: dict = {}

    def output(self, output: Output) -> Array:
        """Compute one output for these nodes, or for their edges in slots."""
        total = None
        for term in output.terms:
            made = getattr(self, f"_{Slot(output.slot).name.lower()}")(*term)
            total = made if total is None else jax.tree.map(jnp.add, total, made)
        if output.slot == Slot.SUMS:
            if total is None:
                nothing = (self.slots.shape[0], self.space.plan.output_components, self.space.channels)
                return jnp.zeros(nothing, self.space.dtype)
            return _clebsch_gordan(_keep_apart(total), self.space.plan)
        if total is None:
            shape = {
                Slot.FEATURES: (self.space.plan.input_components, self.space.channels),
                Slot.RADIAL: (3, self.space.channels),
                Slot.SCALE: (),
                Slot.HARMONICS: (9,),
            }[Slot(output.slot)]
            return jnp.zeros((*self.slots.shape, *shape), self.space.dtype)
        return _keep_apart(total) if output.slot == Slot.FEATURES else total

    def _sums(self, x, rho, scale, y, _):
        nodes, neighbours = self.slots.shape
        components, channels = self.space.plan.input_components, self.space.channels
        return [
            jnp.einsum(
                "nks,nkd->nsd",
                self._harmonics_of(y)[:, :, DEGREE_SLICES[degree]],
                scaled.reshape(nodes, neighbours, components * channels),
                precision=PRECISION,
            ).reshape(nodes, 2 * degree + 1, components, channels)
            for degree, scaled in enumerate(self._scaled(x, rho, scale))
        ]

    def _features(self, _, rho, scale, y, a):
        factor = self._radial_of(rho, scale)
        return sum(v * factor[:, :, degree, None] for degree, v in enumerate(self._edge_products(y, a)))

    def _radial(self, x, _, scale, y, a):
        gathered = self._gathered(x)
        made = jnp.stack([(v * gathered).sum(axis=2) for v in self._edge_products(y, a)], axis=2)
        return made if scale == ONE else made * self._scale_of(scale)[:, :, None, None]

    def _scale(self, x, rho, _, y, a):
        return (self._radial(x, MISSING, ONE, y, a) * self._radial_of(rho, ONE)).sum(axis=(2, 3))

    def _harmonics(self, x, rho, scale, _, a):
        nodes, neighbours = self.slots.shape
        made = [
            jnp.einsum(
                "nsd,nkd->nks",
                bar.reshape(nodes, 2 * degree + 1, -1),
                scaled.reshape(nodes, neighbours, bar[0, 0].size),
                precision=PRECISION,
            )
            for degree, (bar, scaled) in enumerate(
                zip(self._ubar(a), self._scaled(x, rho, scale), strict=True)
            )
        ]
        return jnp.concatenate(made, axis=2)

    def _edge_products(self, y, a):
        """Compute V (see the module) by degree, [nodes, neighbours, components, channels]."""
        components, channels = self.space.plan.input_components, self.space.channels

        def make():
            return [
                _keep_apart(
                    jnp.einsum(
                        "nks,nsd->nkd",
                        self._harmonics_of(y)[:, :, DEGREE_SLICES[degree]],
                        bar.reshape(bar.shape[0], 2 * degree + 1, -1),
                        precision=PRECISION,
                    )
                ).reshape(*self.slots.shape, components, channels)
                for degree, bar in enumerate(self._ubar(a))
            ]

        return self._once(("V", y, a), make)

    def _ubar(self, a):
        return self._once(
            ("ubar", a), lambda: _keep_apart(_clebsch_gordan_transpose(self.sums[a], self.space.plan))
        )

    def _scaled(self, x, rho, scale):
        gathered, factor = self._gathered(x), self._radial_of(rho, scale)
        return self._once(
            ("scaled", x, rho, scale),
            lambda: [gathered * factor[:, :, degree, None, :] for degree in range(3)],
        )

    def _gathered(self, x):
        return self._once(("x", x), lambda: _gather(self.operands[x], self.senders))

    def _radial_of(self, rho, scale):
        def make():
            radial = to_slots(self.operands[rho], self.slots)
            return radial if scale == ONE else radial * self._scale_of(scale)[:, :, None, None]

        return self._once(("rho", rho, scale), make)

    def _scale_of(self, scale):
        return self._once(("scale", scale), lambda: to_slots(self.operands[scale], self.slots))

    def _harmonics_of(self, y):
        return self._once(("y", y), lambda: to_slots(self.operands[y], self.slots))

    def _once(self, name, make):
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]


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


def _nodes_per_chunk(space: NeighbourSpace, nodes: Size, width: Size, slices: int) -> Size:
    """Return the number of nodes whose edge tensors fill the working set, so that chunks are about equal."""
    row_bytes = space.plan.input_components * space.channels * space.dtype.itemsize * slices
    if is_symbolic_dim(nodes) or is_symbolic_dim(width):  # `max` would have to know what they stand for
        largest = 1 + EXPORTED_CHUNK_BYTES // (COPIES_PER_EDGE * width * row_bytes)
        return -(-nodes // -(-nodes // largest))
    budget = CHUNK_BYTES.get(jax.default_backend(), CHUNK_BYTES["gpu"])
    largest = max(1, budget // max(1, COPIES_PER_EDGE * width * row_bytes))
    return -(-nodes // max(1, -(-nodes // largest)))


def _split(array, chunk: Size, filling):
    """Reshape [nodes, ...] to [chunks, chunk, ...], and fill up the last chunk with `filling`."""
    chunks = -(-array.shape[0] // chunk)
    missing = chunks * chunk - array.shape[0]
    edges = [(0, missing)] + [(0, 0)] * (array.ndim - 1)
    is_full = not is_symbolic_dim(missing) and missing == 0
    padded = array if is_full else jnp.pad(array, edges, constant_values=filling)
    return padded.reshape(chunks, chunk, *array.shape[1:])


def _join(arrays, nodes: Size):
    """Undo `_split`: reshape to [nodes, ...] and drop the filling."""
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:])[:nodes], arrays)
