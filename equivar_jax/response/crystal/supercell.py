"""Supercell for force constants: small, of the crystal's shape, and nowhere too short."""

import numpy as np
import spglib
from ase import Atoms
from ase.geometry import minkowski_reduce
from jaxtyping import Float, Int

from equivar_jax.response.crystal.relaxation import SYMMETRY_TOLERANCE

_SAME = 1e-3
"""Lattice vectors whose lengths differ by a smaller share are repeated equally often."""
_LARGER = 1.5
"""So many times as large a supercell of even multiples may be as the smallest one."""


def supercell_matrix(primitive: Atoms, shortest: float) -> Int[np.ndarray, "3 3"]:
    """Choose a small supercell without a lattice vector shorter than a length.

    Multiples of the primitive and of the conventional cell are tried, lattice vectors of one length
    repeated equally often, so that no symmetry of the crystal is lost. All lattice vectors of the supercell
    count, not only the three that span it: an atom is as far from its nearest image as `shortest`. The
    smallest is taken, or one of even multiples that is at most half as large again: it holds the points of
    the zone boundary where crystals double their cell, such as R of a perovskite.

    Args:
        primitive: The primitive cell.
        shortest: The length in Å.

    Returns:
        The matrix, its rows the lattice vectors of the supercell in those of the primitive cell. phonopy's
        `supercell_matrix` has them as columns.
    """
    bases = (np.eye(3, dtype=int), _conventional_basis(primitive))
    smallest, even = (
        min((_multiples(basis, primitive.cell.array, shortest, step) for basis in bases), key=_cells)
        for step in (1, 2)
    )
    return even if _cells(even) <= _LARGER * _cells(smallest) else smallest


def shortest_vector(cell: Float[np.ndarray, "3 3"]) -> float:
    """Return the length of the shortest lattice vector of a cell (rows), in the unit of the cell."""
    reduced, _ = minkowski_reduce(cell)
    return float(np.linalg.norm(reduced, axis=1).min())


def _cells(matrix: Int[np.ndarray, "3 3"]) -> int:
    """Return the number of primitive cells in a supercell."""
    return abs(round(float(np.linalg.det(matrix))))


def _multiples(
    basis: Int[np.ndarray, "3 3"], cell: Float[np.ndarray, "3 3"], shortest: float, step: int
) -> Int[np.ndarray, "3 3"]:
    """Repeat a basis of the lattice, by multiples of `step`, until no lattice vector is too short."""
    lengths = np.linalg.norm(basis @ cell, axis=1)
    # Rounding of the cell does not add a layer of cells.
    counts = step * np.maximum(np.ceil(shortest * (1 - 1e-6) / (step * lengths)).astype(int), 1)
    while shortest_vector(counts[:, None] * basis @ cell) < shortest * (1 - 1e-6):
        spans = counts * lengths
        counts[spans <= spans.min() * (1 + _SAME)] += step
    same = np.abs(lengths[:, None] / lengths - 1) < _SAME
    counts = np.array([counts[row].max() for row in same])
    return counts[:, None] * basis


def _conventional_basis(primitive: Atoms) -> Int[np.ndarray, "3 3"]:
    """Return the conventional lattice vectors (rows) in those of the primitive cell."""
    crystal = (primitive.cell.array, primitive.get_scaled_positions(), primitive.numbers)
    found = spglib.standardize_cell(crystal, no_idealize=True, symprec=SYMMETRY_TOLERANCE)
    if found is None:
        return np.eye(3, dtype=int)
    matrix = found[0] @ np.linalg.inv(primitive.cell.array)
    whole = np.rint(matrix).astype(int)
    if not np.allclose(matrix, whole, atol=1e-3) or abs(round(float(np.linalg.det(whole)))) < 1:
        return np.eye(3, dtype=int)
    return whole
