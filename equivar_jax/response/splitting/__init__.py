"""LO-TO splitting: BORN and YAML files for phonopy, modes at Gamma, phonon bands."""

from equivar_jax.response.splitting.bands import band_path, band_structure, plot_bands
from equivar_jax.response.splitting.born_gamma import mode_splitting, strongest_polar

__all__ = [
    "band_path",
    "band_structure",
    "mode_splitting",
    "plot_bands",
    "strongest_polar",
]
