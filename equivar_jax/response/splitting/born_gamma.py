"""The modes at Gamma, which depend on the direction that the wave vector goes to zero along."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import DynamicalMatrixNAC

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.levels import principal_dipoles

_SILENT = 1e-3
"""Share of the strongest polarity below which a mode is not called polar."""


class PolarModes(NamedTuple):
    """Modes in the limit of a wave vector going to zero along one direction.

    Degenerate modes are taken along the principal axes of the polarity of their level (see `levels`).
    """

    frequencies: Float[np.ndarray, " modes"]
    """THz, ascending; imaginary ones as negative numbers."""
    longitudinal: Float[np.ndarray, " modes"]
    """Polarity along the direction, |q.sum_i Z_i.e_i/sqrt(m_i)|, in e/sqrt(u): what makes a mode LO."""
    transverse: Float[np.ndarray, " modes"]
    """Polarity across it, in e/sqrt(u)."""


class Polar(NamedTuple):
    """The strongest longitudinal and the strongest transverse mode, in THz."""

    longitudinal: float
    transverse: float


def mode_splitting(phonon: Phonopy, direction: Sequence[float | int] | np.ndarray) -> PolarModes:
    """The modes at Gamma with the non-analytical term, for a direction of the wave vector.

    Args:
        phonon: phonopy's object with force constants and NAC parameters, of either method.
        direction: Three numbers, Cartesian; the length does not matter.

    Raises:
        InputError: no force constants, no NAC parameters, or no direction.
    """
    require_force_constants(phonon)
    vector = np.asarray(direction, dtype=np.float64)
    length = np.linalg.norm(vector)
    if vector.shape != (3,) or not (np.isfinite(length) and length > 0):
        raise InputError(f"direction {vector.tolist()} of the wave vector: give three numbers, not all zero")
    # phonopy takes the direction in reduced coordinates of the reciprocal basis.
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
    """The LO and the TO mode that couple most to a field; None where no mode is polar."""
    strength = max(modes.longitudinal.max(), modes.transverse.max())
    if min(modes.longitudinal.max(), modes.transverse.max()) <= _SILENT * strength:
        return None
    return Polar(
        *(float(modes.frequencies[np.argmax(share)]) for share in (modes.longitudinal, modes.transverse))
    )


def require_force_constants(phonon: Phonopy, splitting: bool = True) -> None:
    """Refuse a crystal that lacks what bands need.

    Raises:
        InputError: no force constants, or no NAC parameters where there is to be splitting.
    """
    formula = phonon.primitive.formula
    if phonon.force_constants is None:
        raise InputError(f"{formula}: no force constants; give phonopy forces or force constants first")
    if splitting and phonon.nac_params is None:
        raise InputError(f"{formula}: no NAC parameters; set phonon.nac_params first")
