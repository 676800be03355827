"""Numbers that are the same for the same crystal, however it is written down.

They do not depend on the choice of lattice vectors, supercell, translation, rotation, mirror image or order
of the atoms. They are the average minimum distances of Widdowson and Kurlin (MATCH Commun. Math. Comput.
Chem. 87, 529 (2022)), taken for every pair of elements, with the smallest and the largest value beside the
average.

If the atoms of two crystals differ by at most d (in any of their descriptions), their crystal fingerprints
differ by at most 2 d. Only distances are compared, so contrived crystals exist that the fingerprints cannot
distinguish.
"""

import math
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equivar_jax.hygiene.surroundings import RADIUS, Surroundings
from equivar_jax.hygiene.transposition import axial_vectors
from equivar_jax.structures import source

SMALL_AXIAL = 0.02
"""In e; an expected axial vector much shorter than this has no meaningful direction."""
NEIGHBOURS = 12
"""Number of nearest neighbours of each element whose distances are compared."""


@dataclass(frozen=True)
class Fingerprint:
    """The numbers by which one labelled structure is compared with others."""

    index: int
    """Place in the list of structures."""
    source: str
    composition: Hashable
    crystal: Float[np.ndarray, " distances"]
    label: Float[np.ndarray, " invariants"]


def fingerprint(
    index: int,
    atoms: Atoms,
    near: Surroundings,
    tensors: Float[np.ndarray, "atoms 3 3"],
    expected: Float[np.ndarray, "atoms 3"],
) -> Fingerprint:
    """Return the fingerprints of a crystal and of its tensors [atom, field, displacement] in e.

    Args:
        index: Place in the list of structures.
        atoms: The structure.
        near: Its neighbours.
        tensors: Its label.
        expected: Its `expected_axial_vectors`.
    """
    crystal, label = crystal_fingerprint(near), label_fingerprint(near, tensors, expected)
    return Fingerprint(index, source(atoms), composition(atoms), crystal, label)


def composition(atoms: Atoms) -> Hashable:
    """Return the reduced formula, the charge per formula unit and the number of periodic directions.

    Two descriptions of one crystal always have these in common.
    """
    elements, counts = np.unique(atoms.numbers, return_counts=True)
    units = math.gcd(*counts.tolist())
    charge = round(float(atoms.info.get("charge", 0.0)) / units, 6)
    return tuple(elements.tolist()), tuple((counts // units).tolist()), charge, int(atoms.pbc.sum())


def crystal_fingerprint(near: Surroundings) -> Float[np.ndarray, " components"]:
    """Return distances in Å; their number is the same for all structures of one composition.

    For each pair of elements A, B and k = 1 to 12, take the distance from each atom A to its k-th nearest B,
    and of these the smallest, the average and the largest over all atoms A. A distance above 5 Å counts as 5
    Å.
    """
    elements, kind = np.unique(near.numbers, return_inverse=True)
    order = np.lexsort((near.lengths, kind[near.neighbours], near.centres))
    row = near.centres[order] * len(elements) + kind[near.neighbours][order]
    # Place of each pair within its row, counted from the row's first pair.
    place = np.arange(len(row)) - np.searchsorted(row, row)
    table = np.full((len(near.numbers) * len(elements), NEIGHBOURS), RADIUS)
    close = place < NEIGHBOURS
    table[row[close], place[close]] = near.lengths[order][close]
    return _summarise_by_element(table.reshape(len(near.numbers), -1), kind)


def label_fingerprint(
    near: Surroundings, tensors: Float[np.ndarray, "atoms 3 3"], expected: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, " components"]:
    """Return numbers in e that are the same for all descriptions of one labelled crystal.

    For each atom: trace / 3; the three singular values of Z; the sizes of `Z M` and `M Z`, where the matrix M
    (trace 1) describes the directions to the neighbours, which detect a label that does not rotate with its
    crystal; and the component of the axial vector along the expected one, which detects a transposed label.
    Of each of these the smallest, average and largest value over each element are returned.
    """
    weights = (1.0 - (near.lengths / RADIUS) ** 2) ** 2
    spread = weights[:, None, None] * near.directions[:, :, None] * near.directions[:, None, :]
    where = near.sum(spread) / np.maximum(near.sum(weights), 1e-12)[:, None, None]
    length = np.sqrt((expected**2).sum(axis=1) + SMALL_AXIAL**2)
    invariants = np.column_stack(
        [
            np.trace(tensors, axis1=1, axis2=2) / 3.0,
            np.linalg.svd(tensors, compute_uv=False),
            np.linalg.norm(tensors @ where, axis=(1, 2)),
            np.linalg.norm(where @ tensors, axis=(1, 2)),
            (axial_vectors(tensors) * expected).sum(axis=1) / length,
        ]
    )
    return _summarise_by_element(invariants, np.unique(near.numbers, return_inverse=True)[1])


def _summarise_by_element(
    values: Float[np.ndarray, "atoms columns"], kind: Int[np.ndarray, " atoms"]
) -> Float[np.ndarray, " components"]:
    """Return the smallest, average and largest of each column over the atoms of each element.

    All smallest values come first, then all averages, then all largest values.
    """
    order = np.argsort(kind, kind="stable")
    starts = np.searchsorted(kind[order], np.arange(kind.max() + 1))
    values = values[order]
    counts = np.bincount(kind)[:, None]
    parts = (
        np.minimum.reduceat(values, starts),
        np.add.reduceat(values, starts) / counts,
        np.maximum.reduceat(values, starts),
    )
    return np.concatenate([part.ravel() for part in parts])
