"""Degenerate levels: what is said of their modes must not depend on which vectors the eigensolver chose.

Any rotation among modes of one frequency gives modes of that frequency. Here each level is turned so that its
dipoles lie along the principal axes of what the level as a whole absorbs, strongest first, silent modes last.
What is still left open (axes of equal strength, silent modes, signs) follows a fixed rule.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Complex, Float

SAME_LEVEL = 1e-6
"""Squared frequencies that differ by less than this share of the largest one belong to one level."""

# Shares of the strength of all modes: strengths that differ by less are equal, and what is less is none.
_SAME_STRENGTH, _SILENT = 1e-6, 1e-12
# Squared lengths of projected axes that differ by less are equal.
_SAME_LENGTH = 1e-6


def find_levels(squares: Float[np.ndarray, " modes"]) -> list[slice]:
    """Divide modes in ascending order into runs of equal frequency.

    Args:
        squares: Squared frequencies in ascending order.
    """
    return list(_runs(squares, SAME_LEVEL * np.abs(squares).max(initial=0.0)))


def principal_dipoles(
    squares: Float[np.ndarray, " modes"],
    dipoles: Float[np.ndarray, "modes 3"] | Complex[np.ndarray, "modes 3"],
) -> Float[np.ndarray, "modes 3"]:
    """Turn each level so that its dipoles are along the principal axes of its strength; give the dipoles.

    With the strength of a level, `S = sum_m Z_m* Z_m`, which no unitary rotation of its modes changes, and
    `S a_k = s_k a_k`, its dipoles become `sqrt(s_k) a_k`. At most three modes of a level are not silent.

    Args:
        squares: Squared frequencies in ascending order.
        dipoles: Mode effective charges, [mode, field], in any basis of each level.

    Returns:
        [mode, field]; exactly zero for silent modes.
    """
    total = float(np.sum(np.abs(dipoles) ** 2))
    found = np.zeros(dipoles.shape)
    for level in find_levels(squares):
        strengths, axes = _principal_axes(dipoles[level], total)
        found[level.start : level.start + len(axes)] = np.sqrt(strengths)[:, None] * axes
    return found


def turn_degenerate(
    squares: Float[np.ndarray, " modes"],
    vectors: Float[np.ndarray, "modes coordinates"],
    dipoles: Float[np.ndarray, "modes 3"],
) -> Float[np.ndarray, "modes coordinates"]:
    """Turn the eigenvectors of each level to those with the dipoles `principal_dipoles`.

    The mode with the dipole `sqrt(s_k) a_k` is `sum_m (Z_m . a_k) e_m / sqrt(s_k)`. Silent modes follow
    `fixed_basis`.

    Args:
        squares: Squared frequencies in ascending order.
        vectors: Orthonormal eigenvectors, in any basis of each level.
        dipoles: Their effective charges, [mode, field].

    Returns:
        Eigenvectors that depend on the levels alone, not on the basis that was given.
    """
    total = float(np.sum(dipoles**2))
    found = np.empty_like(vectors)
    for level in find_levels(squares):
        strengths, axes = _principal_axes(dipoles[level], total)
        polar = (axes @ dipoles[level].T / np.sqrt(strengths)[:, None]) @ vectors[level]
        silent = vectors[level].T @ vectors[level] - polar.T @ polar
        found[level] = np.concatenate([polar, fixed_basis(silent, len(vectors[level]) - len(polar))])
    return found


def fixed_basis(projector: Float[np.ndarray, "size size"], rank: int) -> Float[np.ndarray, "rank size"]:
    """Choose an orthonormal basis that depends on the subspace alone: a pivoted Cholesky factor.

    The coordinate axis with the longest projection comes first, of equal ones that of the lowest number, and
    its component is positive; the next is chosen in what is left of the subspace.

    Args:
        projector: Onto the subspace, symmetric.
        rank: Dimension of the subspace.
    """
    left, basis = projector.copy(), np.empty((rank, len(projector)))
    for row in range(rank):
        lengths = np.diag(left)
        axis = int(np.argmax(lengths > lengths.max() - _SAME_LENGTH))
        basis[row] = left[axis] / np.linalg.norm(left[axis])
        left = left - np.outer(basis[row], basis[row])
    return basis


def _principal_axes(
    dipoles: Float[np.ndarray, "modes 3"] | Complex[np.ndarray, "modes 3"], total: float
) -> tuple[Float[np.ndarray, " axes"], Float[np.ndarray, "axes 3"]]:
    """Strengths that are not zero, in descending order, and their axes."""
    strengths, axes = np.linalg.eigh((dipoles.conj().T @ dipoles).real)
    strengths, axes = strengths[::-1].copy(), axes.T[::-1].copy()
    for equal in _runs(-strengths, _SAME_STRENGTH * total):
        axes[equal] = fixed_basis(axes[equal].T @ axes[equal], len(axes[equal]))
    heard = strengths > _SILENT * total
    return strengths[heard], axes[heard]


def _runs(values: Float[np.ndarray, " values"], tolerance: float) -> Iterator[slice]:
    """Divide ascending numbers where the next is greater by more than a tolerance."""
    breaks = (np.flatnonzero(np.diff(values) > tolerance) + 1).tolist()
    return itertools.starmap(slice, itertools.pairwise([0, *breaks, len(values)]))
