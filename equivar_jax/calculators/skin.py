"""Neighbours along a trajectory: searched again only when an atom has moved more than half a skin."""

import math
from dataclasses import dataclass

import jraph
import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import SHORTEST_DISTANCE, build_graph
from equivar_jax.structures import check_structure


@dataclass(frozen=True)
class _Search:
    """What a search found, and the structure for which it holds."""

    atoms: Atoms
    graph: jraph.GraphsTuple
    """All edges up to cutoff + skin."""
    offsets: Float[np.ndarray, "edges 3"]
    """The lattice vector `S @ cell` of every edge in Å."""


class SkinList:
    """The graph of a moving structure, as `build_graph(atoms, cutoff)` makes it.

    A search finds all pairs up to cutoff + skin (Verlet, Phys. Rev. 159, 98 (1967)). While no atom has moved
    more than skin/2 from where it was then, no pair outside has come within the cutoff, so the edges are the
    found ones with `r = x_j + S @ cell - x_i` below the cutoff. Another cell, `pbc` or species, or atoms
    wrapped back into the cell, make it search again.

    Args:
        cutoff: Largest edge length in Å.
        skin: In Å; a wide one is searched for less often, but has more pairs to measure at every call.

    Raises:
        InputError: a skin that is negative or not finite.
    """

    def __init__(self, cutoff: float, skin: float):
        if not (math.isfinite(skin) and skin >= 0):
            raise InputError(f"a skin of {skin} Å; give zero or more, such as 1.0")
        self.cutoff = cutoff
        self.skin = skin
        self.searches = 0
        """How many searches there have been."""
        self._search: _Search | None = None

    def graph(self, atoms: Atoms) -> jraph.GraphsTuple:
        """The graph of the structure as it is now.

        Args:
            atoms: The structure; see `build_graph`.

        Returns:
            As of `build_graph`; the edges of an atom may come in another order.

        Raises:
            InputError: what `build_graph` refuses.
        """
        check_structure(atoms)
        search = self._search
        if search is None or not self._holds(search, atoms):
            search = self._search = self._searched(atoms)
        graph, positions = search.graph, atoms.positions
        vectors = positions[graph.senders] - positions[graph.receivers] + search.offsets
        squares = np.einsum("ea,ea->e", vectors, vectors)
        if squares.min(initial=np.inf) < SHORTEST_DISTANCE**2:
            build_graph(atoms, self.cutoff)  # says which atoms are too close
        within = np.flatnonzero(squares < self.cutoff**2)
        return graph._replace(
            edges={"vectors": vectors[within]},
            globals={"charge": np.array([atoms.info.get("charge", 0.0)], dtype=np.float64)},
            senders=graph.senders[within],
            receivers=graph.receivers[within],
            n_edge=np.array([len(within)], dtype=np.int32),
        )

    def _holds(self, search: _Search, atoms: Atoms) -> bool:
        """Whether no pair can have come within the cutoff that the search has not found."""
        before = search.atoms
        if not (
            np.array_equal(before.numbers, atoms.numbers)
            and np.array_equal(before.cell.array, atoms.cell.array)
            and np.array_equal(before.pbc, atoms.pbc)
        ):
            return False
        moved = np.linalg.norm(atoms.positions - before.positions, axis=1)
        return bool(moved.max() <= self.skin / 2)

    def _searched(self, atoms: Atoms) -> _Search:
        graph = build_graph(atoms, self.cutoff + self.skin)
        self.searches += 1
        within_cell = atoms.positions[graph.senders] - atoms.positions[graph.receivers]
        return _Search(atoms.copy(), graph, graph.edges["vectors"] - within_cell)
