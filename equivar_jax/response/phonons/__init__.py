"""Phonons at Gamma: modes, their effective charges, and what they start from; spread over a committee."""

from equivar_jax.response.phonons.epsilon_inf import choose_epsilon_inf
from equivar_jax.response.phonons.gamma import (
    GammaModes,
    force_constants_by_differences,
    gamma_modes,
    infrared_intensities,
    mode_effective_charges,
    oscillator_strengths,
    principal_modes,
)
from equivar_jax.response.phonons.gamma_input import Phonons, example_phonons, read_phonons
from equivar_jax.response.phonons.harmonic import HarmonicCrystal
from equivar_jax.response.phonons.propagation import Members, members_of

__all__ = [
    "GammaModes",
    "HarmonicCrystal",
    "Members",
    "Phonons",
    "choose_epsilon_inf",
    "example_phonons",
    "force_constants_by_differences",
    "gamma_modes",
    "infrared_intensities",
    "members_of",
    "mode_effective_charges",
    "oscillator_strengths",
    "principal_modes",
    "read_phonons",
]
