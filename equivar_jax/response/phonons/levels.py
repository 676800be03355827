"""Degenerate levels: make what is said of their modes independent of the vectors that the eigensolver chose.

Any rotation among modes of one frequency gives modes of that frequency. Each level is therefore turned so
that the dipoles of its modes lie along the principal axes of what the level absorbs as a whole: the strongest
mode comes first, silent modes come last. What this leaves open (axes of equal strength, silent modes, signs)
follows the rule of `fixed_basis`.
"""

import itertools
from collections.abc import Iterator

import numpy as np
from jaxtyping import Complex, Float

SAME_LEVEL = 1e-6
"""Squared frequencies that differ by less than this share of the largest one belong to one level."""

_SILENT = 1e-12
"""A strength below this share of the strength of all modes counts as zero."""
_SAME_STRENGTH = 1e-3
"""Strengths of one level that differ by less than this share are equal: charges of a network, or of a file
with few digits, have the symmetry of the crystal only approximately."""
_SAME_LENGTH = 1e-3
"""Squared lengths of projected axes that differ by less than this share of the longest are equal."""


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
    """Return the dipoles of the modes after each level is turned to the principal axes of its strength.

    The strength of a level, `S = sum_m Z_m* Z_m`, is the same for every unitary rotation of its modes. With
    `S a_k = s_k a_k`, the dipoles of the turned modes are `sqrt(s_k) a_k`. At most three modes of a level are
    not silent.

    Args:
        squares: Squared frequencies in ascending order.
        dipoles: Mode effective charges, [mode, field], in any basis of each level.

    Returns:
        [mode, field]; exactly zero for silent modes.
    """
    total = float(np.sum(np.abs(dipoles) ** 2))
    found = np.zeros(dipoles.shape)
    for level in find_levels(squares):
        _, principal = _turn_level(dipoles[level], total)
        found[level.start : level.start + len(principal)] = principal
    return found


def turn_degenerate(
    squares: Float[np.ndarray, " modes"],
    vectors: Float[np.ndarray, "modes coordinates"],
    dipoles: Float[np.ndarray, "modes 3"],
) -> Float[np.ndarray, "modes coordinates"]:
    """Turn the eigenvectors of each level to those whose dipoles are `principal_dipoles`.

    The mode with the dipole `sqrt(s_k) a_k` is `sum_m (Z_m . a_k) e_m / sqrt(s_k)`. Silent modes follow
    `fixed_basis`.

    Args:
        squares: Squared frequencies in ascending order.
        vectors: Orthonormal eigenvectors, in any basis of each level.
        dipoles: Their effective charges, [mode, field].

    Returns:
        Orthonormal eigenvectors that depend on the levels alone, not on the basis that was given.
    """
    total = float(np.sum(dipoles**2))
    found = np.empty_like(vectors)
    for level in find_levels(squares):
        mixing, _ = _turn_level(dipoles[level], total)
        polar = mixing @ vectors[level]
        silent = vectors[level].T @ vectors[level] - polar.T @ polar
        found[level] = np.concatenate([polar, fixed_basis(silent, len(vectors[level]) - len(polar))])
    return found


def fixed_basis(projector: Float[np.ndarray, "size size"], rank: int) -> Float[np.ndarray, "rank size"]:
    """Choose an orthonormal basis that depends on the subspace alone: a pivoted Cholesky factor.

    The coordinate axis with the longest projection onto the subspace comes first; of equally long ones, that
    of the lowest number. Its component is positive. The next axis is chosen in what is left of the subspace.

    Args:
        projector: Onto the subspace, symmetric.
        rank: Dimension of the subspace.
    """
    left, basis = projector.copy(), np.empty((rank, len(projector)))
    for row in range(rank):
        lengths = np.diag(left)
        axis = int(np.argmax(lengths > (1 - _SAME_LENGTH) * lengths.max()))
        basis[row] = left[axis] / np.linalg.norm(left[axis])
        left = left - np.outer(basis[row], basis[row])
    return basis


def _turn_level(
    dipoles: Float[np.ndarray, "modes 3"] | Complex[np.ndarray, "modes 3"], total: float
) -> tuple[Float[np.ndarray, "polar modes"], Float[np.ndarray, "polar 3"]]:
    """Find the rotation of one level to its principal axes, and the dipoles after it, without silent modes.

    Rows of the rotation are orthonormal, also where strengths that count as equal differ a little. Where the
    given dipoles are complex, only the returned dipoles have a meaning.

    Args:
        dipoles: Mode effective charges of the level, [mode, field].
        total: Strength of all modes of all levels.
    """
    parts = np.concatenate([dipoles.real, dipoles.imag])
    mixing, lengths, axes = np.linalg.svd(parts, full_matrices=False)
    polar = lengths**2 > _SILENT * total
    mixing, lengths, axes = mixing[: len(dipoles), polar].T, lengths[polar], axes[polar]
    principal = lengths[:, None] * axes
    for equal in _runs(-2 * np.log(lengths), _SAME_STRENGTH):
        rotation = fixed_basis(axes[equal].T @ axes[equal], len(axes[equal])) @ axes[equal].T
        mixing[equal], principal[equal] = rotation @ mixing[equal], rotation @ principal[equal]
    return mixing, principal


def _runs(values: Float[np.ndarray, " values"], tolerance: float) -> Iterator[slice]:
    """Divide ascending numbers wherever the next one is greater by more than a tolerance."""
    breaks = (np.flatnonzero(np.diff(values) > tolerance) + 1).tolist()
    return itertools.starmap(slice, itertools.pairwise([0, *breaks, len(values)]))
