"""Prediction of structures of any size in bounded memory: layer by layer, a few thousand atoms at a time.

Each layer needs the features of all atoms from the layer before it, 12 f numbers per atom for f channels, so
two tables of features are held (6 kB per atom for BM1). Everything that belongs to edges exists for one piece
of the atoms at a time.
"""

import functools
import math

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float, Int

from equivar_jax.graphs.graph import AnyGraph, neighbour_counts
from equivar_jax.kernels import needs_slots
from equivar_jax.network.features import Features
from equivar_jax.network.model import Equivar
from equivar_jax.network.plan import live_irreps
from equivar_jax.prediction.distances import Known, distances
from equivar_jax.progress import ProgressBar

NODES_AT_ONCE = 8192
"""Atoms in one piece of a structure."""
_GROWTH = 1.05  # ratio of the series of edge capacities, few enough for frames of a trajectory to share code


def tensors_layer_by_layer(
    model: Equivar,
    params: dict,
    graph: AnyGraph,
    nodes_at_once: int = NODES_AT_ONCE,
    progress: bool = False,
    wanted: tuple[Known, Float[np.ndarray, " atoms"]] | None = None,
) -> Float[np.ndarray, "atoms 3 3"]:
    """Compute the Born effective charges of one structure before the sum rule, as `model.apply` gives them.

    Args:
        model: The network.
        params: Its weights.
        graph: One structure, as `equivar_jax.graphs.graph.build_graph` makes it.
        nodes_at_once: Atoms in one piece.
        progress: Show a progress bar.
        wanted: Known features, and an array to fill with the distances of the atoms from them.

    Returns:
        float64 (N, 3, 3) in e, [atom, field direction, displacement direction].
    """
    dtype = jax.tree.leaves(params)[0].dtype
    pieces = _cut_into_pieces(
        graph, nodes_at_once, needs_slots(model.config.kernel, model.config.channels, dtype)
    )
    atoms, layers = len(graph.nodes["species"]), model.config.interactions
    species = np.pad(graph.nodes["species"], (0, pieces[-1]["start"] + nodes_at_once - atoms))
    all_species = jnp.asarray(species)
    table = _embed(model, params, all_species, dtype)
    result = np.zeros((len(species), 3, 3))
    with ProgressBar(total=layers * atoms, unit="atom", unit_scale=True, disable=not progress) as bar:
        for layer in range(layers):
            following = None
            for piece in pieces:
                start, piece_graph = piece["start"], _graph_of_piece(graph, piece, all_species, dtype)
                new = _interact(model, layer, params, table, start, piece_graph)
                if layer == layers - 1:
                    own = jnp.asarray(species[start : start + nodes_at_once])
                    result[start : start + nodes_at_once] = _read_out(model, params, new, own)
                    if wanted is not None:
                        far = wanted[1][start : start + nodes_at_once]
                        far[:] = np.asarray(_distances(model, new, own, wanted[0]))[: len(far)]
                else:
                    following = _place_rows(following, new, start, len(species))
                bar.update(min(nodes_at_once, atoms - start))
            table = following
    return result[:atoms]


def _cut_into_pieces(graph: AnyGraph, nodes: int, slots: bool) -> list[dict]:
    """Cut a graph into runs of `nodes` nodes with the edges that they receive; all pieces have one shape.

    Args:
        graph: One structure, its edges sorted by receiver.
        nodes: Nodes in one piece.
        slots: Whether the kernel needs slots for the neighbours of each node.

    Returns:
        For each piece: its first node (`start`), the slice of its `edges`, the neighbour `counts` of its
        nodes (zero for padding), and the edge `capacity` and `width` of slots that all pieces share.
    """
    counts = neighbour_counts(graph)
    ends = np.concatenate([[0], np.cumsum(counts)])
    starts = range(0, len(counts), nodes)
    cuts = [(int(ends[start]), int(ends[min(start + nodes, len(counts))])) for start in starts]
    edges = max(1, *(last - first for first, last in cuts))
    edges = math.ceil(_GROWTH ** math.ceil(math.log(edges) / math.log(_GROWTH)))
    width = int(counts.max(initial=0)) if slots else 0
    return [
        {
            "start": start,
            "edges": slice(first, last),
            "counts": np.pad(counts[start : start + nodes], (0, max(0, start + nodes - len(counts)))),
            "capacity": edges,
            "width": width,
        }
        for start, (first, last) in zip(starts, cuts, strict=True)
    ]


def _graph_of_piece(
    graph: AnyGraph, piece: dict, species: Int[Array, " table"], dtype: np.dtype
) -> jraph.GraphsTuple:
    """Build the padded graph of the edges that the nodes of a piece receive.

    Senders and receivers are numbered as in the whole structure: both ends of an edge are rows of the table.
    """
    missing = piece["capacity"] - (piece["edges"].stop - piece["edges"].start)
    vectors = np.zeros((piece["capacity"], 3), dtype)
    vectors[:, 0] = 1.0
    vectors[: piece["capacity"] - missing] = graph.edges["vectors"][piece["edges"]]
    counts = piece["counts"].astype(np.int32)
    first = (np.cumsum(counts) - counts).astype(np.int32)
    place = np.arange(piece["width"], dtype=np.int32)
    slots = np.where(place < counts[:, None], first[:, None] + place, piece["capacity"]).astype(np.int32)
    return jraph.GraphsTuple(
        nodes={"species": species, "neighbours": counts, "first_edge": first, "slots": slots},
        edges={"vectors": vectors},
        senders=np.pad(graph.senders[piece["edges"]], (0, missing)).astype(np.int32),
        receivers=np.pad(graph.receivers[piece["edges"]], (0, missing)).astype(np.int32),
        globals=None,
        n_node=None,
        n_edge=None,
    )


@functools.partial(jax.jit, static_argnums=(0, 3))
def _embed(model: Equivar, params: dict, species, dtype):
    return model.apply(params, species, dtype, method="embed_species").array


@functools.partial(jax.jit, static_argnums=(0, 1))
def _interact(model: Equivar, layer: int, params: dict, table, start, graph):
    """Compute one interaction for the nodes of one piece; the layer tells which irreps the table has."""
    irreps = live_irreps(model.config, layer)
    own = jax.lax.dynamic_slice_in_dim(table, start, len(graph.nodes["neighbours"]))
    species = jax.lax.dynamic_slice_in_dim(graph.nodes["species"], start, len(own))
    features = Features(irreps, table), Features(irreps, own)
    edges = model.apply(params, graph, method="embed_edges")
    return model.apply(params, layer, *features, edges, species, method="interact").array


@functools.partial(jax.jit, static_argnums=0)
def _read_out(model: Equivar, params: dict, array, species):
    features = Features(live_irreps(model.config, model.config.interactions), array)
    return model.apply(params, features, species, method="read_out")


@functools.partial(jax.jit, static_argnums=0)
def _distances(model: Equivar, array, species, known: Known):
    features = Features(live_irreps(model.config, model.config.interactions), array)
    return distances(features, species, known)


@functools.partial(jax.jit, donate_argnums=0)
def _overwrite_rows(table, rows, start):
    return jax.lax.dynamic_update_slice_in_dim(table, rows, start, 0)


def _place_rows(table, rows, start: int, nodes: int):
    """Put rows into the next table from row `start` on; where there is no table yet, make one of zeros."""
    if table is None:
        table = jnp.zeros((nodes, *rows.shape[1:]), rows.dtype)
    return _overwrite_rows(table, rows, start)
