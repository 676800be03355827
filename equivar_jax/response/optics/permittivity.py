"""Dielectric function of a crystal in the infrared, from its phonons at Gamma."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Complex, Float
from scipy.optimize import linear_sum_assignment

from equivar_jax.response.phonons.gamma import (
    GammaModes,
    mode_effective_charges,
    oscillator_strengths,
    principal_modes,
)
from equivar_jax.response.phonons.levels import find_levels
from equivar_jax.response.units import INVERSE_CM, VACUUM_PERMITTIVITY

# A level with less than this share of the strength of all modes has no line.
_SILENT = 1e-9


def permittivity(
    modes: GammaModes,
    charges: Float[np.ndarray, "atoms 3 3"],
    volume: float,
    epsilon_inf: Float[np.ndarray, "3 3"],
    wavenumbers: Float[np.ndarray, " frequencies"],
    linewidth: float = 10.0,
) -> Complex[np.ndarray, "frequencies 3 3"]:
    """Compute the dielectric function of the lattice; electrons follow the field instantaneously.

    `eps(omega) = eps_inf + sum_m S_m / (V epsilon_0 (omega_m² - omega² - i gamma omega))`. This is Eq. 54 of
    Gonze and Lee, PRB 55, 10355 (1997), with damping added. At frequency zero it is the static tensor.

    Args:
        modes: Transverse modes, all stable.
        charges: Born effective charges in e, [atom, field, displacement].
        volume: Volume of the cell in Å³.
        epsilon_inf: Dielectric tensor of clamped ions.
        wavenumbers: Where to compute the function, in cm⁻¹.
        linewidth: gamma, the full width at half maximum of every line, in cm⁻¹.

    Returns:
        The function [frequency, field, field]; its imaginary part is positive where light is absorbed.
    """
    omega, gamma = wavenumbers / INVERSE_CM, linewidth / INVERSE_CM
    resonances = 1 / (modes.squares - (omega**2 + 1j * gamma * omega)[:, None])
    strengths = oscillator_strengths(modes, charges) / (volume * VACUUM_PERMITTIVITY)
    return epsilon_inf + np.einsum("fm,mab->fab", resonances, strengths)


def ionic_contributions(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"], volume: float
) -> Float[np.ndarray, "modes 3 3"]:
    """Compute what each mode adds to the static dielectric tensor, `S_m / (V epsilon_0 omega_m²)`.

    The sum over modes is `Z Phi^+ Z^T / (V epsilon_0)`, where Phi^+ is the pseudo-inverse of the force
    constants, and does not depend on the masses.

    Args:
        modes: Transverse modes, all stable.
        charges: Born effective charges in e, [atom, field, displacement].
        volume: Volume of the cell in Å³.

    Returns:
        The contributions [mode, field, field], dimensionless.

    Raises:
        InputError: A mode is unstable.
    """
    modes.require_stable("the crystal")
    return oscillator_strengths(modes, charges) / (
        volume * VACUUM_PERMITTIVITY * modes.squares[:, None, None]
    )


def static_permittivity(
    modes: GammaModes,
    charges: Float[np.ndarray, "atoms 3 3"],
    volume: float,
    epsilon_inf: Float[np.ndarray, "3 3"],
) -> Float[np.ndarray, "3 3"]:
    """Compute the static dielectric tensor at a fixed cell: `eps_inf` plus all ionic contributions.

    Args:
        modes: Transverse modes, all stable.
        charges: Born effective charges in e, [atom, field, displacement].
        volume: Volume of the cell in Å³.
        epsilon_inf: Dielectric tensor of clamped ions.

    Raises:
        InputError: A mode is unstable.
    """
    return epsilon_inf + ionic_contributions(modes, charges, volume).sum(axis=0)


def longitudinal_modes(
    modes: GammaModes,
    charges: Float[np.ndarray, "atoms 3 3"],
    volume: float,
    epsilon_inf: Float[np.ndarray, "3 3"],
    direction: Float[np.ndarray, "3"],
) -> GammaModes:
    """Compute the modes with their macroscopic field, for a wave vector q -> 0 along a direction.

    The non-analytical term `(q.Z_m)(q.Z_n) / (V epsilon_0 q.eps_inf.q)` is added to the matrix of squared
    frequencies (Gonze and Lee, PRB 55, 10355 (1997)). Modes with a dipole along q are the zeros of
    `q.eps(omega).q`. All modes together fulfil the Lyddane-Sachs-Teller relation,
    `q.eps_0.q / q.eps_inf.q = product of (omega_LO / omega_TO)²`.

    Args:
        modes: Transverse modes.
        charges: Born effective charges in e, [atom, field, displacement].
        volume: Volume of the cell in Å³.
        epsilon_inf: Dielectric tensor of clamped ions.
        direction: Direction of q, of any length.
    """
    modes = principal_modes(modes, charges)
    along = mode_effective_charges(modes, charges) @ direction
    screening = volume * VACUUM_PERMITTIVITY * (direction @ epsilon_inf @ direction)
    squares, mixing = np.linalg.eigh(np.diag(modes.squares) + np.outer(along, along) / screening)
    return GammaModes(squares, np.tensordot(mixing.T, modes.eigenvectors, 1), modes.masses, modes.rigid)


def reflectivity(component: Complex[np.ndarray, " frequencies"]) -> Float[np.ndarray, " frequencies"]:
    """Compute the reflectivity at normal incidence, `|(sqrt(eps) - 1) / (sqrt(eps) + 1)|²`.

    Args:
        component: Diagonal component of the dielectric function along the polarisation of the light, which is
            along a principal axis.
    """
    index = np.sqrt(component)
    return np.abs((index - 1) / (index + 1)) ** 2


def active_lines(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"], direction: Float[np.ndarray, "3"]
) -> Float[np.ndarray, " lines"]:
    """List the wavenumbers in cm⁻¹ of the levels with a dipole along a direction, each level once.

    In a degenerate level, one mode can be chosen that has all of the level's dipole along the direction.

    Args:
        modes: Transverse modes, or longitudinal ones for that direction.
        charges: Born effective charges in e, [atom, field, displacement].
        direction: A vector of any length.
    """
    return level_means(modes.wavenumbers, active_levels(modes, charges, direction))


def active_levels(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"], direction: Float[np.ndarray, "3"]
) -> list[slice]:
    """List the levels that `active_lines` has a line for, as slices of the modes."""
    dipoles = mode_effective_charges(modes, charges)
    along = (dipoles @ direction) ** 2 / (direction @ direction)
    threshold = _SILENT * np.sum(dipoles**2)
    return [level for level in find_levels(modes.squares) if along[level].sum() > threshold]


def level_means(values: Float[np.ndarray, " modes"], levels: Sequence[slice]) -> Float[np.ndarray, " lines"]:
    """Return the mean value of the modes of each level."""
    return np.array([values[level].mean() for level in levels])


def matching_wavenumbers(modes: GammaModes, others: GammaModes) -> Float[np.ndarray, " modes"]:
    """Return the wavenumbers of other modes of a structure, in cm⁻¹, each in the place of its like.

    Modes are paired so that the sum of their squared overlaps is the largest. With other charges, a
    longitudinal mode may move across modes that it does not mix with, which the order by frequency misses.

    Args:
        modes: Modes, in whose order the wavenumbers come.
        others: As many modes of the same structure, such as longitudinal ones with other charges.
    """
    overlaps = np.tensordot(modes.eigenvectors, others.eigenvectors, axes=((1, 2), (1, 2))) ** 2
    return others.wavenumbers[linear_sum_assignment(overlaps, maximize=True)[1]]
