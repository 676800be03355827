"""Phonon bands by phonopy, with and without the non-analytical term, and the polar modes at Gamma."""

import itertools
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import seekpath
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import NacParams, get_dynamical_matrix
from phonopy.phonon.band_structure import BandStructure, get_band_qpoints_and_path_connections

from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.splitting.born_gamma import (
    Polar,
    mode_splitting,
    require_force_constants,
    strongest_polar,
)
from equivar_jax.response.units import INVERSE_CM, TERAHERTZ

_POINTS = 51
"""Number of points on the longest segment; the other segments have the same spacing."""
_PER_THZ = INVERSE_CM / TERAHERTZ
"""Wavenumber in cm^-1 of 1 THz."""
_MARKS: tuple[dict[str, Any], ...] = tuple(
    {"marker": "o", "markersize": 5.0, "linestyle": "none", "color": "black", "markerfacecolor": face}
    for face in ("black", "white")
)
"""Styles of the marks at LO and at TO."""
_SHORT = {"GAMMA": "G"}
"""seekpath's names that are written otherwise here."""
_GREEK = {"G": "Γ", "SIGMA": "Σ", "LAMBDA": "Λ", "DELTA": "Δ"}


class BandPath(NamedTuple):
    """Straight segments between special points, in the form that phonopy expects."""

    points: list[Float[np.ndarray, "points 3"]]
    """Wave vectors of each segment, in reduced coordinates of the reciprocal basis of the primitive cell."""
    ends: list[tuple[str, str]]
    """Names of the first and the last point of each segment; Gamma is called "G"."""
    connections: list[bool]
    """For each segment, whether the next one begins where it ends."""

    def directions_at_gamma(self) -> dict[str, Float[np.ndarray, "3"]]:
        """Return the points that a segment connects with Gamma: name to reduced coordinates."""
        found: dict[str, np.ndarray] = {}
        for points, (first, last) in zip(self.points, self.ends, strict=True):
            if first == "G":
                found.setdefault(last, points[-1])
            elif last == "G":
                found.setdefault(first, points[0])
        return found


def band_path(phonon: Phonopy) -> BandPath:
    """Make seekpath's path through the special points of the primitive cell.

    The names and the path are those of Hinuma et al., Comput. Mater. Sci. 128, 140 (2017); the points are in
    the basis of the cell as it is, which need not be the standard one.

    Args:
        phonon: A phonopy object.
    """
    cell = phonon.primitive
    with warnings.catch_warnings():
        # Of a cell between two kinds of lattice, and of one that is larger for its isotopes: both have paths.
        warnings.simplefilter("ignore")
        found = seekpath.get_path_orig_cell((cell.cell, cell.scaled_positions, cell.numbers))
    stops = {_SHORT.get(name, name): point for name, point in found["point_coords"].items()}
    parts: list[list[str]] = []
    for first, last in ([_SHORT.get(name, name) for name in pair] for pair in found["path"]):
        if not parts or parts[-1][-1] != first:
            parts.append([first])
        parts[-1].append(last)
    points, connections = get_band_qpoints_and_path_connections(
        [[stops[name] for name in part] for part in parts],
        npoints=_POINTS,
        rec_lattice=np.asarray(np.linalg.inv(cell.cell), np.float64),
    )
    ends = [pair for part in parts for pair in itertools.pairwise(part)]
    return BandPath(points, ends, connections)


def band_structure(phonon: Phonopy, path: BandPath, splitting: bool = True) -> BandStructure:
    """Compute the bands along a path.

    Where a segment ends at Gamma, phonopy takes the direction of the segment for that of the wave vector.

    Args:
        phonon: A phonopy object with force constants and, for `splitting`, NAC parameters.
        path: The segments.
        splitting: Whether to add the non-analytical term. Without it LO and TO coincide at Gamma in a cubic
            crystal.

    Raises:
        InputError: There are no force constants, or no NAC parameters although they are needed.
    """
    require_force_constants(phonon, splitting)
    matrix, factor = phonon.dynamical_matrix, phonon.unit_conversion_factor
    if not splitting:
        constants = np.asarray(phonon.force_constants)
        matrix = get_dynamical_matrix(constants, phonon.supercell, phonon.primitive)
    assert matrix is not None  # there are force constants
    return BandStructure(path.points, matrix, path_connections=path.connections, factor=factor)


def describe_gamma(phonon: Phonopy, members: Sequence[NacParams] = ()) -> list[str]:
    """List the strongest LO and TO modes as text, one line for each direction of the band path at Gamma.

    Args:
        phonon: A phonopy object with force constants and NAC parameters.
        members: NAC parameters by each member of a committee (see `phonons.propagation`), for standard
            deviations of the frequencies.
    """
    lines, way = [], band_path(phonon)
    sigmas = _deviations_along_path(phonon, way, members) if members else {}
    for name, polar in _polar_along_path(phonon, way).items():
        if polar is None:
            lines.append(f"Gamma to {name}: no polar mode")
        else:
            uncertain = [f" ± {sigma * _PER_THZ:.1f}" for sigma in sigmas[name]] if sigmas else ["", ""]
            values = ", ".join(
                f"{kind} {value:.3f} THz ({value * _PER_THZ:.1f}{sigma} 1/cm)"
                for kind, value, sigma in zip(("LO", "TO"), polar, uncertain, strict=True)
            )
            lines.append(f"Gamma to {name}: {values}")
    return lines


