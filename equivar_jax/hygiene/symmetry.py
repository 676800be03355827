"""Measure whether the tensors have the symmetry of their crystal.

The condition is `Z_g(i) = R Z_i R^T` for every operation g = {R|t}.

This finds a rotated label, a label whose atoms are in another order, and columns in the wrong order, wherever
the crystal has symmetry. It cannot find a transposed label: `(R Z R^T)^T = R Z^T R^T`, so the transposed
tensors have exactly the same symmetry (see `transposition` for those).
"""

import warnings
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from jaxtyping import Float, Int
from scipy.spatial import cKDTree

# In e. In covalent crystals with hardly any charge the noise of a calculation is as large as elsewhere.
SMALLEST_SCALE = 1.0
# An operation must map every atom to within this distance of another one, in units of symprec.
MISMATCH = 10.0


def symmetry_deviation(atoms: Atoms, tensors: Float[np.ndarray, "atoms 3 3"], symprec: float) -> float | None:
    """Return the largest component of `R Z_i R^T - Z_g(i)`, over the tensors' root-mean-square diagonal.

    One operation is tried for each rotation, together with every translation that maps the cell onto itself;
    these operations generate the group.

    Args:
        atoms: The crystal.
        tensors: Born effective charges [atom, field, displacement] in e.
        symprec: How far in Å an atom may be from its symmetric place.

    Returns:
        The deviation, without unit. The scale by which it is divided is never below 1 e. None if the
        structure is not periodic in all directions or spglib finds no symmetry.
    """
    operations = _find_operations(atoms, symprec)
    if operations is None:
        return None
    rotations, images = operations
    turned = np.einsum("nij,ajk,nlk->nail", rotations, tensors, rotations, optimize=True)
    scale = max(SMALLEST_SCALE, float(np.sqrt((tensors**2).sum(axis=(1, 2)).mean() / 3.0)))
    return float(np.abs(turned - tensors[images]).max()) / scale


def _find_operations(
    atoms: Atoms, symprec: float
) -> tuple[Float[np.ndarray, "operations 3 3"], Int[np.ndarray, "operations atoms"]] | None:
    """Return Cartesian rotations, and the atom onto which each operation maps every atom."""
    if not atoms.pbc.all():
        return None
    lattice, fractions = atoms.cell.array, atoms.get_scaled_positions()
    found = _find_space_group((lattice, fractions, atoms.numbers), symprec)
    if found is None:
        return None
    chosen = _select_generators(found["rotations"])
    turns, shifts = found["rotations"][chosen], found["translations"][chosen]
    moved = np.einsum("nij,aj->nai", turns, fractions) + shifts[:, None]
    images = cKDTree(_wrap(fractions), boxsize=1.0).query(_wrap(moved))[1]
    gap = moved - fractions[images]
    misfit = np.linalg.norm((gap - np.rint(gap)) @ lattice, axis=-1).max(axis=1)
    one_to_one = (np.sort(images, axis=1) == np.arange(len(atoms))).all(axis=1)
    sound = one_to_one & (misfit < MISMATCH * symprec)
    # Columns of lattice.T are the lattice vectors: r = L x, so R = L W L^-1.
    cartesian = lattice.T @ turns @ np.linalg.inv(lattice.T)
    return cartesian[sound], images[sound].astype(np.int64)


def _find_space_group(cell: Any, symprec: float) -> dict[str, np.ndarray] | None:
    """Return rotations and translations in fractional coordinates, or None if spglib fails."""
    with warnings.catch_warnings():
        # Before 3.0, spglib warns in each call that it returns None for an error instead of raising one.
        warnings.filterwarnings("ignore", message="Set OLD_ERROR_HANDLING", category=DeprecationWarning)
        try:
            return spglib.get_symmetry(cell, symprec=symprec)
        except spglib.SpglibError:
            return None


def _select_generators(rotations: np.ndarray) -> np.ndarray:
    """Select the operations to try: the first of each rotation, and all pure translations."""
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    translations = np.flatnonzero((rotations == np.eye(3, dtype=int)).all(axis=(1, 2)))
    return np.union1d(first, translations)


def _wrap(fractions: np.ndarray) -> np.ndarray:
    """Return fractional coordinates from 0 to below 1.

    Rounding may turn a tiny negative number into 1; it is then set to 0.
    """
    wrapped = fractions - np.floor(fractions)
    return np.where(wrapped >= 1.0, 0.0, wrapped)
