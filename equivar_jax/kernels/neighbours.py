"""The edges of every node, in the two forms that kernels read: sorted by receiver, and in slots."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.export import is_symbolic_dim
from jaxtyping import Array, Float, Int, Shaped

Size = Any
"""Number of nodes or edges: an int, or a symbol of `jax.export` where a function is exported for any size."""


class Neighbours(NamedTuple):
    """Edges sorted by receiver: node i has the edges `first[i]` to `first[i] + counts[i] - 1`.

    Edges that belong to no node are padding. Senders point into a table of nodes, which may hold more nodes
    than those that receive.
    """

    senders: Int[Array, " edges"]
    first: Int[Array, " nodes"]
    counts: Int[Array, " nodes"]
    slots: Int[Array, "nodes neighbours"]
    """The edges of every node as a table, whose unused slots hold the number of edges. It is for kernels that
    need a dense layout (see `equivar_jax.kernels.needs_slots`), and has width zero for others."""


def has_symbolic_sizes(neighbours: Neighbours) -> bool:
    """Return whether a number of nodes, edges or slots is a symbol, as where a function is exported."""
    return any(map(is_symbolic_dim, (*neighbours.senders.shape, *neighbours.slots.shape)))


def require_slots(neighbours: Neighbours) -> None:
    """Refuse a batch that was made for a kernel that needs no slots.

    Raises:
        ValueError: There are edges but no slots.
    """
    if neighbours.slots.shape[1] == 0 and neighbours.senders.shape[0] > 0:
        raise ValueError(
            "the batch has no slots, which this kernel reads; make it with a Budget whose neighbours > 0"
        )


def to_slots(per_edge: Shaped[Array, "edges *shape"], slots: Int[Array, "nodes neighbours"]) -> Array:
    """Put the rows of the edges into their slots, [nodes, neighbours, ...]; empty slots get zeros."""
    rows = jnp.take(per_edge, slots, axis=0, mode="fill", fill_value=0)
    return rows.reshape(*slots.shape, *per_edge.shape[1:])  # if there are no edges, JAX drops the other axes


def from_slots(per_slot: Float[Array, "nodes neighbours *shape"], neighbours: Neighbours) -> Array:
    """Undo `to_slots`, by looking up and not by scattering; edges of no node get zeros."""
    nodes, width = neighbours.slots.shape
    rows = per_slot.reshape(nodes * width, *per_slot.shape[2:])
    if has_symbolic_sizes(neighbours):  # `searchsorted` needs numbers
        nowhere = jnp.full(neighbours.senders.shape, nodes * width)
        flat = nowhere.at[neighbours.slots.reshape(-1)].set(jnp.arange(nodes * width), mode="drop")
        return jnp.take(rows, flat, axis=0, mode="fill", fill_value=0)
    edges = jnp.arange(neighbours.senders.shape[0])
    receivers = jnp.clip(jnp.searchsorted(neighbours.first, edges, side="right") - 1, 0, nodes - 1)
    place = edges - neighbours.first[receivers]
    is_edge = place < neighbours.counts[receivers]
    flat = jnp.where(is_edge, receivers * width + place, nodes * width)
    return jnp.take(rows, flat, axis=0, mode="fill", fill_value=0)