def plot_bands(phonon: Phonopy, path: str | Path) -> None:
    """Draw bands with the non-analytical term and, dashed, without it; LO and TO are marked at Gamma.

    Args:
        phonon: A phonopy object with force constants and NAC parameters.
        path: File of the picture; its suffix chooses the format.

    Raises:
        InputError: There are no force constants or NAC parameters, or the picture cannot be written.
    """
    way = band_path(phonon)
    polar = _polar_along_path(phonon, way)
    bare, full = (band_structure(phonon, way, splitting) for splitting in (False, True))
    lines: list[dict[str, Any]] = [
        {"color": COLOURS[1], "linestyle": "--", "label": "without"},
        {"color": COLOURS[0], "label": "with the field of the ions' dipoles"},
    ]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.add_subplot()
        for bands, style in zip((bare, full), lines, strict=True):
            for distance, frequencies in zip(bands.distances, bands.frequencies, strict=True):
                axes.plot(distance, frequencies, linewidth=1.1, **style)
        _mark_gamma(axes, full.distances, way, polar)
        _label_axes(axes, full.distances, way)
        # Rounding puts acoustic modes just below zero, which is cut off; imaginary modes remain visible.
        if min(float(frequencies.min()) for frequencies in full.frequencies + bare.frequencies) > -0.05:
            axes.set_ylim(bottom=0.0)
        entries = [Line2D([], [], **style) for style in reversed(lines)] + _gamma_legend_entries(polar)
        figure.legend(handles=entries, loc="outside upper center", ncols=2)
        save_figure(figure, path)


def _polar_along_path(phonon: Phonopy, path: BandPath) -> dict[str, Polar | None]:
    """Find the strongest LO and TO modes for each direction in which the path leaves Gamma."""
    reciprocal = np.linalg.inv(phonon.primitive.cell)
    return {
        name: strongest_polar(mode_splitting(phonon, reciprocal @ point))
        for name, point in path.directions_at_gamma().items()
    }


def _deviations_along_path(
    phonon: Phonopy, path: BandPath, members: Sequence[NacParams]
) -> dict[str, tuple[float, float]]:
    """Compute standard deviations in THz of the strongest LO and TO modes, by their place in the order."""
    reciprocal, own, found = np.linalg.inv(phonon.primitive.cell), phonon.nac_params, {}
    for name, point in path.directions_at_gamma().items():
        modes = mode_splitting(phonon, reciprocal @ point)
        places = [int(np.argmax(share)) for share in (modes.longitudinal, modes.transverse)]
        rows = []
        for member in members:
            phonon.nac_params = member
            rows.append(mode_splitting(phonon, reciprocal @ point).frequencies[places])
        phonon.nac_params = own
        longitudinal, transverse = np.std(rows, axis=0, ddof=1).tolist()
        found[name] = (longitudinal, transverse)
    return found


def _mark_gamma(
    axes: Axes, distances: list[np.ndarray], path: BandPath, polar: dict[str, Polar | None]
) -> None:
    """Draw a dot at each LO and a ring at each TO mode where the path meets Gamma."""
    for distance, (first, last) in zip(distances, path.ends, strict=True):
        for end, other, x in ((first, last, distance[0]), (last, first, distance[-1])):
            found = polar[other] if end == "G" else None
            for value, style in zip(found or (), _MARKS, strict=False):
                axes.plot(x, value, zorder=4, clip_on=False, **style)


def _gamma_legend_entries(polar: dict[str, Polar | None]) -> list[Line2D]:
    """Make legend entries for LO and TO, with the values of the first direction that has polar modes."""
    name, found = next(((name, found) for name, found in polar.items() if found is not None), ("", ()))
    labels = [
        f"{kind} at Γ (to {_format_point(name)}): {value:.2f} THz, {value * _PER_THZ:.0f} cm$^{{-1}}$"
        for kind, value in zip(("LO", "TO"), found, strict=False)
    ]
    return [Line2D([], [], label=label, **style) for label, style in zip(labels, _MARKS, strict=False)]


def _label_axes(axes: Axes, distances: list[np.ndarray], path: BandPath) -> None:
    """Label the axes: special points below, THz on the left, wavenumbers on the right."""
    ticks, names = [distances[0][0]], [_format_point(path.ends[0][0])]
    for k, distance in enumerate(distances):
        name = _format_point(path.ends[k][1])
        if not path.connections[k] and k + 1 < len(distances):
            name += f"|{_format_point(path.ends[k + 1][0])}"
        ticks.append(distance[-1])
        names.append(name)
    axes.set_xticks(ticks, names)
    axes.tick_params(axis="x", length=0)
    axes.tick_params(axis="y", right=False)
    axes.set_xlim(ticks[0], ticks[-1])
    for tick in ticks[1:-1]:
        axes.axvline(tick, color="0.7", linewidth=0.6, zorder=0)
    axes.axhline(0.0, color="0.7", linewidth=0.6, zorder=0)
    axes.set_ylabel("Frequency (THz)")
    right = axes.secondary_yaxis("right", functions=(_to_wavenumber, _to_frequency))
    right.set_ylabel("Wavenumber (cm$^{-1}$)")


def _to_wavenumber(frequency: Any) -> Any:
    """Convert from THz to cm^-1."""
    return frequency * _PER_THZ


def _to_frequency(wavenumber: Any) -> Any:
    """Convert from cm^-1 to THz."""
    return wavenumber / _PER_THZ


def _format_point(name: str) -> str:
    """Format the name of a special point for the picture: G becomes Γ, and the number of H_2 a subscript."""
    letter, _, number = name.partition("_")
    letter = _GREEK.get(letter, letter)
    return f"{letter}$_{{{number}}}$" if number else letter
