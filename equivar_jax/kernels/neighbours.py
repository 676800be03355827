"""Who neighbours whom, in the two forms that kernels read."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Shaped


class Neighbours(NamedTuple):
    """Edges sorted by receiver: node i has the edges `first[i]` to `first[i] + counts[i] - 1`.

    Edges of no node are padding. There may be more nodes in the table that senders point into than nodes that
    receive.
    """

    senders: Int[Array, " edges"]
    first: Int[Array, " nodes"]
    counts: Int[Array, " nodes"]
    slots: Int[Array, "nodes neighbours"]
    """The edges of every node, and the number of edges where there are no more; for kernels that need a dense
    layout (see `equivar_jax.kernels.needs_slots`), otherwise of width zero."""


def require_slots(neighbours: Neighbours) -> None:
    """Refuse a batch that was made for another kernel.

    Raises:
        ValueError: there are edges and no slots.
    """
    if neighbours.slots.shape[1] == 0 and neighbours.senders.shape[0] > 0:
        raise ValueError("this kernel reads slots; make the batch with a Budget whose neighbours > 0")


def to_slots(per_edge: Shaped[Array, "edges *shape"], slots: Int[Array, "nodes neighbours"]) -> Array:
    """Rows of the edges in their slots, [nodes, neighbours, ...]; zero in empty slots."""
    rows = jnp.take(per_edge, slots, axis=0, mode="fill", fill_value=0)
    return rows.reshape(*slots.shape, *per_edge.shape[1:])  # without edges, JAX forgets the other axes


def from_slots(per_slot: Float[Array, "nodes neighbours *shape"], neighbours: Neighbours) -> Array:
    """Inverse of `to_slots`, by looking up and not by scattering; zero for edges of no node."""
    nodes, width = neighbours.slots.shape
    edges = jnp.arange(neighbours.senders.shape[0])
    receivers = jnp.clip(jnp.searchsorted(neighbours.first, edges, side="right") - 1, 0, nodes - 1)
    place = edges - neighbours.first[receivers]
    is_edge = place < neighbours.counts[receivers]
    flat = jnp.where(is_edge, receivers * width + place, nodes * width)
    rows = per_slot.reshape(nodes * width, *per_slot.shape[2:])
    return jnp.take(rows, flat, axis=0, mode="fill", fill_value=0)
