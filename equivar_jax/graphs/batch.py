"""Padded batches of graphs in a few fixed shapes, so that the network is compiled once for each shape.

Edges are sorted by receiver, so that the edges of a node lie together, and padded to a fixed number. For
kernels that read a dense layout, a table of slots says which edges belong to each node. Everything here is
NumPy.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float, Int

from equivar_jax.graphs.graph import AnyGraph, find_neighbours, neighbour_counts
from equivar_jax.graphs.packing import Budget

if TYPE_CHECKING:  # jraph imports JAX
    import jraph

T = TypeVar("T")
U = TypeVar("U")


class Sample(NamedTuple):
    """One structure, ready for batching."""

    graph: AnyGraph
    tensors: Float[np.ndarray, "atoms 3 3"] | None
    """Label: Born effective charges [atom, field, displacement] in e, or None for prediction."""
    dielectric: Float[np.ndarray, "3 3"] | None = None
    """Label: the electronic dielectric tensor, or None if there is none."""


class Batch(NamedTuple):
    """One padded batch. The last graph is padding; its nodes have species 0 and no atom as a neighbour."""

    graph: "jraph.GraphsTuple"
    tensors: Float[np.ndarray, "nodes 3 3"]
    """Labels [node, field, displacement] in e; zero for padding."""
    node_mask: Bool[np.ndarray, " nodes"]
    """True for atoms, False for padding."""
    dielectric: Float[np.ndarray, "graphs 3 3"]
    """Labels: electronic dielectric tensors; the identity, that of vacuum, where there is no label."""
    dielectric_mask: Bool[np.ndarray, " graphs"]
    """True for structures that have a label of the dielectric tensor."""


def collate(samples: Sequence[Sample], budget: Budget, dtype: type[np.floating] = np.float32) -> Batch:
    """Join structures into one batch of the budget's shape.

    Args:
        samples: Structures whose atoms and edges fit into the budget; none gives a batch of padding.
        budget: The shape.
        dtype: Precision of vectors and labels.

    Returns:
        The batch; see `equivar_jax.network.Equivar` for its graph. Padding edges have length one and lead
        from the last node, which is padding, to itself.
    """
    import jraph  # imports JAX, which one may not need

    batched = jraph.batch_np([sample.graph for sample in samples]) if samples else _nothing()
    atoms, edges = len(batched.nodes["species"]), len(batched.senders)
    counts = np.bincount(batched.receivers, minlength=budget.nodes).astype(np.int32)
    vectors = np.zeros((budget.edges, 3), dtype)
    vectors[:, 0] = 1.0
    vectors[:edges] = batched.edges["vectors"]
    padding = (0, budget.edges - edges)
    n_node, n_edge = np.zeros((2, budget.graphs), np.int32)
    n_node[: len(samples)], n_edge[: len(samples)] = batched.n_node, batched.n_edge
    n_node[-1], n_edge[-1] = budget.nodes - atoms, budget.edges - edges
    tensors = np.zeros((budget.nodes, 3, 3), dtype)
    labels = [sample.tensors for sample in samples if sample.tensors is not None]
    if labels and len(labels) == len(samples):
        tensors[:atoms] = np.concatenate(labels)
    dielectric = np.tile(np.eye(3, dtype=dtype), (budget.graphs, 1, 1))
    dielectric_mask = np.zeros(budget.graphs, bool)
    for place, sample in enumerate(samples):
        if sample.dielectric is not None:
            dielectric[place], dielectric_mask[place] = sample.dielectric, True
    graph = jraph.GraphsTuple(
        nodes={
            "species": np.pad(batched.nodes["species"], (0, budget.nodes - atoms)),
            "first_edge": (np.cumsum(counts) - counts).astype(np.int32),
            "neighbours": counts,
            "slots": _make_slots(counts, budget),
        },
        edges={"vectors": vectors},
        globals={
            "charge": np.pad(batched.globals["charge"], (0, budget.graphs - len(samples))).astype(dtype)
        },
        senders=np.pad(batched.senders.astype(np.int32), padding, constant_values=budget.nodes - 1),
        receivers=np.pad(batched.receivers.astype(np.int32), padding, constant_values=budget.nodes - 1),
        n_node=n_node,
        n_edge=n_edge,
    )
    return Batch(graph, tensors, np.arange(budget.nodes) < atoms, dielectric, dielectric_mask)


def _nothing() -> "jraph.GraphsTuple":
    """Return a graph without nodes."""
    import jraph

    none = np.zeros(0, np.int32)
    return jraph.GraphsTuple(
        nodes={"species": none},
        edges={"vectors": np.zeros((0, 3))},
        globals={"charge": np.zeros(0)},
        senders=none,
        receivers=none,
        n_node=none,
        n_edge=none,
    )


def _make_slots(counts: Int[np.ndarray, " nodes"], budget: Budget) -> Int[np.ndarray, "nodes neighbours"]:
    """List the edges of every node; unused slots hold `budget.edges`, which is no edge."""
    place = np.arange(budget.neighbours, dtype=np.int32)
    first = (np.cumsum(counts) - counts)[:, None]
    return np.where(place < counts[:, None], first + place, budget.edges).astype(np.int32)


def graph_of(atoms: Atoms, cutoff: float, dtype: type[np.floating] = np.float32) -> "jraph.GraphsTuple":
    """Build the graph of one structure in the form that the network reads, without padding.

    Args:
        atoms: The structure.
        cutoff: Cutoff of the network, in Å.
        dtype: Precision of the edge vectors.

    Raises:
        InputError: No graph can be built from the structure (see `equivar_jax.graphs.graph.find_neighbours`).
    """
    graph = find_neighbours(atoms, cutoff)
    budget = Budget(len(atoms), len(graph.senders), int(neighbour_counts(graph).max(initial=0)), 2)
    padded = collate([Sample(graph, None)], budget, dtype).graph
    return padded._replace(
        n_node=padded.n_node[:1], n_edge=padded.n_edge[:1], globals={"charge": padded.globals["charge"][:1]}
    )


def prefetch(make: Callable[[T], U], items: Sequence[T], ahead: int = 2) -> Iterator[U]:
    """Make batches in a background thread and yield them in order.

    Args:
        make: Makes a batch from an item.
        items: The items, one for each batch.
        ahead: How many batches may be made before they are asked for.

    Raises:
        Exception: Whatever `make` raises, when the iteration comes to that item.
    """
    ready: queue.Queue[tuple[U | None, BaseException | None] | None] = queue.Queue(maxsize=ahead)
    stop = threading.Event()

    def put(entry: tuple[U | None, BaseException | None] | None) -> None:
        while not stop.is_set():
            with contextlib.suppress(queue.Full):
                ready.put(entry, timeout=0.1)
                return

    def work() -> None:
        try:
            for item in items:
                put((make(item), None))
                if stop.is_set():
                    return
            put(None)
        except BaseException as error:  # handed to the consumer, which raises it
            put((None, error))

    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    try:
        while (entry := ready.get()) is not None:
            made, error = entry
            if error is not None:
                raise error
            yield cast(U, made)
    finally:
        stop.set()
        worker.join()
