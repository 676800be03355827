"""All numbers of a crystal's response, as one dictionary that becomes `results.json`.

Every name ends in its unit; what is not defined, such as the static tensor of an unstable crystal, is None.
"""

import dataclasses
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float
from phonopy import Phonopy

from equivar_jax.response.crystal.dispersion import bands, density_of_states, thermal_properties
from equivar_jax.response.crystal.ingredients import Tensors
from equivar_jax.response.crystal.modes import (
    PER_THZ,
    Unstable,
    describe_pattern,
    irreps_at_gamma,
    meaning_of,
    unstable_modes,
)
from equivar_jax.response.crystal.relaxation import space_group
from equivar_jax.response.optics.dielectric import longitudinal_deviations
from equivar_jax.response.optics.dielectric_picture import AXES
from equivar_jax.response.optics.permittivity import (
    active_lines,
    ionic_contributions,
    longitudinal_modes,
    permittivity,
    reflectivity,
)
from equivar_jax.response.optics.spectra import line_absorption
from equivar_jax.response.phonons.gamma import (
    GammaModes,
    gamma_modes,
    infrared_intensities,
    mode_effective_charges,
    oscillator_strengths,
    principal_modes,
)
from equivar_jax.response.phonons.gamma_input import force_constants_at_gamma
from equivar_jax.structures import reduced_formula

_ACTIVE = 1e-6
"""A mode with a larger share of the intensity of all modes is infrared active."""
_MARGIN, _POINTS_ACROSS_LINE = 1.2, 10
"""Spectra end at the highest line times the margin; a line has so many points."""


@dataclasses.dataclass(frozen=True)
class Crystal:
    """A crystal with everything that its response follows from."""

    phonon: Phonopy
    """With force constants and the NAC parameters of `tensors`."""
    atoms: Atoms
    """The primitive cell in phonopy's order."""
    tensors: Tensors
    """Born effective charges and eps_inf."""
    modes: GammaModes
    """Transverse modes, degenerate ones along the principal axes of their dipoles."""
    unstable: list[Unstable]
    """Imaginary modes, the softest first."""

    @property
    def is_stable_at_gamma(self) -> bool:
        """Whether a field has a defined effect."""
        return self.modes.is_stable


def crystal_of(phonon: Phonopy, atoms: Atoms, tensors: Tensors) -> Crystal:
    """Compute the modes of a crystal.

    Args:
        phonon: With force constants; the NAC parameters are set here.
        atoms: Its primitive cell in phonopy's order.
        tensors: Born effective charges and eps_inf.

    Raises:
        InputError: The primitive cell has one atom, which has no vibrations at Gamma.
    """
    modes = gamma_modes(atoms, force_constants_at_gamma(phonon))
    unstable = unstable_modes(phonon)
    phonon.nac_params = tensors.nac
    return Crystal(phonon, atoms, tensors, principal_modes(modes, tensors.charges), unstable)


def collect(crystal: Crystal, linewidth: float) -> dict[str, Any]:
    """Compute all numbers.

    Args:
        crystal: The crystal.
        linewidth: Full width at half maximum of the lines of spectra, in cm⁻¹.
    """
    atoms, tensors = crystal.atoms, crystal.tensors
    symbol, number = space_group(atoms)
    deviation = tensors.charges_std
    results: dict[str, Any] = {
        "formula": reduced_formula(atoms),
        "spacegroup": {"symbol": symbol, "number": number},
        "structure": {
            "cell_A": atoms.cell.array.tolist(),
            "symbols": list(atoms.symbols),
            "scaled_positions": atoms.get_scaled_positions().tolist(),
            "masses_u": atoms.get_masses().tolist(),
            "volume_A3": float(atoms.get_volume()),
        },
        "born_effective_charges_e": tensors.charges.tolist(),
        "born_effective_charges_std_e": None if deviation is None else deviation.tolist(),
        **_dielectric_tensors(crystal),
        "modes": _modes(crystal),
        "acoustic_left_out_per_cm": crystal.modes.rigid_wavenumbers.tolist(),
        "longitudinal": [_longitudinal(crystal, number) for number in range(3)],
        "bands": bands(crystal.phonon),
        "dos": density_of_states(crystal.phonon),
        "thermal": None if crystal.unstable else thermal_properties(crystal.phonon),
        "dielectric_function": None,
        "infrared": None,
        "imaginary": [_describe(crystal, mode) for mode in crystal.unstable],
        "std": None,
    }
    if tensors.members is not None:
        members = tensors.members
        results["std"] = {"members": len(members.charges), "times_apart": float(members.factor)}
    if crystal.is_stable_at_gamma:
        results |= _spectra(crystal, linewidth)
    return results


