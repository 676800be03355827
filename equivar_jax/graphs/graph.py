"""The graph of a structure: every periodic image of an atom within the cutoff gives an edge."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equivar_jax.errors import InputError
from equivar_jax.kernels.neighbour_list import find_pairs
from equivar_jax.structures import check_structure, determinant, source

if TYPE_CHECKING:
    import jraph

SHORTEST_DISTANCE = 0.1
"""Shortest accepted distance in Å; two atoms that are closer are the same atom written twice."""
DENSEST = {1: 1.0, 2: 3**0.5 / 2, 3: 2**-0.5}
"""Length, area or volume for each point of the densest lattice whose points are a distance of one apart."""


class StructureGraph(NamedTuple):
    """The graph of one structure in NumPy, with the fields of `jraph.GraphsTuple` but without jraph and JAX.

    Edges point from the neighbour j (sender) to the central atom i (receiver) and carry
    `r = x_j + S @ cell - x_i`; they are sorted by receiver.
    """

    nodes: dict[str, np.ndarray]
    """"species" int32 [N]: atomic numbers."""
    edges: dict[str, np.ndarray]
    """"vectors" float64 [E, 3]: r in Å."""
    receivers: Int[np.ndarray, " edges"]
    """int32."""
    senders: Int[np.ndarray, " edges"]
    """int32."""
    globals: dict[str, np.ndarray]
    """"charge" float64 [1]: net charge of the cell in e."""
    n_node: Int[np.ndarray, " graphs"]
    """int32 [1]."""
    n_edge: Int[np.ndarray, " graphs"]
    """int32 [1]."""


AnyGraph = Any
"""A `StructureGraph` or a `jraph.GraphsTuple` of one structure; what reads one reads the other."""


def build_graph(atoms: Atoms, cutoff: float) -> "jraph.GraphsTuple":
    """Build the graph of a structure, in which every atom has its neighbours within the cutoff.

    Args:
        atoms: The structure; `atoms.info["charge"]`, if present, is the net charge of the cell in e.
        cutoff: Largest edge length in Å.

    Returns:
        A GraphsTuple of one graph, in NumPy, with the fields of `StructureGraph`.

    Raises:
        InputError: The structure is not usable (see `check_structure`), or two atoms are at the same place.
    """
    import jraph  # it brings JAX along, which who only predicts does not need

    return jraph.GraphsTuple(**find_neighbours(atoms, cutoff)._asdict())


def find_neighbours(atoms: Atoms, cutoff: float) -> StructureGraph:
    """Find the neighbours of every atom within the cutoff.

    Periodic images are neighbours, those of the atom itself too. Any cell and any `pbc` will do, also those
    of molecules.

    Args:
        atoms: The structure; `atoms.info["charge"]`, if present, is the net charge of the cell in e.
        cutoff: Largest edge length in Å.

    Raises:
        InputError: The structure is not usable (see `check_structure`), two atoms are at the same place, or
            the cell is too small for them.
    """
    check_structure(atoms)
    _check_density(atoms)
    positions, cell = _put_in_box(atoms)
    receivers, senders, vectors = find_pairs(positions, cell, atoms.pbc, cutoff)
    squares = np.einsum("ea,ea->e", vectors, vectors)
    if squares.min(initial=np.inf) < SHORTEST_DISTANCE**2:
        closest = int(np.argmin(squares))
        raise InputError(
            f"{source(atoms)}: atoms {receivers[closest]} and {senders[closest]} are "
            f"{squares[closest] ** 0.5:.3g} Å apart; remove the duplicate"
        )
    return StructureGraph(
        nodes={"species": atoms.numbers.astype(np.int32)},
        edges={"vectors": vectors},
        globals={"charge": np.array([atoms.info.get("charge", 0.0)], dtype=np.float64)},
        senders=senders,
        receivers=receivers,
        n_node=np.array([len(atoms)], dtype=np.int32),
        n_edge=np.array([len(receivers)], dtype=np.int32),
    )


def neighbour_counts(graph: AnyGraph) -> np.ndarray:
    """Return the number of neighbours of every node, int64 [N]."""
    return np.bincount(graph.receivers, minlength=len(graph.nodes["species"]))


def _check_density(atoms: Atoms) -> None:
    """Refuse a cell too small for its atoms, whose neighbours might not fit into the memory.

    Raises:
        InputError: By the size of the cell alone, atoms or images of them must be closer than
            `SHORTEST_DISTANCE`.
    """
    directions = int(atoms.pbc.sum())
    if not directions:
        return
    periodic = atoms.cell.array[atoms.pbc]
    # Atoms of a slab or a wire may lie one behind the other, so there each is compared with its own images.
    points = len(atoms) if directions == 3 else 1
    size = abs(determinant(periodic)) if directions == 3 else np.linalg.det(periodic @ periodic.T) ** 0.5
    if size < points * DENSEST[directions] * SHORTEST_DISTANCE**directions:
        unit = {1: "Å", 2: "Å²", 3: "Å³"}[directions]
        raise InputError(
            f"{source(atoms)}: a cell of {size:.3g} {unit} is too small for its atoms, which would be less "
            f"than {SHORTEST_DISTANCE} Å apart; give the cell vectors in Å"
        )


def _put_in_box(atoms: Atoms) -> tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, "3 3"]]:
    """Make a cell of full rank that contains every atom along the directions that are not periodic.

    The neighbour search sorts atoms into the cell, but a molecule may have no cell, and atoms of a slab may
    lie outside it.

    Returns:
        Positions, shifted into the cell along these directions, and the cell, both in Å.
    """
    if atoms.pbc.all():
        return atoms.positions, atoms.cell.array
    cell = atoms.cell.complete().array.copy()
    for axis in np.flatnonzero(~atoms.pbc):
        # Perpendicular to the other two, so that its length changes nothing along them.
        normal = np.cross(cell[axis - 2], cell[axis - 1])
        normal /= np.linalg.norm(normal)
        cell[axis] = normal * (np.ptp(atoms.positions @ normal) + 1.0)
    fractional = np.linalg.solve(cell.T, atoms.positions.T).T
    lowest = np.where(atoms.pbc, 0.0, fractional.min(axis=0) - 0.5 / np.linalg.norm(cell, axis=1))
    return atoms.positions - lowest @ cell, cell
