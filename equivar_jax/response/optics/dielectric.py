"""Dielectric tensor of a crystal whose ions are free to move, from Born charges and phonons at Gamma.

The command prints the contribution of each mode, the static tensor, and the longitudinal modes; it writes all
of these as JSON, and draws the dielectric function and the reflectivity. Where the charges are those of a
committee, the numbers have standard deviations.
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
    active_levels,
    active_lines,
    ionic_contributions,
    level_means,
    longitudinal_modes,
    matching_wavenumbers,
    permittivity,
    static_permittivity,
)
from equivar_jax.response.phonons.epsilon_inf import choose_epsilon_inf
from equivar_jax.response.phonons.gamma import (
    GammaModes,
    gamma_modes,
    infrared_intensities,
    mode_effective_charges,
)
from equivar_jax.response.phonons.gamma_input import Phonons, phonons_of
from equivar_jax.response.phonons.propagation import Members, members_of
from equivar_jax.response.phonons.surroundings import warn_of_vacuum
from equivar_jax.structures import EPSILON, source

# The picture ends at the highest line times the margin; a line width has so many points.
_MARGIN, _POINTS_ACROSS_LINE = 1.2, 20


def run(options: argparse.Namespace) -> None:
    """Print the table, write the numbers, and draw the dielectric function."""
    if not (options.example or options.phonons):
        raise InputError("no phonopy file; name phonopy_params.yaml, or try --example")
    check_picture(options.output)
    phonons, predictor = phonons_of(options)
    is_known = options.epsilon_inf is not None or EPSILON in phonons.atoms.info
    of_epsilon = load() if predictor is None and not is_known else predictor
    epsilon_inf = choose_epsilon_inf(phonons.atoms, options.epsilon_inf, of_epsilon)
    modes = gamma_modes(phonons.atoms, phonons.force_constants)
    modes.require_stable(source(phonons.atoms))
    warn_of_vacuum(phonons.atoms, "the dielectric tensors and longitudinal modes")
    results = _collect_results(phonons, modes, epsilon_inf)
    members = members_of(predictor, phonons.atoms, epsilon_inf if is_known else None)
    if members is not None:
        _add_deviations(results, phonons, modes, epsilon_inf, members)
    print(_format_results(results))
    if members is not None:
        print(members.describe())
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


def _add_deviations(
    results: dict[str, Any],
    phonons: Phonons,
    modes: GammaModes,
    epsilon_inf: Float[np.ndarray, "3 3"],
    members: Members,
) -> None:
    """Add the standard deviations over the members of a committee to the numbers; their names have "std"."""
    volume = float(phonons.atoms.get_volume())
    intensities = members.sigma(lambda charges, _: infrared_intensities(modes, charges))
    contributions = members.sigma(lambda charges, _: ionic_contributions(modes, charges, volume))
    for mode, intensity, contribution in zip(results["modes"], intensities, contributions, strict=True):
        mode["intensity_std_km_per_mol"] = float(intensity)
        mode["contribution_std"] = contribution.tolist()
    results["longitudinal_std_per_cm"] = {
        axis: longitudinal_deviations(
            modes, phonons.charges, volume, epsilon_inf, direction, members
        ).tolist()
        for axis, direction in zip(AXES, np.eye(3), strict=True)
    }
    of_electrons = members.sigma(lambda _, tensor: np.asarray(tensor))
    if of_electrons.any():  # else the tensor was given
        results["epsilon_inf_std"] = of_electrons.tolist()
    results["epsilon_ionic_std"] = members.sigma(
        lambda charges, _: ionic_contributions(modes, charges, volume).sum(axis=0)
    ).tolist()
    results["epsilon_0_std"] = members.sigma(
        lambda charges, tensor: static_permittivity(modes, charges, volume, np.asarray(tensor))
    ).tolist()
    results["std"] = {"members": len(members.charges), "times_apart": members.factor}


def longitudinal_deviations(
    modes: GammaModes,
    charges: Float[np.ndarray, "atoms 3 3"],
    volume: float,
    epsilon_inf: Float[np.ndarray, "3 3"],
    direction: Float[np.ndarray, "3"],
    members: Members,
) -> Float[np.ndarray, " lines"]:
    """Compute standard deviations of the longitudinal lines along a direction, in cm⁻¹.

    Args:
        modes: Transverse modes.
        charges: Born effective charges of the committee in e, [atom, field, displacement].
        volume: Volume of the cell in Å³.
        epsilon_inf: Dielectric tensor of clamped ions, of the committee or given.
        direction: Direction of q, of any length.
        members: What the members of the committee say.

    Returns:
        One number for each line of `active_lines`.
    """
    found = longitudinal_modes(modes, charges, volume, epsilon_inf, direction)
    levels = active_levels(found, charges, direction)

    def lines_of(
        of_member: Float[np.ndarray, "atoms 3 3"], tensor: Float[np.ndarray, "3 3"] | None
    ) -> Float[np.ndarray, " lines"]:
        assert tensor is not None  # that of the committee is known, too
        moved = longitudinal_modes(modes, of_member, volume, tensor, direction)
        return level_means(matching_wavenumbers(found, moved), levels)

    return members.sigma(lines_of)


def _format_results(results: dict[str, Any]) -> str:
    """Format the numbers as a table, with standard deviations if there are any."""
    lines = ["mode    TO (cm^-1)   IR (km/mol)   contribution to eps_0: xx       yy       zz"]
    for number, mode in enumerate(results["modes"], start=1):
        diagonal = "".join(f"{value:z9.3f}" for value in np.diagonal(mode["contribution"]))
        intensity, sigma = mode["intensity_km_per_mol"], _plus_minus(mode.get("intensity_std_km_per_mol"))
        lines.append(f"{number:4d} {mode['wavenumber_per_cm']:13.2f} {intensity:13.2f} {sigma:19}{diagonal}")
    left_out = ", ".join(f"{value:z.2f}" for value in results["acoustic_left_out_per_cm"])
    lines.append(f"acoustic modes left out: {left_out} cm^-1")
    for axis, values in results["longitudinal_per_cm"].items():
        sigmas = results.get("longitudinal_std_per_cm", {}).get(axis, [None] * len(values))
        pairs = zip(values, sigmas, strict=True)
        found = ", ".join(f"{value:.2f}{_plus_minus(sigma)}" for value, sigma in pairs)
        lines.append(f"LO along {axis}: {found or 'none'} cm^-1")
    for name in ("epsilon_inf", "epsilon_ionic", "epsilon_0"):
        lines.append(_format_tensor(name, results[name]))
        if f"{name}_std" in results:
            lines.append(_format_tensor("  ±", results[f"{name}_std"]))
    return "\n".join(lines)


def _plus_minus(sigma: float | None) -> str:
    """Format a standard deviation, if there is one."""
    return "" if sigma is None else f" ± {sigma:.2f}"


def _format_tensor(name: str, tensor: list[list[float]]) -> str:
    """Format a tensor as one line."""
    rows = "   ".join(" ".join(f"{value:z8.4f}" for value in row) for row in tensor)
    return f"{name:13s} {rows}"
