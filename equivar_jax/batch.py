"""Graphs -> padded batches of a few fixed shapes, so that each shape compiles once.

Batches are dense: node i owns the edge slots `i K ... i K + K - 1`, filled from the front with its
neighbours. A sum over neighbours is then a reduction over an axis, with no scatter. Structures are sorted
into a few buckets by their largest neighbour count, which sets K. Everything here is NumPy.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

import jraph
import numpy as np
from ase import Atoms
from jaxtyping import Bool, Float, Int

from equivar_jax.graph import build_graph, neighbour_counts

T = TypeVar("T")
U = TypeVar("U")
NODE_MULTIPLE = 8
MAX_BUCKETS = 3
WORTHWHILE_SAVING = 0.1  # share of edge slots that another bucket, another compilation, must save


@dataclass(frozen=True)
class Budget:
    """The shape of a batch: nodes and graphs, padding included, and edge slots per node."""

    nodes: int
    neighbours: int
    graphs: int


class Sample(NamedTuple):
    """One structure ready for batching."""

    graph: jraph.GraphsTuple
    tensors: Float[np.ndarray, "atoms 3 3"] | None
    """Label [atom, field, displacement] in e, or None for prediction."""


class GraphSizes(NamedTuple):
    """What planning and packing need to know of many graphs."""

    atoms: Int[np.ndarray, " graphs"]
    edges: Int[np.ndarray, " graphs"]
    degrees: Int[np.ndarray, " graphs"]
    """Largest neighbour count of each graph."""

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> "GraphSizes":
        """Measure samples that are in memory."""
        counts = [neighbour_counts(sample.graph) for sample in samples]
        measured = [(len(count), count.sum(), count.max(initial=0)) for count in counts]
        return cls(*np.array(measured, np.int64).reshape(-1, 3).T)

    def joined(self, other: "GraphSizes") -> "GraphSizes":
        """The graphs of both."""
        return GraphSizes(*map(np.concatenate, zip(self, other, strict=True)))


class Batch(NamedTuple):
    """One padded batch. The last graph is padding; its nodes have species 0 and no edges."""

    graph: jraph.GraphsTuple
    tensors: Float[np.ndarray, "nodes 3 3"]
    """Labels [node, field, displacement] in e; zero for padding."""
    node_mask: Bool[np.ndarray, " nodes"]
    """True for atoms, False for padding."""


def plan_budgets(sizes: GraphSizes, batch_size: int) -> tuple[Budget, ...]:
    """A few shapes that hold every graph, chosen to waste few edge slots.

    Args:
        sizes: Of single-structure graphs.
        batch_size: Structures of average size in a batch.

    Returns:
        Budgets in rising order of `neighbours`; a graph belongs to the first that holds its largest
        neighbour count.
    """
    degrees = np.maximum(sizes.degrees, 1)
    budgets, lower = [], 0
    for limit in _degree_limits(degrees, sizes.atoms):
        members = sizes.atoms[(degrees > lower) & (degrees <= limit)]
        atoms = max(int(members.max()), round(batch_size * float(members.mean())))
        nodes = -(-(atoms + 1) // NODE_MULTIPLE) * NODE_MULTIPLE
        most_graphs = min(len(members), atoms // int(members.min()))
        budgets.append(Budget(nodes, limit, most_graphs + 1))
        lower = limit
    return tuple(budgets)


def _degree_limits(degrees: Int[np.ndarray, " graphs"], counts: Int[np.ndarray, " graphs"]) -> list[int]:
    """Largest neighbour count of each bucket: the cheapest cut of the sorted counts into a few intervals."""
    values, value_of = np.unique(np.maximum(degrees, 1), return_inverse=True)
    atoms_below = np.concatenate([[0], np.cumsum(np.bincount(value_of, weights=counts))])
    limits = [int(value) for value in values]

    def slots(first: int, last: int) -> float:
        """Edge slots of one bucket that holds the values `first` to `last`."""
        return (atoms_below[last + 1] - atoms_below[first]) * limits[last]

    # best[k]: cost and limits of the cheapest buckets for the values 0 to k, with one more bucket each round.
    best = [(slots(0, k), [limits[k]]) for k in range(len(limits))]
    chosen = best[-1]
    for _ in range(MAX_BUCKETS - 1):
        best = [
            min([best[k], *((best[j][0] + slots(j + 1, k), [*best[j][1], limits[k]]) for j in range(k))])
            for k in range(len(limits))
        ]
        if best[-1][0] > (1 - WORTHWHILE_SAVING) * chosen[0]:
            break
        chosen = best[-1]
    return chosen[1]


def assign_budgets(sizes: GraphSizes, budgets: Sequence[Budget]) -> Int[np.ndarray, " graphs"]:
    """Index of the first budget that holds each graph.

    Raises:
        ValueError: a graph is larger than every budget.
    """
    chosen = np.full(len(sizes.atoms), len(budgets))
    for index, budget in reversed(list(enumerate(budgets))):
        chosen[(sizes.degrees <= budget.neighbours) & (sizes.atoms < budget.nodes)] = index
    if len(chosen) and chosen.max() == len(budgets):
        worst = int(np.argmax(chosen))
        atoms, degree = sizes.atoms[worst], sizes.degrees[worst]
        raise ValueError(f"no budget holds {atoms} atoms with up to {degree} neighbours; plan for all graphs")
    return chosen


def pack(sizes: GraphSizes, budgets: Sequence[Budget], order: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Fill batches greedily in the given order.

    Returns:
        (budget index, sample indices) of each batch, every sample exactly once.
    """
    batches: list[tuple[int, list[int]]] = []
    open_batches: dict[int, tuple[list[int], int]] = {}
    buckets, counts = assign_budgets(sizes, budgets).tolist(), sizes.atoms.tolist()
    for index in order:
        bucket, size = buckets[index], counts[index]
        members, atoms = open_batches.get(bucket, ([], 0))
        if members and (atoms + size >= budgets[bucket].nodes or len(members) >= budgets[bucket].graphs - 1):
            batches.append((bucket, members))
            members, atoms = [], 0
        open_batches[bucket] = ([*members, index], atoms + size)
    return batches + [(bucket, members) for bucket, (members, _) in open_batches.items()]


