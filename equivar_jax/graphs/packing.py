"""Choice of the shapes of batches and of the structures in each: a few shapes, with little padding.

For kernels that read a dense layout, structures are sorted into a few buckets by their largest neighbour
count, which is the width of that layout; for other kernels one shape serves all structures.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from equivar_jax.graphs.graph import AnyGraph, neighbour_counts

NODE_MULTIPLE = 8
"""The nodes of a batch are a multiple of this."""
EDGE_MULTIPLE = 32
"""The edges of a batch are a multiple of this."""
OPEN_BATCHES = 8
"""Batches that are filled at the same time: small structures find room where a large one left some."""
ROOM = 1.05
"""Size of a batch relative to its average content; at 1 a few structures would always need one batch more."""
MAX_BUCKETS = 3
"""Largest number of buckets."""
WORTHWHILE_SAVING = 0.1
"""Share of the edge slots that one more bucket, which costs one more compilation, must save."""


@dataclass(frozen=True)
class Budget:
    """The shape of a batch: nodes, edges and graphs, padding included, and edge slots for each node."""

    nodes: int
    edges: int
    neighbours: int
    """Edge slots of a node; zero for kernels that need no slots (see `equivar_jax.kernels.needs_slots`)."""
    graphs: int


class GraphSizes(NamedTuple):
    """Sizes of many graphs: what planning and packing of batches need to know."""

    atoms: Int[np.ndarray, " graphs"]
    edges: Int[np.ndarray, " graphs"]
    degrees: Int[np.ndarray, " graphs"]
    """Largest neighbour count of each graph."""

    @classmethod
    def of(cls, graphs: Iterable[AnyGraph]) -> "GraphSizes":
        """Measure single-structure graphs that are in memory."""
        counts = [neighbour_counts(graph) for graph in graphs]
        measured = [(len(count), count.sum(), count.max(initial=0)) for count in counts]
        return cls(*np.array(measured, np.int64).reshape(-1, 3).T)

    def join(self, other: "GraphSizes") -> "GraphSizes":
        """Return the sizes of these graphs followed by those of the others."""
        return GraphSizes(*map(np.concatenate, zip(self, other, strict=True)))


def plan_budgets(sizes: GraphSizes, batch_size: int, dense: bool = True) -> tuple[Budget, ...]:
    """Choose a few shapes of batches that hold every graph and need little padding.

    Args:
        sizes: Sizes of graphs of one structure each.
        batch_size: Number of structures of average size in a batch.
        dense: Plan slots, in up to `MAX_BUCKETS` widths; otherwise one shape serves all.

    Returns:
        Budgets in rising order of `neighbours`; a graph belongs to the first one that holds it.
    """
    degrees = np.maximum(sizes.degrees, 1)
    budgets, lower = [], 0
    for limit in _degree_limits(degrees, sizes.atoms) if dense else [int(degrees.max())]:
        members = (degrees > lower) & (degrees <= limit)
        atoms, edges = sizes.atoms[members], sizes.edges[members]
        most_atoms = max(int(atoms.max()), round(ROOM * batch_size * float(atoms.mean())))
        most_edges = max(int(edges.max()), round(ROOM * batch_size * float(edges.mean())))
        most_graphs = min(len(atoms), most_atoms // int(atoms.min()))
        nodes = round_up(most_atoms + 1, NODE_MULTIPLE)
        width = limit if dense else 0
        budgets.append(Budget(nodes, round_up(most_edges, EDGE_MULTIPLE), width, most_graphs + 1))
        lower = limit
    return tuple(budgets)


def round_up(number: int, multiple: int) -> int:
    """Round up to a multiple, at least one of it."""
    return -(-max(number, 1) // multiple) * multiple


def _degree_limits(degrees: Int[np.ndarray, " graphs"], counts: Int[np.ndarray, " graphs"]) -> list[int]:
    """Choose the largest neighbour count of each bucket so that all edge slots together are fewest.

    This cuts the sorted counts into a few intervals.
    """
    values, value_of = np.unique(np.maximum(degrees, 1), return_inverse=True)
    atoms_below = np.concatenate([[0], np.cumsum(np.bincount(value_of, weights=counts))])
    limits = [int(value) for value in values]

    def slots(first: int, last: int) -> float:
        """Count the edge slots of a bucket for the neighbour counts number `first` to `last`."""
        return (atoms_below[last + 1] - atoms_below[first]) * limits[last]

    # best[k]: slots and limits of the best buckets for the values 0 to k, with one more bucket each round.
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
    """Return the index of the first budget that holds each graph.

    Raises:
        ValueError: A graph is larger than every budget.
    """
    chosen = np.full(len(sizes.atoms), len(budgets))
    for index, budget in reversed(list(enumerate(budgets))):
        fits = (sizes.edges <= budget.edges) & (sizes.atoms < budget.nodes)
        chosen[fits & ((sizes.degrees <= budget.neighbours) | (budget.neighbours == 0))] = index
    if len(chosen) and chosen.max() == len(budgets):
        worst = int(np.argmax(chosen))
        raise ValueError(
            f"no budget holds {sizes.atoms[worst]} atoms and {sizes.edges[worst]} edges, up to "
            f"{sizes.degrees[worst]} of one atom; make the budgets from the sizes of all graphs"
        )
    return chosen


def pack(sizes: GraphSizes, budgets: Sequence[Budget], order: Iterable[int]) -> list[tuple[int, list[int]]]:
    """Distribute graphs over batches.

    Each graph, in the given order, goes into the first batch that has room, of a few that are open at a time.

    Args:
        sizes: Sizes of the graphs.
        budgets: Shapes of the batches.
        order: Indices of the graphs.

    Returns:
        (budget index, graph indices) of each batch; every graph is in exactly one.
    """
    done: list[tuple[int, list[int]]] = []
    open_batches: list[list[_OpenBatch]] = [[] for _ in budgets]
    buckets = assign_budgets(sizes, budgets).tolist()
    atoms, edges = sizes.atoms.tolist(), sizes.edges.tolist()
    for index in order:
        bucket = buckets[index]
        budget, candidates = budgets[bucket], open_batches[bucket]
        batch = next((b for b in candidates if b.has_room(atoms[index], edges[index], budget)), None)
        if batch is None:
            if len(candidates) == OPEN_BATCHES:
                fullest = max(candidates, key=lambda b: max(b.atoms / budget.nodes, b.edges / budget.edges))
                candidates.remove(fullest)
                done.append((bucket, fullest.members))
            batch = _OpenBatch([])
            candidates.append(batch)
        batch.members.append(index)
        batch.atoms += atoms[index]
        batch.edges += edges[index]
    return done + [(bucket, batch.members) for bucket, left in enumerate(open_batches) for batch in left]


@dataclass
class _OpenBatch:
    """A batch that is being filled."""

    members: list[int]
    atoms: int = 0
    edges: int = 0

    def has_room(self, atoms: int, edges: int, budget: Budget) -> bool:
        """Return whether another graph of that size fits; one node and one graph are kept for padding."""
        return (
            self.atoms + atoms < budget.nodes
            and self.edges + edges <= budget.edges
            and len(self.members) < budget.graphs - 1
        )


def epoch_batches(
    sizes: GraphSizes, budgets: Sequence[Budget], seed: int, epoch: int
) -> list[tuple[int, list[int]]]:
    """Shuffle the graphs of an epoch into batches.

    The result depends on nothing but sizes, budgets, seed and epoch, so that a run can be resumed.

    Returns:
        (budget index, graph indices) of each batch, as from `pack`.
    """
    rng = np.random.default_rng([seed, epoch])
    batches = pack(sizes, budgets, rng.permutation(len(sizes.atoms)).tolist())
    return [batches[k] for k in rng.permutation(len(batches))]


def edge_fill(sizes: GraphSizes, budgets: Sequence[Budget]) -> float:
    """Return the padding efficiency: the share of the edges of an epoch's batches that are not padding."""
    batches = pack(sizes, budgets, range(len(sizes.atoms)))
    return int(sizes.edges.sum()) / sum(budgets[bucket].edges for bucket, _ in batches)
