"""Phonon bands with and without the non-analytical term, and the polar modes at Gamma, through phonopy."""

import itertools
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from ase.cell import Cell
from ase.dft.kpoints import parse_path_string
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import get_dynamical_matrix
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
"""On the longest segment; the others have the same spacing."""
_PER_THZ = INVERSE_CM / TERAHERTZ
"""cm^-1."""
_MARKS: tuple[dict[str, Any], ...] = tuple(
    {"marker": "o", "markersize": 5.0, "linestyle": "none", "color": "black", "markerfacecolor": face}
    for face in ("black", "white")
)
"""Of LO and of TO."""


class BandPath(NamedTuple):
    """Straight segments between special points, in phonopy's terms."""

    points: list[Float[np.ndarray, "points 3"]]
    """Wave vectors of each segment, in reduced coordinates of the reciprocal basis of the primitive cell."""
    ends: list[tuple[str, str]]
    """Names of the first and the last point of each segment; Gamma is "G"."""
    connections: list[bool]
    """Whether the next segment goes on where this one ends."""

    def directions_at_gamma(self) -> dict[str, Float[np.ndarray, "3"]]:
        """For the name of each point that Gamma is connected with, that point in reduced coordinates."""
        found: dict[str, np.ndarray] = {}
        for points, (first, last) in zip(self.points, self.ends, strict=True):
            if first == "G":
                found.setdefault(last, points[-1])
            elif last == "G":
                found.setdefault(first, points[0])
        return found


def band_path(phonon: Phonopy) -> BandPath:
    """The path through the special points of the lattice, as ASE knows it for the primitive cell."""
    cell = phonon.primitive.cell
    lattice = Cell(cell).bandpath(npoints=0)
    names = parse_path_string(lattice.path)
    stops = [[lattice.special_points[name] for name in part] for part in names]
    points, connections = get_band_qpoints_and_path_connections(
        stops, npoints=_POINTS, rec_lattice=np.asarray(np.linalg.inv(cell), np.float64)
    )
    ends = [pair for part in names for pair in itertools.pairwise(part)]
    return BandPath(points, ends, connections)


def band_structure(phonon: Phonopy, path: BandPath, splitting: bool = True) -> BandStructure:
    """Bands along a path; where a segment ends at Gamma, phonopy takes its direction for the wave vector's.

    Args:
        phonon: phonopy's object with force constants, and NAC parameters where there is to be splitting.
        path: Segments.
        splitting: With the non-analytical term; without it LO and TO coincide at Gamma in a cubic crystal.

    Raises:
        InputError: no force constants, or no NAC parameters where they are needed.
    """
    require_force_constants(phonon, splitting)
    matrix, factor = phonon.dynamical_matrix, phonon.unit_conversion_factor
    if not splitting:
        constants = np.asarray(phonon.force_constants)
        matrix = get_dynamical_matrix(constants, phonon.supercell, phonon.primitive)
    assert matrix is not None  # there are force constants
    return BandStructure(path.points, matrix, path_connections=path.connections, factor=factor)


def describe_gamma(phonon: Phonopy) -> list[str]:
    """One line for each direction at Gamma along the band path: the strongest LO and TO modes."""
    lines = []
    for name, polar in _polar_along_path(phonon, band_path(phonon)).items():
        if polar is None:
            lines.append(f"Gamma to {name}: no polar mode")
        else:
            values = ", ".join(
                f"{kind} {value:.3f} THz ({value * _PER_THZ:.1f} 1/cm)"
                for kind, value in zip(("LO", "TO"), polar, strict=True)
            )
            lines.append(f"Gamma to {name}: {values}")
    return lines


def plot_bands(phonon: Phonopy, path: str | Path) -> None:
    """Bands with the non-analytical term and, dashed, without it; LO and TO are marked at Gamma.

    Args:
        phonon: phonopy's object with force constants and NAC parameters.
        path: The picture; its suffix names the format.

    Raises:
        InputError: no force constants or NAC parameters, or the picture cannot be written.
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
        _axes_of_bands(axes, full.distances, way)
        # Acoustic modes round to frequencies just below zero; imaginary ones are shown.
        if min(float(frequencies.min()) for frequencies in full.frequencies + bare.frequencies) > -0.05:
            axes.set_ylim(bottom=0.0)
        entries = [Line2D([], [], **style) for style in reversed(lines)] + _entries_of_gamma(polar)
        figure.legend(handles=entries, loc="outside upper center", ncols=2)
        save_figure(figure, path)


def _polar_along_path(phonon: Phonopy, path: BandPath) -> dict[str, Polar | None]:
    """The strongest LO and TO for each direction in which the path leaves Gamma."""
    reciprocal = np.linalg.inv(phonon.primitive.cell)
    return {
        name: strongest_polar(mode_splitting(phonon, reciprocal @ point))
        for name, point in path.directions_at_gamma().items()
    }


def _mark_gamma(
    axes: Axes, distances: list[np.ndarray], path: BandPath, polar: dict[str, Polar | None]
) -> None:
    """A dot at each LO and a ring at each TO where the path meets Gamma."""
    for distance, (first, last) in zip(distances, path.ends, strict=True):
        for end, other, x in ((first, last, distance[0]), (last, first, distance[-1])):
            found = polar[other] if end == "G" else None
            for value, style in zip(found or (), _MARKS, strict=False):
                axes.plot(x, value, zorder=4, clip_on=False, **style)


def _entries_of_gamma(polar: dict[str, Polar | None]) -> list[Line2D]:
    """LO and TO of the first direction in which there are some."""
    name, found = next(((name, found) for name, found in polar.items() if found is not None), ("", ()))
    labels = [
        f"{kind} at Γ (to {_pretty(name)}): {value:.2f} THz, {value * _PER_THZ:.0f} cm$^{{-1}}$"
        for kind, value in zip(("LO", "TO"), found, strict=False)
    ]
    return [Line2D([], [], label=label, **style) for label, style in zip(labels, _MARKS, strict=False)]


def _axes_of_bands(axes: Axes, distances: list[np.ndarray], path: BandPath) -> None:
    """Special points below, THz to the left, wavenumbers to the right."""
    ticks, names = [distances[0][0]], [_pretty(path.ends[0][0])]
    for k, distance in enumerate(distances):
        name = _pretty(path.ends[k][1])
        if not path.connections[k] and k + 1 < len(distances):
            name += f"|{_pretty(path.ends[k + 1][0])}"
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
    """THz to cm^-1."""
    return frequency * _PER_THZ


def _to_frequency(wavenumber: Any) -> Any:
    """cm^-1 to THz."""
    return wavenumber / _PER_THZ


def _pretty(name: str) -> str:
    """A special point as printed: G is Γ, H1 has a subscript."""
    letter, digits = name[0].replace("G", "Γ"), name[1:]
    return f"{letter}$_{{{digits}}}$" if digits else letter