def collate(samples: Sequence[Sample], budget: Budget, dtype: type[np.floating] = np.float32) -> Batch:
    """Join structures into one dense batch of the budget's shape.

    Args:
        samples: Structures whose atoms fit into `budget.nodes`.
        budget: The shape.
        dtype: Precision of vectors and labels.

    Returns:
        The batch; edge slots without an edge have a vector of length one and point at their own node.
    """
    joined = jraph.batch_np([sample.graph for sample in samples])
    atoms, nodes, neighbours = int(joined.n_node.sum()), budget.nodes, budget.neighbours

    counts = np.bincount(joined.receivers, minlength=nodes)
    first_edge = np.concatenate([[0], np.cumsum(counts)[:-1]])
    slots = joined.receivers * neighbours + np.arange(len(joined.receivers)) - first_edge[joined.receivers]
    receivers = np.repeat(np.arange(nodes, dtype=np.int32), neighbours)
    senders = receivers.copy()
    senders[slots] = joined.senders
    vectors = np.zeros((nodes * neighbours, 3), dtype)
    vectors[:, 0] = 1.0
    vectors[slots] = joined.edges["vectors"]
    edge_mask = np.zeros(nodes * neighbours, bool)
    edge_mask[slots] = True

    n_node = np.zeros(budget.graphs, np.int32)
    n_node[: len(samples)] = joined.n_node
    n_node[-1] = nodes - atoms
    tensors = np.zeros((nodes, 3, 3), dtype)
    labels = [sample.tensors for sample in samples if sample.tensors is not None]
    if len(labels) == len(samples):
        tensors[:atoms] = np.concatenate(labels)
    graph = jraph.GraphsTuple(
        nodes={"species": np.pad(joined.nodes["species"], (0, nodes - atoms))},
        edges={"vectors": vectors, "mask": edge_mask},
        globals={"charge": np.pad(joined.globals["charge"], (0, budget.graphs - len(samples))).astype(dtype)},
        senders=senders,
        receivers=receivers,
        n_node=n_node,
        n_edge=n_node * neighbours,
    )
    return Batch(graph, tensors, np.arange(nodes) < atoms)


def dense_graph(atoms: Atoms, cutoff: float, dtype: type[np.floating] = np.float32) -> jraph.GraphsTuple:
    """The graph of one structure in the layout that the network reads, without a padding node.

    Args:
        atoms: The structure.
        cutoff: Of the network, in Å.
        dtype: Precision of the edge vectors.

    Raises:
        InputError: what `equivar_jax.graph.build_graph` refuses.
    """
    graph = build_graph(atoms, cutoff)
    neighbours = int(neighbour_counts(graph).max(initial=1))
    padded = collate([Sample(graph, None)], Budget(len(atoms), max(neighbours, 1), 2), dtype).graph
    return padded._replace(
        n_node=padded.n_node[:1], n_edge=padded.n_edge[:1], globals={"charge": padded.globals["charge"][:1]}
    )


def epoch_batches(
    sizes: GraphSizes, budgets: Sequence[Budget], seed: int, epoch: int
) -> list[tuple[int, list[int]]]:
    """The shuffled batches of an epoch, a pure function of (seed, epoch), so that a run can be resumed."""
    rng = np.random.default_rng([seed, epoch])
    batches = pack(sizes, budgets, rng.permutation(len(sizes.atoms)).tolist())
    return [batches[k] for k in rng.permutation(len(batches))]


def edge_fill(sizes: GraphSizes, budgets: Sequence[Budget]) -> float:
    """Padding efficiency: share of edge slots of an epoch that hold an edge."""
    batches = pack(sizes, budgets, range(len(sizes.atoms)))
    slots = sum(budgets[bucket].nodes * budgets[bucket].neighbours for bucket, _ in batches)
    return int(sizes.edges.sum()) / slots


def prefetch(make: Callable[[T], U], items: Sequence[T], ahead: int = 2) -> Iterator[U]:
    """Make batches in a background thread, up to `ahead` of the one in use.

    Raises:
        Exception: whatever `make` raises, where the iteration has come to that item.
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
        except BaseException as error:  # handed to the consumer, who raises it
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
