"""Names of the modes at Gamma, and what is unstable in a crystal."""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float
from phonopy import Phonopy
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points
from phonopy.phonon.irreps import IrRepLabels

from equivar_jax.response.phonons.gamma import GammaModes
from equivar_jax.response.phonons.levels import fixed_basis
from equivar_jax.response.units import INVERSE_CM, TERAHERTZ

PER_THZ = INVERSE_CM / TERAHERTZ
"""Wavenumber in cm⁻¹ of 1 THz."""
SOFTEST = 3.0
"""In cm⁻¹. Imaginary frequencies below this size are noise of the force constants."""
_SAME_LEVEL = 0.05
"""In cm⁻¹. Frequencies that differ by less are of one level."""
_SMALL = 0.1
"""An element that moves by less than this share of the largest displacement is not named in a pattern."""


class Unstable(NamedTuple):
    """A level with an imaginary frequency, at a wave vector that the supercell holds exactly."""

    point: Float[np.ndarray, "3"]
    """Wave vector in reduced coordinates of the reciprocal basis of the primitive cell."""
    wavenumber: float
    """In cm⁻¹, a negative number."""
    displacements: Complex[np.ndarray, "atoms 3"]
    """How the atoms of the cell at the origin move in one of its modes, of any amplitude. Those of that at
    the lattice vector R move by the real part of this times exp(2 pi i q.R)."""
    degeneracy: int
    """Number of modes of this frequency at this wave vector."""
    star: int
    """Number of wave vectors that symmetry makes equal to this one, itself included."""

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
    of the interpolation. Of wave vectors that symmetry makes equal one is listed, of a degenerate level one
    mode, and of acoustic modes at Gamma none.

    Args:
        phonon: A phonopy object with force constants.
    """
    points, stars = _wave_vectors(phonon)
    nac, phonon.nac_params = phonon.nac_params, None  # the field stiffens longitudinal modes only
    found = phonon.run_qpoints(np.array(points), with_eigenvectors=True)
    phonon.nac_params = nac
    roots, positions = np.sqrt(phonon.primitive.masses)[:, None], phonon.primitive.scaled_positions
    unstable = []
    for point, star, frequencies, vectors in zip(
        points, stars, np.asarray(found.frequencies), np.asarray(found.eigenvectors), strict=True
    ):
        # phonopy's phases are those of the atoms; here they are those of their cells.
        moved = vectors * np.exp(2j * np.pi * np.repeat(positions @ point, 3))[:, None]
        wavenumbers = frequencies * PER_THZ
        soft = [
            band
            for band in np.flatnonzero(wavenumbers < -SOFTEST)
            if point.any() or not _is_translation(moved[:, band].reshape(-1, 3), roots)
        ]
        while soft:
            level = [band for band in soft if wavenumbers[band] - wavenumbers[soft[0]] < _SAME_LEVEL]
            soft = soft[len(level) :]
            pattern = _one_of_level(moved[:, level], point).reshape(-1, 3) / roots
            unstable.append(Unstable(point, float(wavenumbers[level[0]]), pattern, len(level), star))
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


def _one_of_level(
    vectors: Complex[np.ndarray, "coordinates modes"], point: Float[np.ndarray, "3"]
) -> Complex[np.ndarray, " coordinates"]:
    """Choose a mode of a level: at Gamma and on the zone boundary one along the axes, as far as that goes.

    There, where q and -q are equal, the eigenvectors can be real. Elsewhere the first is taken.
    """
    if vectors.shape[1] == 1 or np.abs(2 * point - np.rint(2 * point)).max() > 1e-6:
        return vectors[:, 0]
    projector = (vectors @ vectors.conj().T).real
    return fixed_basis(projector, vectors.shape[1])[0].astype(np.complex128)


def _wave_vectors(phonon: Phonopy) -> tuple[list[Float[np.ndarray, "3"]], list[int]]:
    """List the wave vectors that the supercell holds, one of each star, and how many are in its star."""
    # phonopy's primitive cell knows its vectors in those of the supercell.
    matrix = np.rint(np.linalg.inv(phonon.primitive.primitive_matrix)).astype(int)
    operations = np.asarray(phonon.primitive_symmetry.reciprocal_operations)
    operations = np.concatenate([operations, -operations])  # q and -q have the same frequencies
    points: dict[tuple[float, ...], np.ndarray] = {}
    counts: dict[tuple[float, ...], int] = {}
    for point in get_commensurate_points(matrix):
        images = {tuple(image.tolist()) for image in np.mod(operations @ point, 1).round(6) % 1}
        name = min(images)
        points.setdefault(name, np.asarray(point, dtype=np.float64))
        counts[name] = counts.get(name, 0) + 1
    return list(points.values()), [counts[name] for name in points]


def _is_translation(vector: Complex[np.ndarray, "atoms 3"], roots: Float[np.ndarray, "atoms 1"]) -> bool:
    """Return whether an eigenvector is, by more than half, a translation of the whole crystal."""
    directions = roots / np.linalg.norm(roots)
    return bool(np.sum(np.abs(np.sum(vector * directions, axis=0)) ** 2) > 0.5)
