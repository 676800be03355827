"""Static dielectric tensors, LO frequencies and infrared intensities from two sets of tensors, one of DFPT.

The force constants are the same for both, so that all that differs comes from the charges and eps_inf.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from benchmarks.real_data.from_charges.crystals import Crystal
from equivar_jax.response.optics.dielectric import longitudinal_deviations
from equivar_jax.response.optics.permittivity import (
    active_levels,
    ionic_contributions,
    level_means,
    longitudinal_modes,
    matching_wavenumbers,
)
from equivar_jax.response.phonons.gamma import GammaModes, infrared_intensities
from equivar_jax.response.phonons.levels import find_levels
from equivar_jax.response.phonons.propagation import Members

DIRECTIONS = np.eye(3)
"""Of the wave vector, Cartesian, in the axes of the file."""
PERCENTILE = 90
_STILL = 0.1
"""In cm⁻¹. A line whose error and standard deviation are both smaller is not counted: no field moves it."""
_VISIBLE = 1e-3
"""Share of the strength of all levels below which a level is not counted, since symmetry may forbid it."""


class Tensors(NamedTuple):
    """The tensors of a crystal that a response is computed from."""

    charges: Float[np.ndarray, "atoms 3 3"]
    """In e, [atom, field, displacement]."""
    epsilon_inf: Float[np.ndarray, "3 3"]


class Response(NamedTuple):
    """What follows from the tensors of a crystal and its force constants."""

    ionic: float
    """A third of the trace of the ionic part of the static dielectric tensor."""
    electronic: float
    """A third of the trace of eps_inf."""
    longitudinal: Float[np.ndarray, "directions modes"]
    """Wavenumbers in cm⁻¹ of all modes with their field, ascending, for each of `DIRECTIONS`."""
    intensities: Float[np.ndarray, " levels"]
    """Infrared intensity of each level in km/mol."""

    @property
    def static(self) -> float:
        """A third of the trace of the static dielectric tensor."""
        return self.electronic + self.ionic


def respond(modes: GammaModes, volume: float, tensors: Tensors) -> Response:
    """Compute the response of a stable crystal."""
    fields = [
        longitudinal_modes(modes, tensors.charges, volume, tensors.epsilon_inf, direction).wavenumbers
        for direction in DIRECTIONS
    ]
    return Response(
        ionic_constant(modes, volume, tensors.charges),
        float(np.trace(tensors.epsilon_inf) / 3),
        np.array(fields),
        intensities_of_levels(modes, tensors.charges),
    )


def ionic_constant(modes: GammaModes, volume: float, charges: Float[np.ndarray, "atoms 3 3"]) -> float:
    """Return a third of the trace of the ionic part of the static dielectric tensor."""
    return float(np.einsum("maa->", ionic_contributions(modes, charges, volume)) / 3)


def intensities_of_levels(
    modes: GammaModes, charges: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, " levels"]:
    """Return the infrared intensity of each level, that of all its modes together, in km/mol."""
    intensities = infrared_intensities(modes, charges)
    return np.array([intensities[level].sum() for level in find_levels(modes.squares)])


def compare(
    crystal: Crystal, modes: GammaModes, reference: Tensors, predicted: Tensors, members: Members | None
) -> dict[str, Any]:
    """Compare what follows from predicted tensors with what follows from those of DFPT.

    LO frequencies are compared in ascending order, for each direction, which is the pairing with the smallest
    worst difference.

    Args:
        crystal: The crystal.
        modes: Its modes, all stable.
        reference: The tensors of DFPT.
        predicted: Those of the network, perhaps with eps_inf of DFPT.
        members: What the members of a committee say; None for a single network.

    Returns:
        Numbers for the result file: values, errors (relative ones as fractions), and for a committee how many
        numbers are within one and two standard deviations.
    """
    atoms = crystal.phonons.atoms
    volume = float(atoms.get_volume())
    theirs, ours = (respond(modes, volume, tensors) for tensors in (reference, predicted))
    found = {
        "name": crystal.name,
        "formula": atoms.get_chemical_formula(),
        "atoms": len(atoms),
        "charges_mae": float(np.abs(predicted.charges - reference.charges).mean()),
        "ionic": {"dfpt": theirs.ionic, "predicted": ours.ionic},
        "static": {"dfpt": theirs.static, "predicted": ours.static},
        "highest_longitudinal": {
            "dfpt": float(theirs.longitudinal.max()),
            "predicted": float(ours.longitudinal.max()),
        },
        "errors": {
            "ionic": abs(ours.ionic / theirs.ionic - 1),
            "static": abs(ours.static / theirs.static - 1),
            "electronic": abs(ours.electronic / theirs.electronic - 1),
            "longitudinal": float(np.abs(ours.longitudinal - theirs.longitudinal).max()),
            "intensities": float(
                np.abs(ours.intensities - theirs.intensities).sum() / theirs.intensities.sum()
            ),
        },
    }
    if members is not None:
        static = _sigma_of_static(modes, volume, members)
        found["static"]["sigma"] = static
        found["within"] = {
            "static": _count([ours.static - theirs.static], [static]),
            "longitudinal": _count(*_longitudinal_ratios(modes, volume, reference, predicted, members)),
            "intensities": _count(*_intensity_ratios(modes, theirs, ours, members)),
        }
    return found


def summarise(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Summarise the errors of all crystals: median, mean and 90th percentile."""
    errors = {"charges": [row["charges_mae"] for row in rows]}
    errors |= {name: [row["errors"][name] for row in rows] for name in rows[0]["errors"]}
    return {
        name: {
            "median": float(np.median(values)),
            "mean": float(np.mean(values)),
            "percentile_90": float(np.percentile(values, PERCENTILE)),
        }
        for name, values in errors.items()
    }


