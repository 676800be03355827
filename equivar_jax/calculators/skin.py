"""`SkinList`: neighbours along a trajectory, searched again once an atom has moved more than half a skin."""

import math
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import SHORTEST_DISTANCE, StructureGraph, find_neighbours
from equivar_jax.structures import check_structure


@dataclass(frozen=True)
class _Search:
    """Result of a neighbour search, with the structure that was searched."""

    atoms: Atoms
    graph: StructureGraph
    """All edges up to cutoff + skin."""
    offsets: Float[np.ndarray, "edges 3"]
    """The lattice vector `S @ cell` of every edge in Å."""


class SkinList:
    """Neighbour list with a skin: makes the graphs of a moving structure with few searches.

    A search finds all pairs up to cutoff + skin (Verlet, Phys. Rev. 159, 98 (1967)). While no atom has
    moved more than skin/2 since the search, no other pair can have come within the cutoff, so the edges are
    those of the found pairs with `r = x_j + S @ cell - x_i` shorter than the cutoff. A change of cell,
    `pbc` or species leads to a new search, and so do atoms that were wrapped back into the cell.

    Args:
        cutoff: Largest edge length in Å.
        skin: In Å. A wider skin needs fewer searches, but has more pairs to measure at every call.

    Raises:
        InputError: the skin is negative or not finite.
    """

    def __init__(self, cutoff: float, skin: float):
        if not (math.isfinite(skin) and skin >= 0):
            raise InputError(f"a skin of {skin} Å is not possible; give zero or more, such as 1.0")
        self.cutoff = cutoff
        self.skin = skin
        self.searches = 0
        """Number of searches so far."""
        self._last: _Search | None = None

    def graph(self, atoms: Atoms) -> StructureGraph:
        """Make the graph of the structure as it is now.

        Args:
            atoms: The structure; see `find_neighbours`.

        Returns:
            What `find_neighbours(atoms, cutoff)` returns; the edges of an atom may come in another order.

        Raises:
            InputError: `find_neighbours` refuses the structure.
        """
        check_structure(atoms)
        search = self._last
        if search is None or not self._is_valid(search, atoms):
            search = self._last = self._search(atoms)
        graph, positions = search.graph, atoms.positions
        vectors = positions[graph.senders] - positions[graph.receivers] + search.offsets
        squares = np.einsum("ea,ea->e", vectors, vectors)
        if squares.min(initial=np.inf) < SHORTEST_DISTANCE**2:
            find_neighbours(atoms, self.cutoff)  # raises an error that names the atoms
        within = np.flatnonzero(squares < self.cutoff**2)
        return graph._replace(
            edges={"vectors": vectors[within]},
            globals={"charge": np.array([atoms.info.get("charge", 0.0)], dtype=np.float64)},
            senders=graph.senders[within],
            receivers=graph.receivers[within],
            n_edge=np.array([len(within)], dtype=np.int32),
        )

    def _is_valid(self, search: _Search, atoms: Atoms) -> bool:
        """Return whether a search still has all pairs that can be within the cutoff."""
        before = search.atoms
        if not (
            np.array_equal(before.numbers, atoms.numbers)
            and np.array_equal(before.cell.array, atoms.cell.array)
            and np.array_equal(before.pbc, atoms.pbc)
        ):
            return False
        moved = np.linalg.norm(atoms.positions - before.positions, axis=1)
        return bool(moved.max() <= self.skin / 2)

    def _search(self, atoms: Atoms) -> _Search:
        """Find all pairs up to cutoff + skin, and count the search."""
        graph = find_neighbours(atoms, self.cutoff + self.skin)
        self.searches += 1
        within_cell = atoms.positions[graph.senders] - atoms.positions[graph.receivers]
        return _Search(atoms.copy(), graph, graph.edges["vectors"] - within_cell)
