"""Measure whether the tensors are [field, displacement], as they should be, or transposed.

Symmetry cannot decide this, because conjugation by a rotation commutes with transposition. The antisymmetric
part can: it is the axial vector `a_c = eps_cab Z_ab / 2`, whose sign changes when the tensor is transposed,
and whose direction follows from the neighbours. Pairwise forces and polarisations give symmetric tensors; the
antisymmetric part comes from products of two different vectors or tensors of the surroundings. The expected
axial vector below is a sum of nine such products. They are built from quantities that a transposition does
not change: the positions, and the symmetric parts of the tensors. The largest term is
`sum_j w(r_ij) r_ij x (S_j r_ij)`, where S_j is the traceless symmetric part of the neighbour's tensor.

The nine coefficients were fitted to 1,370 DFPT crystals whose index order is known (see `fit_coefficients`).
For held-out compositions of that set, over structures whose root-mean-square axial vector is above 0.03 e,
the sign is right for 81 % of the structures. With the coefficients of that set it is right for 88 % of 395
structures of the Materials Project, and for all 219 frames of two molecular dynamics runs (BaTiO3, SiO2). One
structure is thus weak evidence; a file of many compositions is certain. If there is a trained model, its
predictions are used instead.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.hygiene.findings import IndexOrder
from equivar_jax.hygiene.surroundings import RADIUS, Surroundings, find_surroundings
from equivar_jax.structures import born_effective_charges

# In Å; the weight of a neighbour at distance r is exp(-(r/s)^2) times a cosine that ends at RADIUS.
SHORT, MIDDLE, LONG = 1.3, 2.0, 3.5
# Coefficients of the nine vectors of `axial_features`, without unit or in 1/e.
COEFFICIENTS = np.array([0.369, 0.053, -0.080, 0.027, 0.118, 0.046, -0.051, -0.108, -0.326])
# In e; antisymmetric parts of this size count half, smaller ones less.
HALF_TRUSTED = 0.1
# Log odds for [field, displacement] per unit of agreement of one composition, from a logistic regression on
# the same crystals with held-out compositions (487 compositions; the shares in bins of width 0.1 agree).
LOG_ODDS = 9.0
# Share of the clear cases that may be wrong; far above the 1 of 96 found at the default threshold.
WRONG = 0.1
# Log odds for a verdict: a thousand to one.
DECIDED = math.log(1000.0)


def axial_vectors(tensors: Float[np.ndarray, "atoms 3 3"]) -> Float[np.ndarray, "atoms 3"]:
    """Return the antisymmetric parts, `a_c = eps_cab Z_ab / 2`, in the unit of the tensors.

    Args:
        tensors: [atom, field, displacement].
    """
    difference = tensors - tensors.transpose(0, 2, 1)
    return np.stack([difference[:, 1, 2], difference[:, 2, 0], difference[:, 0, 1]], axis=1) / 2.0


def axial_features(
    near: Surroundings, tensors: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, "atoms 9 3"]:
    """Return nine axial vectors of each atom; transposing the tensors changes none of them.

    Args:
        near: The neighbours of every atom.
        tensors: [atom, field, displacement] in e (or transposed).
    """
    charge = np.trace(tensors, axis1=1, axis2=2) / 3.0
    symmetric = (tensors + tensors.transpose(0, 2, 1)) / 2.0 - charge[:, None, None] * np.eye(3)
    u, other = near.directions, near.neighbours
    end = 0.5 * (1.0 + np.cos(np.pi * near.lengths / RADIUS))
    short, middle, long = (end * np.exp(-((near.lengths / s) ** 2)) for s in (SHORT, MIDDLE, LONG))

    def towards(weights: np.ndarray) -> np.ndarray:
        return near.sum(weights[:, None] * u)

    curl = np.cross(u, np.einsum("pab,pb->pa", symmetric[other], u))
    curls = near.sum(middle[:, None] * curl), near.sum(long[:, None] * curl)
    around = near.sum(long[:, None, None] * symmetric[other])
    charged = near.sum((long * charge[other])[:, None, None] * u[:, :, None] * u[:, None, :])
    polar = np.cross(towards(middle * charge[other]), towards(long * charge[other]))
    uneven = np.cross(towards(short * charge[other]), towards(middle))
    q = charge[:, None]
    features = (
        *(curls[0], q * curls[0], curls[1], q * curls[1]),
        *(axial_vectors(around @ symmetric), q * axial_vectors(charged @ symmetric)),
        *(polar, q * polar, q * uneven),
    )
    return np.stack(features, axis=1)


def expected_axial_vectors(
    near: Surroundings, tensors: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, "atoms 3"]:
    """Return the antisymmetric part, in e, expected from the surroundings.

    It is the one of tensors with the order [field, displacement].
    """
    return np.einsum("nfc,f->nc", axial_features(near, tensors), COEFFICIENTS)


def agreement(found: Float[np.ndarray, "atoms 3"], expected: Float[np.ndarray, "atoms 3"]) -> float:
    """Return how well axial vectors agree with the expected ones: 1 fully, -1 as if transposed, 0 undecided.

    The value is the cosine between the two, times `m / (m + 0.1 e)`, where m is the smaller of their
    root-mean-square lengths.
    """
    length = np.sqrt((found**2).sum(axis=1).mean()), np.sqrt((expected**2).sum(axis=1).mean())
    smaller = min(length)
    if smaller == 0.0:
        return 0.0
    cosine = (found * expected).sum(axis=1).mean() / (length[0] * length[1])
    return float(cosine * smaller / (smaller + HALF_TRUSTED))


def judge_index_order(
    compositions: Sequence[Hashable], agreements: Sequence[float], threshold: float
) -> IndexOrder:
    """Judge the index order from all structures together.

    The structures of one composition have one vote together, their mean agreement.

    Args:
        compositions: The composition of each structure.
        agreements: The `agreement` of each structure.
        threshold: How large an agreement or disagreement must be to count as a clear case.
    """
    voices: dict[Hashable, list[float]] = defaultdict(list)
    for name, value in zip(compositions, agreements, strict=True):
        if value:
            voices[name].append(value)
    odds = LOG_ODDS * sum(float(np.mean(values)) for values in voices.values())
    opposed = sum(value < -threshold for value in agreements)
    certain = opposed + sum(value > threshold for value in agreements)
    verdict: Literal["field first", "transposed", "mixed", "undecided"] = "undecided"
    if _is_unlikely(opposed, certain) and _is_unlikely(certain - opposed, certain):
        verdict = "mixed"
    elif abs(odds) >= DECIDED:
        verdict = "field first" if odds > 0.0 else "transposed"
    return IndexOrder(len(voices), odds, certain, opposed, verdict)


def _is_unlikely(wrong: int, cases: int) -> bool:
    """Return whether it is unlikely that so many of the clear cases are wrong by chance."""
    from scipy.stats import binom  # takes half a second, and only this verdict needs it

    return wrong > 0 and float(binom.sf(wrong - 1, cases, WRONG)) < math.exp(-DECIDED)


def fit_coefficients(structures: Sequence[Atoms]) -> Float[np.ndarray, " features"]:
    """Fit `COEFFICIENTS` by least squares to structures known to be [field, displacement].

    Every structure has about the same weight, whatever the size of its antisymmetric part. A thousandth of
    the diagonal is added to the normal matrix.
    """
    matrix, right = np.zeros((9, 9)), np.zeros(9)
    for atoms in structures:
        tensors = born_effective_charges(atoms)
        assert tensors is not None  # the caller passes labelled structures
        features, target = axial_features(find_surroundings(atoms), tensors), axial_vectors(tensors)
        weight = 1.0 / ((target**2).sum() + 0.02)
        matrix += weight * np.einsum("nfc,ngc->fg", features, features)
        right += weight * np.einsum("nfc,nc->f", features, target)
    return np.linalg.solve(matrix + 1e-3 * np.diag(np.diag(matrix)), right)
