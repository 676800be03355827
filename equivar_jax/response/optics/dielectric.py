"""Dielectric tensor of a crystal whose ions are free to move, from Born charges and phonons at Gamma.

The command prints the contribution of each mode, the static tensor, and the longitudinal modes; it writes all
of these as JSON, and draws the dielectric function and the reflectivity.
"""

import argparse
import json
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.figures import check_picture
from equivar_jax.io.files import open_for_writing
from equivar_jax.prediction.loading import load
from equivar_jax.response.optics.dielectric_picture import AXES, plot_dielectric_function
from equivar_jax.response.optics.permittivity import (
    active_lines,
    ionic_contributions,
    longitudinal_modes,
    permittivity,
)
from equivar_jax.response.phonons.epsilon_inf import choose_epsilon_inf
from equivar_jax.response.phonons.gamma import (
    GammaModes,
    gamma_modes,
    infrared_intensities,
    mode_effective_charges,
)
from equivar_jax.response.phonons.gamma_input import Phonons, phonons_of
from equivar_jax.response.phonons.surroundings import warn_of_vacuum
from equivar_jax.structures import source

# The picture ends at the highest line times the margin; a line width has so many points.
_MARGIN, _POINTS_ACROSS_LINE = 1.2, 20


def run(options: argparse.Namespace) -> None:
    """Print the table, write the numbers, and draw the dielectric function."""
    if not (options.example or options.phonons):
        raise InputError("no phonopy file; name phonopy_params.yaml, or try --example")
    check_picture(options.output)
    predictor = load(options.checkpoint) if options.checkpoint and not options.example else None
    phonons = phonons_of(options, predictor)
    epsilon_inf = choose_epsilon_inf(phonons.atoms, options.epsilon_inf, predictor)
    modes = gamma_modes(phonons.atoms, phonons.force_constants)
    modes.require_stable(source(phonons.atoms))
    warn_of_vacuum(phonons.atoms, "the dielectric tensors and longitudinal modes")
    results = _collect_results(phonons, modes, epsilon_inf)
    print(_format_results(results))
    numbers = options.output.with_suffix(".json")
    _draw(phonons, modes, epsilon_inf, options)
    with open_for_writing(numbers) as handle:
        handle.write(json.dumps(results, indent=1) + "\n")
    print(f"written: {numbers}, {options.output}")


def _draw(
    phonons: Phonons, modes: GammaModes, epsilon_inf: Float[np.ndarray, "3 3"], options: argparse.Namespace
) -> None:
    """Draw the dielectric function along the axes, with marks at its poles and zeros."""
    if not (math.isfinite(options.linewidth) and options.linewidth > 0):
        raise InputError(f"--linewidth {options.linewidth}: give a positive number of cm^-1")
    charges, volume = phonons.charges, float(phonons.atoms.get_volume())
    transverse, longitudinal = [], []
    for direction in np.eye(3):
        transverse.append(active_lines(modes, charges, direction))
        with_field = longitudinal_modes(modes, charges, volume, epsilon_inf, direction)
        longitudinal.append(active_lines(with_field, charges, direction))
    end = _MARGIN * max([modes.wavenumbers[-1], *np.concatenate(longitudinal)])
    wavenumbers = np.arange(0.0, end, options.linewidth / _POINTS_ACROSS_LINE)
    function = permittivity(modes, charges, volume, epsilon_inf, wavenumbers, options.linewidth)
    plot_dielectric_function(wavenumbers, function, transverse, longitudinal, options.output)


def _collect_results(
    phonons: Phonons, modes: GammaModes, epsilon_inf: Float[np.ndarray, "3 3"]
) -> dict[str, Any]:
    """Compute all numbers that are printed or written; each name ends in its unit."""
    volume = float(phonons.atoms.get_volume())
    dipoles = mode_effective_charges(modes, phonons.charges)
    ionic = ionic_contributions(modes, phonons.charges, volume)
    return {
        "structure": source(phonons.atoms),
        "volume_A3": volume,
        "modes": [
            {
                "wavenumber_per_cm": float(modes.wavenumbers[m]),
                "mode_effective_charge_e_per_sqrt_u": dipoles[m].tolist(),
                "intensity_km_per_mol": float(infrared_intensities(modes, phonons.charges)[m]),
                "contribution": ionic[m].tolist(),
            }
            for m in range(len(ionic))
        ],
        "acoustic_left_out_per_cm": modes.rigid_wavenumbers.tolist(),
        "longitudinal_per_cm": {
            axis: active_lines(
                longitudinal_modes(modes, phonons.charges, volume, epsilon_inf, direction),
                phonons.charges,
                direction,
            ).tolist()
            for axis, direction in zip(AXES, np.eye(3), strict=True)
        },
        "epsilon_inf": epsilon_inf.tolist(),
        "epsilon_ionic": ionic.sum(axis=0).tolist(),
        "epsilon_0": (epsilon_inf + ionic.sum(axis=0)).tolist(),
    }


def _format_results(results: dict[str, Any]) -> str:
    """Format the numbers as a table."""
    lines = ["mode    TO (cm^-1)   IR (km/mol)   contribution to eps_0: xx       yy       zz"]
    for number, mode in enumerate(results["modes"], start=1):
        diagonal = "".join(f"{value:z9.3f}" for value in np.diagonal(mode["contribution"]))
        intensity = mode["intensity_km_per_mol"]
        lines.append(f"{number:4d} {mode['wavenumber_per_cm']:13.2f} {intensity:13.2f} {'':19}{diagonal}")
    left_out = ", ".join(f"{value:z.2f}" for value in results["acoustic_left_out_per_cm"])
    lines.append(f"acoustic modes left out: {left_out} cm^-1")
    for axis, values in results["longitudinal_per_cm"].items():
        lines.append(f"LO along {axis}: {', '.join(f'{value:.2f}' for value in values) or 'none'} cm^-1")
    for name in ("epsilon_inf", "epsilon_ionic", "epsilon_0"):
        rows = "   ".join(" ".join(f"{value:z8.4f}" for value in row) for row in results[name])
        lines.append(f"{name:13s} {rows}")
    return "\n".join(lines)