def summarise_coverage(rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]] | None:
    """Summarise how many numbers are within one and two standard deviations; None for a single network."""
    if "within" not in rows[0]:
        return None
    found = {}
    for name in rows[0]["within"]:
        counted, one, two = np.sum([row["within"][name] for row in rows], axis=0)
        found[name] = {"counted": int(counted), "within_one": one / counted, "within_two": two / counted}
    return found


def _sigma_of_static(modes: GammaModes, volume: float, members: Members) -> float:
    """Compute the standard deviation of a third of the trace of the static dielectric tensor."""
    return float(
        members.sigma(
            lambda charges, tensor: np.asarray(
                ionic_constant(modes, volume, charges) + np.trace(np.asarray(tensor)) / 3
            )
        )
    )


def _longitudinal_ratios(
    modes: GammaModes, volume: float, reference: Tensors, predicted: Tensors, members: Members
) -> tuple[np.ndarray, np.ndarray]:
    """Return errors and standard deviations in cm⁻¹ of the LO lines that `equivar response` prints."""
    errors, sigmas = [], []
    for direction in DIRECTIONS:
        ours, theirs = (
            longitudinal_modes(modes, tensors.charges, volume, tensors.epsilon_inf, direction)
            for tensors in (predicted, reference)
        )
        levels = active_levels(ours, predicted.charges, direction)
        difference = ours.wavenumbers - matching_wavenumbers(ours, theirs)
        errors.append(level_means(difference, levels))
        charges, tensor = predicted
        sigmas.append(longitudinal_deviations(modes, charges, volume, tensor, direction, members))
    error, sigma = np.abs(np.concatenate(errors)), np.concatenate(sigmas)
    moved = np.maximum(error, sigma) > _STILL
    return error[moved], sigma[moved]


def _intensity_ratios(
    modes: GammaModes, theirs: Response, ours: Response, members: Members
) -> tuple[np.ndarray, np.ndarray]:
    """Return errors and standard deviations in km/mol of the levels that absorb."""
    sigmas = members.sigma(lambda charges, _: intensities_of_levels(modes, charges))
    strongest = np.maximum(theirs.intensities, ours.intensities)
    visible = strongest > _VISIBLE * theirs.intensities.sum()
    return np.abs(ours.intensities - theirs.intensities)[visible], sigmas[visible]


def _count(errors: Sequence[float] | np.ndarray, sigmas: Sequence[float] | np.ndarray) -> list[int]:
    """Count the numbers, those within one standard deviation, and those within two."""
    error, sigma = np.abs(errors), np.asarray(sigmas)
    return [len(error), *(int(np.sum(error <= k * sigma)) for k in (1, 2))]
