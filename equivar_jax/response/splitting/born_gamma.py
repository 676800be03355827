"""Modes at Gamma with the non-analytical term; they depend on the direction from which q approaches zero."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import DynamicalMatrixNAC

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.levels import principal_dipoles
from equivar_jax.response.phonons.phonopy_crystal import require_right_handed

_SILENT = 1e-3
"""Modes are not called polar if their polarity is below this share of the strongest."""


class PolarModes(NamedTuple):
    """Modes in the limit of a wave vector that goes to zero along one direction.

    Degenerate modes are taken along the principal axes of their level (see `phonons.levels`).
    """

    frequencies: Float[np.ndarray, " modes"]
    """Frequencies in THz, ascending; imaginary ones are negative numbers."""
    longitudinal: Float[np.ndarray, " modes"]
    """Polarity along the direction, |q.sum_i Z_i.e_i/sqrt(m_i)| with |q| = 1, in e/sqrt(u); it makes LO."""
    transverse: Float[np.ndarray, " modes"]
    """Polarity across the direction, in e/sqrt(u); it makes TO."""


class Polar(NamedTuple):
    """Frequencies of the strongest longitudinal and the strongest transverse mode, in THz."""

    longitudinal: float
    transverse: float


def mode_splitting(phonon: Phonopy, direction: Sequence[float | int] | np.ndarray) -> PolarModes:
    """Compute the modes at Gamma with the non-analytical term for a direction of the wave vector.

    Args:
        phonon: A phonopy object with force constants and NAC parameters, of either NAC method of phonopy.
        direction: Three Cartesian numbers; the length does not matter.

    Raises:
        InputError: Force constants, NAC parameters or a usable direction are missing.
    """
    require_force_constants(phonon)
    vector = np.asarray(direction, dtype=np.float64)
    length = np.linalg.norm(vector)
    if vector.shape != (3,) or not (np.isfinite(length) and length > 0):
        raise InputError(
            f"direction {vector.tolist()} of the wave vector: give three finite numbers, not all zero"
        )
    # phonopy expects the direction in reduced coordinates of the reciprocal basis.
    reduced = phonon.primitive.cell @ vector
    found = phonon.run_qpoints([[0, 0, 0]], with_eigenvectors=True, nac_q_direction=reduced)
    masses = phonon.primitive.masses
    modes = np.asarray(found.eigenvectors)[0].reshape(len(masses), 3, -1)
    assert isinstance(phonon.dynamical_matrix, DynamicalMatrixNAC)  # there are NAC parameters
    charges = phonon.dynamical_matrix.born / np.sqrt(masses)[:, None, None]
    frequencies = found.frequencies[0]
    polarity = principal_dipoles(frequencies * np.abs(frequencies), np.einsum("iab,ibm->ma", charges, modes))
    unit = vector / length
    along = polarity @ unit
    across = np.linalg.norm(polarity - np.outer(along, unit), axis=1)
    return PolarModes(frequencies, np.abs(along), across)


def strongest_polar(modes: PolarModes) -> Polar | None:
    """Find the LO and the TO mode that couple most strongly to a field; None if no mode is polar."""
    strength = max(modes.longitudinal.max(), modes.transverse.max())
    if min(modes.longitudinal.max(), modes.transverse.max()) <= _SILENT * strength:
        return None
    return Polar(
        *(float(modes.frequencies[np.argmax(share)]) for share in (modes.longitudinal, modes.transverse))
    )


def require_force_constants(phonon: Phonopy, splitting: bool = True) -> None:
    """Check that a phonopy object has what bands need.

    Raises:
        InputError: There are no force constants, or no NAC parameters although `splitting` is true, or for
            these the lattice vectors are left-handed.
    """
    formula = phonon.primitive.formula
    if phonon.force_constants is None:
        raise InputError(f"{formula}: no force constants; give phonopy forces or force constants first")
    if splitting and phonon.nac_params is None:
        raise InputError(f"{formula}: no NAC parameters; set phonon.nac_params first")
    if splitting:
        require_right_handed(phonon)
