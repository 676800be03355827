"""Dielectric tensors and infrared spectra, from phonons or from a trajectory."""

from equivar_jax.response.optics.dipole import dipole_rates
from equivar_jax.response.optics.motion import mean_temperature
from equivar_jax.response.optics.permittivity import (
    active_lines,
    ionic_contributions,
    longitudinal_modes,
    permittivity,
    reflectivity,
    static_permittivity,
)
from equivar_jax.response.optics.spectra import (
    DipoleRates,
    PowerSpectrum,
    absorption,
    ionic_susceptibility,
    line_absorption,
    molar_absorption,
    power_spectrum,
)

__all__ = [
    "DipoleRates",
    "PowerSpectrum",
    "absorption",
    "active_lines",
    "dipole_rates",
    "ionic_contributions",
    "ionic_susceptibility",
    "line_absorption",
    "longitudinal_modes",
    "mean_temperature",
    "molar_absorption",
    "permittivity",
    "power_spectrum",
    "reflectivity",
    "static_permittivity",
]
