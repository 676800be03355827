"""Change of polarisation along a path, and P-E loops."""

from equivar_jax.response.polarisation.ferroelectric import SoftModeCrystal, barium_titanate
from equivar_jax.response.polarisation.hysteresis import quasi_static_loop, thermal_loop
from equivar_jax.response.polarisation.path import (
    PolarisationPath,
    PolarisationTracker,
    nearest_branch,
    polarisation_along,
    polarisation_quanta,
)
from equivar_jax.response.polarisation.protocols import constant, sine, steps, triangle

__all__ = [
    "PolarisationPath",
    "PolarisationTracker",
    "SoftModeCrystal",
    "barium_titanate",
    "constant",
    "nearest_branch",
    "polarisation_along",
    "polarisation_quanta",
    "quasi_static_loop",
    "sine",
    "steps",
    "thermal_loop",
    "triangle",
]
