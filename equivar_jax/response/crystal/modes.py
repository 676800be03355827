"""Names of the modes at Gamma, and what is unstable in a crystal."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.phonon.irreps import IrRepLabels

from equivar_jax.response.phonons.gamma import GammaModes
from equivar_jax.response.units import INVERSE_CM, TERAHERTZ

PER_THZ = INVERSE_CM / TERAHERTZ
"""Wavenumber in cm⁻¹ of 1 THz."""
SOFTEST = 3.0
"""In cm⁻¹. Imaginary frequencies below this size are noise of the force constants."""
_SMALL = 0.1
"""An element that moves by less than this share of the largest displacement is not named in a pattern."""


class Unstable(NamedTuple):
    """A mode with an imaginary frequency, at a wave vector that the supercell holds exactly."""

    point: Float[np.ndarray, "3"]
    """Wave vector in reduced coordinates of the reciprocal basis of the primitive cell."""
    band: int
    """Number of the mode, from 0, in phonopy's ascending order at this wave vector."""
    wavenumber: float
    """In cm⁻¹, a negative number."""
    displacements: Complex[np.ndarray, "atoms 3"]
    """How the atoms move, the eigenvector over the roots of the masses, of any amplitude."""

    @property
    def is_at_gamma(self) -> bool:
        """Whether the cell stays as it is."""
        return not self.point.any()

    @property
    def where(self) -> str:
        """The wave vector as text."""
        return "Γ" if self.is_at_gamma else f"({' '.join(f'{value:.4g}' for value in self.point)})"


def irreps_at_gamma(phonon: Phonopy, modes: GammaModes) -> list[str | None]:
    """Name the irreducible representation of each mode (Mulliken's symbols), by phonopy's tables.

    Args:
        phonon: A phonopy object with force constants, whose primitive cell `modes` belong to.
        modes: Transverse modes, in any basis of a degenerate level.

    Returns:
        A symbol for each mode; None where phonopy has no table or finds no symbol.
    """
    nac, phonon.nac_params = phonon.nac_params, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = phonon.run_irreps([0, 0, 0], symmetry_adapted=True)
        group = phonon.primitive_symmetry.pointgroup_symbol
        named = IrRepLabels(found.characters, found.conventional_rotations, group, False).irrep_labels
    except RuntimeError:  # a magnetic or no primitive cell, or no table of characters
        named = None
    finally:
        phonon.nac_params = nac
    if named is None:
        return [None] * len(modes.squares)
    vectors = np.asarray(found.eigenvectors)
    ours = modes.eigenvectors.reshape(len(modes.squares), -1)
    # Share of each of our modes in each level of phonopy's; acoustic levels have none.
    shares = np.array([np.sum(np.abs(ours @ vectors[:, level]) ** 2, axis=1) for level in found.band_indices])
    return [named[int(level)] for level in np.argmax(shares, axis=0)]


def unstable_modes(phonon: Phonopy) -> list[Unstable]:
    """Find the imaginary modes at all wave vectors that the supercell holds, the softest first.

    Between these wave vectors frequencies are interpolated, and small imaginary ones near Gamma are an error
    of the interpolation. One of q and -q is listed, and of acoustic modes at Gamma none.

    Args:
        phonon: A phonopy object with force constants.
    """
    primitive_matrix = np.linalg.inv(phonon.primitive.primitive_matrix)
    matrix = np.rint(primitive_matrix @ phonon.supercell.supercell_matrix).astype(int)
    points = [point for point in get_commensurate_points(matrix) if _is_first_of_pair(point)]
    nac, phonon.nac_params = phonon.nac_params, None  # the field stiffens longitudinal modes only
    found = phonon.run_qpoints(points, with_eigenvectors=True)
    phonon.nac_params = nac
    roots = np.sqrt(phonon.primitive.masses)[:, None]
    unstable = []
    for point, frequencies, vectors in zip(
        points, np.asarray(found.frequencies), np.asarray(found.eigenvectors), strict=True
    ):
        for band in np.flatnonzero(frequencies * PER_THZ < -SOFTEST):
            moved = vectors[:, band].reshape(-1, 3)
            if point.any() or not _is_translation(moved, roots):
                frequency = float(frequencies[band] * PER_THZ)
                unstable.append(Unstable(point, int(band), frequency, moved / roots))
    return sorted(unstable, key=lambda mode: mode.wavenumber)


def describe_pattern(mode: Unstable, symbols: list[str]) -> str:
    """Say in words which elements move, how far, and along which Cartesian axes.

    Args:
        mode: The mode.
        symbols: Elements of the atoms of the primitive cell.
    """
    lengths = np.linalg.norm(mode.displacements, axis=1)
    largest = {
        symbol: max(length for length, other in zip(lengths, symbols, strict=True) if other == symbol)
        for symbol in dict.fromkeys(symbols)
    }
    top = max(largest.values())
    named = sorted((symbol for symbol in largest if largest[symbol] > _SMALL * top), key=largest.__getitem__)
    elements = ", ".join(f"{symbol} {largest[symbol] / top:.2f}" for symbol in reversed(named))
    shares = np.sum(np.abs(mode.displacements) ** 2, axis=0)
    shares /= shares.sum()
    axes = ", ".join(f"{axis} {share:.0%}" for axis, share in zip("xyz", shares, strict=True) if share > 0.05)
    return f"moves {elements} (of the largest displacement), along {axes}"


def meaning_of(mode: Unstable, is_polar: bool) -> str:
    """Say what an unstable mode means for the numbers that follow.

    Args:
        mode: The mode.
        is_polar: Whether it has a dipole.
    """
    if not mode.is_at_gamma:
        return (
            "a crystal with a larger cell is lower in energy; numbers at Gamma are those of this structure, "
            "held in its symmetry, and thermal properties are not defined"
        )
    kind = "a polar instability, as in ferroelectrics" if is_polar else "a distortion within the cell"
    return (
        f"{kind}: the structure is a saddle point, so that its static dielectric tensor, dielectric "
        "function, infrared spectrum and thermal properties are not defined"
    )


def _is_first_of_pair(point: Float[np.ndarray, "3"]) -> bool:
    """Choose one of the wave vectors q and -q, which have the same frequencies."""
    inside, opposite = np.mod(point, 1).round(6) % 1, np.mod(-point, 1).round(6) % 1
    return bool(tuple(inside) <= tuple(opposite))


def _is_translation(vector: Complex[np.ndarray, "atoms 3"], roots: Float[np.ndarray, "atoms 1"]) -> bool:
    """Return whether an eigenvector is, by more than half, a translation of the whole crystal."""
    directions = roots / np.linalg.norm(roots)
    return bool(np.sum(np.abs(np.sum(vector * directions, axis=0)) ** 2) > 0.5)
