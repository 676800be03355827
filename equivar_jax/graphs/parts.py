"""Division of a batch into parts, one for each device: of nearly equal work, all of one shape.

Which structures are in a batch does not depend on the number of devices, so neither do losses and steps.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from equivar_jax.graphs.packing import EDGE_MULTIPLE, NODE_MULTIPLE, Budget, GraphSizes, round_up

SPARE = 1.05
"""Size of a part relative to the largest that was met where it was planned."""


def divide(sizes: GraphSizes, members: Sequence[int], parts: int) -> list[list[int]]:
    """Divide the graphs of a batch: the largest first, each to the part that has the fewest edges so far.

    Args:
        sizes: Sizes of all graphs.
        members: Indices of the graphs of the batch.
        parts: Number of parts.

    Returns:
        Places in `members`, rising, for each part; a part is empty if there are fewer graphs than parts.
    """
    edges, atoms = sizes.edges[list(members)].tolist(), sizes.atoms[list(members)].tolist()
    found: list[list[int]] = [[] for _ in range(parts)]
    load = [(0, 0, part) for part in range(parts)]
    for place in sorted(range(len(members)), key=lambda k: (-edges[k], -atoms[k], k)):
        least_edges, its_atoms, part = min(load)
        found[part].append(place)
        load[part] = (least_edges + edges[place], its_atoms + atoms[place], part)
    return [sorted(part) for part in found]


def plan_parts(
    measured: Iterable[tuple[GraphSizes, Iterable[tuple[int, list[int]]]]],
    budgets: Sequence[Budget],
    parts: int,
) -> tuple[Budget, ...]:
    """Choose the usual shape of the parts of batches of each budget.

    Args:
        measured: Sets of graphs: their sizes, and batches of them to measure, (budget index, graph indices).
        budgets: Shapes of whole batches.
        parts: Number of parts of a batch.

    Returns:
        For each budget the shape that holds every part of the measured batches, with something to spare; it
        is never larger than that of the whole batch, into which any part fits.
    """
    largest = np.zeros((len(budgets), 3), int)
    for sizes, batches in measured:
        for bucket, members in batches:
            for part in divide(sizes, members, parts):
                largest[bucket] = np.maximum(largest[bucket], _measure(sizes, [members[k] for k in part]))
    planned = []
    for budget, (atoms, edges, graphs) in zip(budgets, largest.tolist(), strict=True):
        planned.append(
            Budget(
                nodes=min(budget.nodes, round_up(math.ceil(SPARE * atoms) + 1, NODE_MULTIPLE)),
                edges=min(budget.edges, round_up(math.ceil(SPARE * edges), EDGE_MULTIPLE)),
                neighbours=budget.neighbours,
                graphs=min(budget.graphs, math.ceil(SPARE * graphs) + 1),
            )
        )
    return tuple(planned)


def fits(sizes: GraphSizes, members: Sequence[int], budget: Budget) -> bool:
    """Return whether graphs fit together into a shape; a node and a graph are left for padding."""
    atoms, edges, graphs = _measure(sizes, members)
    return atoms < budget.nodes and edges <= budget.edges and graphs < budget.graphs


def _measure(sizes: GraphSizes, members: Sequence[int]) -> tuple[int, int, int]:
    """Count the atoms, edges and graphs of some graphs."""
    chosen = list(members)
    return int(sizes.atoms[chosen].sum()), int(sizes.edges[chosen].sum()), len(chosen)
