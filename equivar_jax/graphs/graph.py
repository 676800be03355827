"""The graph of a structure: every periodic image of an atom within the cutoff gives an edge."""

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float
from matscipy.neighbours import neighbour_list

from equivar_jax.errors import InputError
from equivar_jax.structures import check_structure, source

if TYPE_CHECKING:  # jraph imports JAX
    import jraph

SHORTEST_DISTANCE = 0.1
"""Shortest accepted distance in Å; two atoms that are closer are the same atom written twice."""


def build_graph(atoms: Atoms, cutoff: float) -> "jraph.GraphsTuple":
    """Build the graph of a structure, in which every atom has its neighbours within the cutoff.

    Periodic images are neighbours, those of the atom itself too. Edges point from the neighbour j (sender) to
    the central atom i (receiver) and carry `r = x_j + S @ cell - x_i`; they are sorted by receiver. Any cell
    and any `pbc` will do, also those of molecules.

    Args:
        atoms: The structure; `atoms.info["charge"]`, if present, is the net charge of the cell in e.
        cutoff: Largest edge length in Å.

    Returns:
        A GraphsTuple of one graph, in NumPy: `nodes["species"]` int32 [N] atomic numbers; `edges["vectors"]`
        float64 [E, 3] in Å; `globals["charge"]` float64 [1] in e; `senders`, `receivers` int32 [E].

    Raises:
        InputError: The structure is not usable (see `check_structure`), or two atoms are at the same place.
    """
    import jraph  # imports JAX, which one may not need

    check_structure(atoms)
    positions, cell = _put_in_box(atoms)
    receivers, senders, vectors = neighbour_list(
        "ijD", positions=positions, cell=cell, pbc=atoms.pbc, cutoff=float(cutoff)
    )
    order = np.argsort(receivers, kind="stable")
    receivers, senders, vectors = receivers[order], senders[order], vectors[order]
    lengths = np.linalg.norm(vectors, axis=1)
    if len(lengths) and lengths.min() < SHORTEST_DISTANCE:
        closest = int(np.argmin(lengths))
        raise InputError(
            f"{source(atoms)}: atoms {receivers[closest]} and {senders[closest]} are "
            f"{lengths[closest]:.3g} Å apart; remove the duplicate"
        )
    return jraph.GraphsTuple(
        nodes={"species": atoms.numbers.astype(np.int32)},
        edges={"vectors": vectors.reshape(-1, 3).astype(np.float64)},
        globals={"charge": np.array([atoms.info.get("charge", 0.0)], dtype=np.float64)},
        senders=senders.astype(np.int32),
        receivers=receivers.astype(np.int32),
        n_node=np.array([len(atoms)], dtype=np.int32),
        n_edge=np.array([len(receivers)], dtype=np.int32),
    )


def neighbour_counts(graph: "jraph.GraphsTuple") -> np.ndarray:
    """Return the number of neighbours of every node, int64 [N]."""
    return np.bincount(graph.receivers, minlength=len(graph.nodes["species"]))


def _put_in_box(atoms: Atoms) -> tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, "3 3"]]:
    """Make a cell of full rank that contains every atom along the directions that are not periodic.

    The neighbour search sorts atoms into the cell, but a molecule may have no cell, and atoms of a slab may
    lie outside it.

    Returns:
        Positions, shifted into the cell along these directions, and the cell, both in Å.
    """
    cell = atoms.cell.complete().array.copy()
    if atoms.pbc.all():
        return atoms.positions, cell
    for axis in np.flatnonzero(~atoms.pbc):
        # Perpendicular to the other two, so that its length changes nothing along them.
        normal = np.cross(cell[axis - 2], cell[axis - 1])
        normal /= np.linalg.norm(normal)
        cell[axis] = normal * (np.ptp(atoms.positions @ normal) + 1.0)
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T
    lowest = np.where(atoms.pbc, 0.0, fractional.min(axis=0) - 0.5 / np.linalg.norm(cell, axis=1))
    return atoms.positions - lowest @ cell, cell
