"""Pieces of a structure too large for one batch: runs of its atoms, with the edges that they receive."""

import math
from typing import NamedTuple

import jraph
import numpy as np
from jaxtyping import Array, Int

from equivar_jax.graphs.graph import AnyGraph, neighbour_counts

_GROWTH = 1.05  # ratio of the series of capacities, few enough for frames of a trajectory to share code


class Piece(NamedTuple):
    """A run of nodes and the edges that they receive; all pieces of a structure have one shape."""

    start: int
    """Its first node."""
    edges: slice
    """Its edges."""
    counts: Int[np.ndarray, " nodes"]
    """Neighbours of its nodes; zero for padding."""
    capacity: int
    """Edges with padding."""
    width: int
    """Slots for the neighbours of each node, if the kernel needs them."""


def cut_into_pieces(graph: AnyGraph, nodes: int, slots: bool) -> list[Piece]:
    """Cut a graph into runs of nodes with the edges that they receive; all pieces have one shape.

    Args:
        graph: One structure, its edges sorted by receiver.
        nodes: Nodes in one piece.
        slots: Whether the kernel needs slots for the neighbours of each node.
    """
    counts = neighbour_counts(graph)
    ends = np.concatenate([[0], np.cumsum(counts)])
    starts = range(0, len(counts), nodes)
    cuts = [(int(ends[start]), int(ends[min(start + nodes, len(counts))])) for start in starts]
    capacity = round_up(max(last - first for first, last in cuts))
    width = int(counts.max(initial=0)) if slots else 0
    return [
        Piece(
            start,
            slice(first, last),
            np.pad(counts[start : start + nodes], (0, max(0, start + nodes - len(counts)))),
            capacity,
            width,
        )
        for start, (first, last) in zip(starts, cuts, strict=True)
    ]


def round_up(size: int) -> int:
    """Return the next of few capacities that hold so much, and at least one."""
    return math.ceil(_GROWTH ** math.ceil(math.log(max(size, 1)) / math.log(_GROWTH)))


def graph_of_piece(
    graph: AnyGraph, piece: Piece, species: Int[Array | np.ndarray, " table"], dtype: np.dtype
) -> jraph.GraphsTuple:
    """Build the padded graph of the edges that the nodes of a piece receive.

    Senders and receivers are numbered as in the whole structure: both ends of an edge are rows of the table.
    """
    missing = piece.capacity - (piece.edges.stop - piece.edges.start)
    vectors = np.zeros((piece.capacity, 3), dtype)
    vectors[:, 0] = 1.0
    vectors[: piece.capacity - missing] = graph.edges["vectors"][piece.edges]
    counts = piece.counts.astype(np.int32)
    first = (np.cumsum(counts) - counts).astype(np.int32)
    place = np.arange(piece.width, dtype=np.int32)
    slots = np.where(place < counts[:, None], first[:, None] + place, piece.capacity).astype(np.int32)
    return jraph.GraphsTuple(
        nodes={"species": species, "neighbours": counts, "first_edge": first, "slots": slots},
        edges={"vectors": vectors},
        senders=np.pad(graph.senders[piece.edges], (0, missing)).astype(np.int32),
        receivers=np.pad(graph.receivers[piece.edges], (0, missing)).astype(np.int32),
        globals=None,
        n_node=None,
        n_edge=None,
    )
