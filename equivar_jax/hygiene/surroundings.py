"""The neighbours of every atom, from which fingerprints and expected antisymmetric parts are made."""

from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equivar_jax.graphs.graph import build_graph

RADIUS = 5.0
"""In Å; an atom farther away is not a neighbour."""


@dataclass(frozen=True)
class Surroundings:
    """All neighbours within `RADIUS` of every atom, periodic images included, sorted by the central atom."""

    numbers: Int[np.ndarray, " atoms"]
    centres: Int[np.ndarray, " pairs"]
    neighbours: Int[np.ndarray, " pairs"]
    lengths: Float[np.ndarray, " pairs"]
    """Distances in Å."""
    directions: Float[np.ndarray, "pairs 3"]
    """Unit vectors from the centre to the neighbour."""

    def sum(self, values: Float[np.ndarray, "pairs *rest"]) -> Float[np.ndarray, "atoms *rest"]:
        """Sum a quantity of each pair over the neighbours of each atom."""
        total = np.zeros((len(self.numbers), *values.shape[1:]))
        if len(values):
            starts = np.searchsorted(self.centres, np.arange(len(self.numbers)))
            there = np.bincount(self.centres, minlength=len(self.numbers)) > 0
            total[there] = np.add.reduceat(values, starts[there])
        return total


def find_surroundings(atoms: Atoms) -> Surroundings:
    """Find the neighbours of every atom of a structure.

    Raises:
        InputError: `build_graph` refuses the structure, for example because two atoms are at one place.
    """
    graph = build_graph(atoms, RADIUS)
    vectors = graph.edges["vectors"]
    lengths = np.linalg.norm(vectors, axis=1)
    return Surroundings(
        graph.nodes["species"].astype(np.int64),
        graph.receivers.astype(np.int64),
        graph.senders.astype(np.int64),
        lengths,
        vectors / lengths[:, None],
    )