def _dielectric_tensors(crystal: Crystal) -> dict[str, Any]:
    """Compute eps_inf, the ionic part and the static tensor, with standard deviations of a committee."""
    tensors, volume = crystal.tensors, float(crystal.atoms.get_volume())
    values: dict[str, Any] = {"epsilon_inf": tensors.epsilon_inf, "epsilon_ionic": None, "epsilon_0": None}
    deviations: dict[str, Any] = dict.fromkeys(values)
    members = tensors.members
    if members is not None:
        of_electrons = members.sigma(lambda _, tensor: np.asarray(tensor))
        deviations["epsilon_inf"] = of_electrons if of_electrons.any() else None  # else it was given
    if crystal.is_stable_at_gamma:

        def ionic_part(charges: Float[np.ndarray, "atoms 3 3"]) -> Float[np.ndarray, "3 3"]:
            return ionic_contributions(crystal.modes, charges, volume).sum(axis=0)

        values["epsilon_ionic"] = ionic_part(tensors.charges)
        values["epsilon_0"] = tensors.epsilon_inf + values["epsilon_ionic"]
        if members is not None:
            deviations["epsilon_ionic"] = members.sigma(lambda charges, _: ionic_part(charges))
            deviations["epsilon_0"] = members.sigma(
                lambda charges, tensor: np.asarray(tensor) + ionic_part(charges)
            )
    found = values | {f"{name}_std": deviation for name, deviation in deviations.items()}
    return {name: None if value is None else value.tolist() for name, value in found.items()}


def _modes(crystal: Crystal) -> list[dict[str, Any]]:
    """Describe each transverse mode."""
    modes, charges, members = crystal.modes, crystal.tensors.charges, crystal.tensors.members
    names = irreps_at_gamma(crystal.phonon, modes)
    intensities, dipoles = infrared_intensities(modes, charges), mode_effective_charges(modes, charges)
    deviations: Any = [None] * len(names)
    if members is not None:
        deviations = members.sigma(lambda of_member, _: infrared_intensities(modes, of_member)).tolist()
    contributions: Any = [None] * len(names)
    if crystal.is_stable_at_gamma:
        contributions = ionic_contributions(modes, charges, float(crystal.atoms.get_volume())).tolist()
    moved = modes.eigenvectors / np.sqrt(modes.masses)[:, None]
    return [
        {
            "wavenumber_per_cm": float(modes.wavenumbers[m]),
            "frequency_THz": float(modes.wavenumbers[m] / PER_THZ),
            "irrep": names[m],
            "infrared_active": bool(intensities[m] > _ACTIVE * intensities.sum()),
            "intensity_km_per_mol": float(intensities[m]),
            "intensity_std_km_per_mol": deviations[m],
            "mode_effective_charge_e_per_sqrt_u": dipoles[m].tolist(),
            "contribution": contributions[m],
            "displacements_per_sqrt_u": moved[m].tolist(),
        }
        for m in range(len(names))
    ]


def _longitudinal(crystal: Crystal, axis: int) -> dict[str, Any]:
    """Find the modes with a dipole along an axis, for a wave vector along it."""
    modes, tensors, direction = crystal.modes, crystal.tensors, np.eye(3)[axis]
    volume = float(crystal.atoms.get_volume())
    with_field = longitudinal_modes(modes, tensors.charges, volume, tensors.epsilon_inf, direction)
    deviations = None
    if tensors.members is not None:
        deviations = longitudinal_deviations(
            modes, tensors.charges, volume, tensors.epsilon_inf, direction, tensors.members
        ).tolist()
    return {
        "direction": AXES[axis],
        "vector": direction.tolist(),
        "lines_per_cm": active_lines(with_field, tensors.charges, direction).tolist(),
        "std_per_cm": deviations,
    }


def _spectra(crystal: Crystal, linewidth: float) -> dict[str, Any]:
    """Compute dielectric function, reflectivity and infrared absorption."""
    modes, tensors, volume = crystal.modes, crystal.tensors, float(crystal.atoms.get_volume())
    highest = [
        longitudinal_modes(modes, tensors.charges, volume, tensors.epsilon_inf, axis).wavenumbers[-1]
        for axis in np.eye(3)
    ]
    grid = np.arange(0.0, _MARGIN * max(highest), linewidth / _POINTS_ACROSS_LINE)
    function = permittivity(modes, tensors.charges, volume, tensors.epsilon_inf, grid, linewidth)
    components = {axis: function[:, number, number] for number, axis in enumerate(AXES)}
    absorbed = line_absorption(
        grid, modes.wavenumbers, oscillator_strengths(modes, tensors.charges), volume, linewidth
    )
    return {
        "dielectric_function": {
            "linewidth_per_cm": linewidth,
            "wavenumber_per_cm": grid.tolist(),
            "real": {axis: values.real.tolist() for axis, values in components.items()},
            "imaginary": {axis: values.imag.tolist() for axis, values in components.items()},
            "reflectivity": {axis: reflectivity(values).tolist() for axis, values in components.items()},
        },
        "infrared": {
            "resolution_per_cm": linewidth,
            "wavenumber_per_cm": grid.tolist(),
            "absorption_per_cm": absorbed.tolist(),
        },
    }


def _describe(crystal: Crystal, mode: Unstable) -> dict[str, Any]:
    """Describe an imaginary mode."""
    dipole = np.einsum("iab,ib->a", crystal.tensors.charges, mode.displacements)
    size = np.linalg.norm(mode.displacements)
    is_polar = mode.is_at_gamma and bool(np.linalg.norm(dipole) > 1e-3 * size)
    return {
        "where": mode.where,
        "wavenumber_per_cm": mode.wavenumber,
        "degeneracy": mode.degeneracy,
        "wave_vectors": mode.star,
        "pattern": describe_pattern(mode, list(crystal.atoms.symbols)),
        "meaning": meaning_of(mode, is_polar),
    }
