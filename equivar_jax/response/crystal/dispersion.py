"""Bands, density of states and thermal properties, by phonopy, as plain numbers."""

from typing import Any

import numpy as np
from phonopy import Phonopy

from equivar_jax.progress import announce_if_slow
from equivar_jax.response.crystal.modes import PER_THZ
from equivar_jax.response.splitting.bands import band_path, band_structure

_MESH_LENGTH = 60.0
"""Wave vectors are as dense as for a cell of this length in Å (phonopy's meaning of a length)."""
_TEMPERATURES = (0.0, 1000.0, 10.0)
"""First, last, step, in K."""


def bands(phonon: Phonopy) -> dict[str, Any]:
    """Compute the bands with the field of the ions' dipoles, along seekpath's path.

    Args:
        phonon: A phonopy object with force constants and NAC parameters.

    Returns:
        "segments", each with "from", "to", "joined" (to the next), "distance_per_A" (with the factor 2 pi
        left out, as phonopy has it) and "wavenumbers_per_cm" [point, band], imaginary ones negative.
    """
    path = band_path(phonon)
    with announce_if_slow("computing bands"):
        found = band_structure(phonon, path)
    return {
        "segments": [
            {
                "from": first.replace("G", "Γ"),  # no other name has this letter
                "to": last.replace("G", "Γ"),
                "joined": bool(joined),
                "distance_per_A": np.asarray(distance).tolist(),
                "wavenumbers_per_cm": (np.asarray(frequencies) * PER_THZ).tolist(),
            }
            for (first, last), joined, distance, frequencies in zip(
                path.ends, path.connections, found.distances, found.frequencies, strict=True
            )
        ]
    }


def density_of_states(phonon: Phonopy) -> dict[str, Any]:
    """Compute the density of states and the share of each element, by the tetrahedron method.

    Args:
        phonon: A phonopy object with force constants; its mesh is set.

    Returns:
        "wavenumber_per_cm", "total" and "elements", in states per primitive cell and cm⁻¹.
    """
    with announce_if_slow("computing the density of states"):
        phonon.run_mesh(_MESH_LENGTH, with_eigenvectors=True, is_mesh_symmetry=False)
        found = phonon.run_projected_dos()
    projected = np.asarray(found.projected_dos) / PER_THZ
    symbols = np.array(phonon.primitive.symbols)
    return {
        "wavenumber_per_cm": (np.asarray(found.frequency_points) * PER_THZ).tolist(),
        "total": projected.sum(axis=0).tolist(),
        "elements": {
            symbol: projected[symbols == symbol].sum(axis=0).tolist()
            for symbol in dict.fromkeys(symbols.tolist())
        },
    }


def thermal_properties(phonon: Phonopy) -> dict[str, list[float]]:
    """Compute harmonic thermal properties of the mesh of `density_of_states`, for a mole of primitive cells.

    Args:
        phonon: A phonopy object with force constants and a mesh.

    Returns:
        Names with units, each a list over temperatures.
    """
    first, last, step = _TEMPERATURES
    found = phonon.run_thermal_properties(t_min=first, t_max=last, t_step=step, exclude_gamma_acoustic=True)
    return {
        "temperature_K": np.asarray(found.temperatures).tolist(),
        "free_energy_kJ_per_mol": np.asarray(found.free_energy).tolist(),
        "entropy_J_per_K_per_mol": np.asarray(found.entropy).tolist(),
        "heat_capacity_J_per_K_per_mol": np.asarray(found.heat_capacity).tolist(),
    }
