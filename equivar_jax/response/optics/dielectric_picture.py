"""Picture of a dielectric function and of the reflectivity that follows from it."""

import os
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from jaxtyping import Complex, Float
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.optics.permittivity import reflectivity

AXES = ("x", "y", "z")
"""Names of the Cartesian axes."""

_SAME = 1e-4
"""Components that differ by less than this share of the largest value are drawn as one."""
# Where the marks are on the axis of the reflectivity, below zero.
_TO_HEIGHT, _LO_HEIGHT = -0.07, -0.15


def plot_dielectric_function(
    wavenumbers: Float[np.ndarray, " frequencies"],
    function: Complex[np.ndarray, "frequencies 3 3"],
    transverse: Sequence[Float[np.ndarray, "..."]],
    longitudinal: Sequence[Float[np.ndarray, "..."]],
    path: str | os.PathLike[str],
) -> None:
    """Draw real and imaginary parts of the diagonal, the reflectivity, and marks at TO and LO modes.

    Args:
        wavenumbers: Where the function is given, in cm⁻¹.
        function: Dielectric function [frequency, field, field].
        transverse: For each axis, the transverse modes with a dipole along it, in cm⁻¹.
        longitudinal: For each axis, the longitudinal modes of a wave vector along it, in cm⁻¹.
        path: File of the picture; the suffix chooses the format.

    Raises:
        InputError: The picture cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 5.0), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
        groups = _equal_components(function)
        for group, colour in zip(groups, COLOURS, strict=False):
            component = function[:, group[0], group[0]]
            upper.plot(wavenumbers, component.real, color=colour, linewidth=1.4)
            upper.plot(wavenumbers, component.imag, color=colour, linewidth=1.2, linestyle="--")
            lower.plot(wavenumbers, reflectivity(component), color=colour, linewidth=1.4)
            marks: dict[str, Any] = {"color": colour, "linestyle": "none", "markersize": 4.5}
            lower.plot(*_points_at(transverse[group[0]], _TO_HEIGHT), marker="v", **marks)
            lower.plot(
                *_points_at(longitudinal[group[0]], _LO_HEIGHT), marker="o", markerfacecolor="white", **marks
            )
        upper.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
        upper.set_ylabel(r"Dielectric function $\varepsilon(\omega)$")
        lower.set(xlim=(0.0, wavenumbers[-1]), ylim=(2 * _LO_HEIGHT - _TO_HEIGHT, 1.02))
        lower.set_xlabel("Wavenumber (cm$^{-1}$)")
        lower.set_ylabel("Reflectivity")
        entries = _legend_entries(groups)
        figure.legend(
            handles=entries,
            loc="outside upper center",
            ncols=len(entries),
            columnspacing=1.3,
            handlelength=1.7,
        )
        save_figure(figure, path)


def _equal_components(function: Complex[np.ndarray, "frequencies 3 3"]) -> list[list[int]]:
    """Group the axes along which the dielectric function is the same."""
    groups: list[list[int]] = []
    for axis in range(3):
        for group in groups:
            difference = function[:, axis, axis] - function[:, group[0], group[0]]
            if np.abs(difference).max() < _SAME * np.abs(function).max():
                group.append(axis)
                break
        else:
            groups.append([axis])
    return groups


def _points_at(lines: Float[np.ndarray, "..."], height: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x and y of one point for each line, all at one height."""
    return lines, np.full_like(lines, height)


def _legend_entries(groups: list[list[int]]) -> list[Line2D]:
    """Make the legend entries for the colours, line styles and marks."""
    entries = [
        Line2D([], [], color=colour, label=" = ".join(f"{AXES[axis]}{AXES[axis]}" for axis in group))
        for group, colour in zip(groups, COLOURS, strict=False)
    ]
    black: dict[str, Any] = {"color": COLOURS[-1]}
    return [
        *entries,
        Line2D([], [], label="real", **black),
        Line2D([], [], linestyle="--", label="imaginary", **black),
        Line2D([], [], linestyle="none", marker="v", markersize=5, label="TO", **black),
        Line2D(
            [], [], linestyle="none", marker="o", markersize=5, markerfacecolor="white", label="LO", **black
        ),
    ]
