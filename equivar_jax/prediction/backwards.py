"""Derivatives of a polarisation in bounded memory: forwards layer by layer, then backwards layer by layer.

`Z[i, a, b] = dP_a / du_i,b` needs the cotangents of all features for the three directions a of P. They go
from the dipoles back through the interactions, each of which is computed anew, piece by piece, from the
features before it: edges of a piece are linearised, their cotangents are added to the tensors of the atoms at
both ends, and those of the features to the rows of the senders. Held are the features before each interaction
and the cotangents on both sides of one: at most L + 4 tables of 12 f numbers an atom, for L >= 3 interactions
of f channels (14 kB an atom for the size of `bm4.py`, 31 kB for that of BM1), whatever the number of edges.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float, Int

from equivar_jax.graphs.graph import AnyGraph
from equivar_jax.network.features import Features
from equivar_jax.network.plan import live_irreps
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.prediction.layerwise import Structure, tables_of_layers
from equivar_jax.prediction.pieces import Piece, graph_of_piece, round_up

NODES_AT_ONCE = 1024
"""Atoms in one piece; an edge takes several times the memory that it takes forwards."""
_PASSES_BACK = 3  # the work of one interaction backwards, in forward ones


class _Rows(NamedTuple):
    """Rows of the table that belong to a piece: its own nodes, then other senders, then padding."""

    numbers: Int[np.ndarray, " rows"]
    """Numbers in the whole structure; those of padding are beyond it."""
    used: int
    """Rows that are no padding."""


def derivatives_layer_by_layer(
    model: Polarisation,
    params: dict,
    graph: AnyGraph,
    nodes_at_once: int = NODES_AT_ONCE,
    progress: bool = False,
) -> Float[np.ndarray, "atoms 3 3"]:
    """Compute the Born effective charges of one structure as `model.apply` gives them.

    Args:
        model: The network.
        params: Its weights.
        graph: One structure, as `equivar_jax.graphs.graph.build_graph` makes it.
        nodes_at_once: Atoms in one piece.
        progress: Show a progress bar.

    Returns:
        float64 (N, 3, 3) in e, [atom, field direction, displacement direction].
    """
    structure, layers = Structure.of(model, params, graph, nodes_at_once), model.config.interactions
    rows = _rows_of_pieces(structure)
    place = np.zeros(len(structure.species), np.int32)
    result = np.zeros((len(structure.species), 3, 3))
    with structure.bar(layers - 1 + _PASSES_BACK * layers, progress) as bar:
        tables = list(tables_of_layers(model, params, structure, bar))
        cotangents = None
        for layer in reversed(range(layers)):
            table = tables.pop()
            # Before the first interaction the features depend on the elements alone.
            earlier = jnp.zeros((len(table), 3, *table.shape[1:]), table.dtype) if layer else None
            for piece, own in zip(structure.pieces, rows, strict=True):
                local = _local_graph(structure, piece, own, place)
                given = None if cotangents is None else _own_rows(cotangents, piece.start, nodes_at_once)
                numbers = jnp.asarray(own.numbers)
                bars, tensors = _pull_back(model, layer, params, _take(table, numbers), local, given)
                if earlier is not None:
                    earlier = _add_to_rows(earlier, numbers, bars)
                result[own.numbers[: own.used]] += np.asarray(tensors, np.float64)[: own.used]
                bar.update(_PASSES_BACK * structure.atoms_of(piece))
            cotangents = earlier
    return result[: structure.atoms] + _charges(params, graph)[:, None, None] * np.eye(3)


def _rows_of_pieces(structure: Structure) -> list[_Rows]:
    """Find the rows of the table that each piece reads; all pieces have the same number, with padding."""
    found = []
    for piece in structure.pieces:
        nodes = len(piece.counts)
        own = np.arange(piece.start, piece.start + nodes, dtype=np.int32)
        senders = np.unique(structure.graph.senders[piece.edges])
        others = senders[(senders < piece.start) | (senders >= piece.start + nodes)]
        found.append(np.concatenate([own, others.astype(np.int32)]))
    capacity, beyond = round_up(max(map(len, found))), len(structure.species)
    return [
        _Rows(np.pad(rows, (0, capacity - len(rows)), constant_values=beyond), len(rows)) for rows in found
    ]


def _local_graph(
    structure: Structure, piece: Piece, rows: _Rows, place: Int[np.ndarray, " table"]
) -> jraph.GraphsTuple:
    """Build the graph of a piece with its rows as the only nodes.

    Args:
        structure: The structure.
        piece: The piece.
        rows: Its rows.
        place: Room for the place of each node among the rows.
    """
    numbers = rows.numbers[: rows.used]
    place[numbers] = np.arange(rows.used)
    species = np.pad(structure.species[numbers], (0, len(rows.numbers) - rows.used))
    graph = graph_of_piece(structure.graph, piece, species, structure.dtype)
    edges = piece.edges.stop - piece.edges.start
    ends = [np.where(np.arange(len(end)) < edges, place[end], 0) for end in (graph.senders, graph.receivers)]
    return graph._replace(senders=ends[0].astype(np.int32), receivers=ends[1].astype(np.int32))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _pull_back(
    model: Polarisation,
    layer: int,
    params: dict,
    table: Float[Array, "rows components channels"],
    graph: jraph.GraphsTuple,
    cotangents: Float[Array, "nodes 3 new channels"] | None,
) -> tuple[Float[Array, "rows 3 components channels"], Float[Array, "rows 3 3"]]:
    """Pull the cotangents of the new features of a piece back to its rows and to the positions.

    Args:
        model: The network.
        layer: Number of the interaction.
        params: Weights of the network.
        table: Features of the rows of the piece before it.
        graph: The piece, its nodes the rows.
        cotangents: Of the features after it, for each direction of P; None after the last interaction, for
            those of the dipoles, which are one.

    Returns:
        Cotangents of the features of the rows, [row, direction of P, component, channel], and the part of
        their tensors, [row, direction of P, direction of displacement], that these edges give.
    """
    nodes = len(graph.nodes["neighbours"])
    species = graph.nodes["species"][:nodes]
    irreps, after = (live_irreps(model.config, number) for number in (layer, layer + 1))

    def forward(table, moved):
        edges = model.apply(params, graph, moved, method="move_edges")
        features = Features(irreps, table), Features(irreps, table[:nodes])
        new = model.apply(params, layer, *features, edges, species, method="interact")
        if cotangents is not None:
            return new.array
        return model.apply(params, Features(after, new.array), species, method="read_out")

    still = jnp.zeros_like(graph.edges["vectors"])
    result, pullback = jax.vjp(forward, table, still)
    if cotangents is None:
        cotangents = jnp.broadcast_to(jnp.eye(3, dtype=result.dtype), (nodes, 3, 3))
    bars, per_edge = jax.vmap(pullback, in_axes=1, out_axes=1)(cotangents)
    tensors = jnp.zeros((len(table), 3, 3), per_edge.dtype)
    return bars, tensors.at[graph.senders].add(per_edge).at[graph.receivers].add(-per_edge)


@jax.jit
def _take(table, numbers):
    return jnp.take(table, numbers, axis=0, mode="fill", fill_value=0)


@functools.partial(jax.jit, static_argnums=2)
def _own_rows(table, start, nodes: int):
    return jax.lax.dynamic_slice_in_dim(table, start, nodes)


@functools.partial(jax.jit, donate_argnums=0)
def _add_to_rows(table, numbers, rows):
    return table.at[numbers].add(rows, mode="drop")


def _charges(params: dict, graph: AnyGraph) -> Float[np.ndarray, " atoms"]:
    """Compute the charges of the atoms, which sum up to the net charge."""
    table = np.asarray(params["params"]["element_charge"], np.float64)
    charges = table[graph.nodes["species"]]
    return charges - (charges.sum() - float(graph.globals["charge"][0])) / len(charges)
