"""Infrared spectra as a picture and as a table."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.io.files import open_for_writing

MARGIN = 1.3
"""A picture ends at the highest line times this."""

# Styles of the first curve and of the second, which is drawn over it; of more, of each.
_STYLES: tuple[dict[str, Any], ...] = (
    {"linewidth": 2.4, "alpha": 0.6},
    {"linewidth": 1.2, "linestyle": "--"},
)
_STYLE_OF_MANY: dict[str, Any] = {"linewidth": 1.2}


class Curve(NamedTuple):
    """A spectrum with its name in the legend."""

    name: str
    wavenumbers: Float[np.ndarray, " frequencies"]
    """Wavenumbers in cm⁻¹."""
    values: Float[np.ndarray, " frequencies"]
    """Absorption in cm⁻¹ for a crystal, else in km/mol per cm⁻¹."""
    deviations: Float[np.ndarray, " frequencies"] | None = None
    """Their standard deviations: of phonons over the members of a committee, if one gives the charges; of
    trajectories those of the mean over these (its standard error), if there are several."""


def plot_spectra(
    curves: Sequence[Curve], lines: Float[np.ndarray, " modes"], path: Path, periodic: bool = True
) -> None:
    """Draw spectra over each other, each with a band of its standard deviations, and a mark at each line.

    Args:
        curves: The spectra; beyond so many as there are colours, colours return.
        lines: Wavenumbers of the phonons that absorb, in cm⁻¹.
        path: File of the picture; the suffix chooses the format.
        periodic: Whether the spectra are those of a crystal, in cm⁻¹.

    Raises:
        InputError: The picture cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        upper = [c.values if c.deviations is None else c.values + c.deviations for c in curves]
        top = max(float(values.max()) for values in upper)
        exponent = math.floor(math.log10(top)) if top > 0 else 0
        top *= 10.0**-exponent
        styles = _STYLES if len(curves) <= len(_STYLES) else [_STYLE_OF_MANY] * len(curves)
        for curve, colour, style in zip(curves, itertools.cycle(COLOURS[:-1]), styles, strict=False):
            values = curve.values * 10.0**-exponent
            axes.plot(curve.wavenumbers, values, color=colour, label=curve.name, **style)
            if curve.deviations is not None:
                sigma = curve.deviations * 10.0**-exponent
                axes.fill_between(
                    curve.wavenumbers, values - sigma, values + sigma, color=colour, alpha=0.25, linewidth=0
                )
        if len(lines):
            low = np.full_like(lines, -0.06 * top)
            axes.vlines(lines, low, 0.5 * low, color=COLOURS[-1], linewidth=1.0, label="phonon frequencies")
        axes.set_xlim(0, min(_find_end(curves, lines), max(float(curve.wavenumbers[-1]) for curve in curves)))
        axes.set_ylim(-0.08 * top, 1.08 * top)
        axes.set_xlabel("Wavenumber (cm$^{-1}$)")
        axes.set_ylabel(
            rf"Absorption $\alpha n$ (10$^{{{exponent}}}$ cm$^{{-1}}$)"
            if periodic
            else rf"Molar absorption (10$^{{{exponent}}}$ km mol$^{{-1}}$ cm)"
        )
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
        save_figure(figure, path)


def _find_end(curves: Sequence[Curve], lines: Float[np.ndarray, " modes"]) -> float:
    """Find the wavenumber in cm⁻¹ beyond which nothing can be seen, with a margin."""
    visible = [float(c.wavenumbers[np.abs(c.values) >= 0.01 * np.abs(c.values).max()][-1]) for c in curves]
    return MARGIN * max([*visible, *lines])


def write_spectra(path: Path, curves: Sequence[Curve], periodic: bool) -> None:
    """Write all spectra to one CSV file, with standard deviations where one of them has these.

    Args:
        path: The file.
        curves: The spectra.
        periodic: Whether they are those of a crystal, in cm⁻¹.
    """
    unit = "cm^-1" if periodic else "km/mol cm"
    uncertain = any(curve.deviations is not None for curve in curves)
    with open_for_writing(path) as handle:
        heading = f"source,wavenumber (cm^-1),absorption ({unit})"
        handle.write(heading + f",standard deviation ({unit})" * uncertain + "\n")
        for curve in curves:
            last = [""] * len(curve.values)
            if uncertain:
                known = curve.deviations
                last = [","] * len(last) if known is None else [f",{sigma:.8g}" for sigma in known]
            for wavenumber, value, rest in zip(curve.wavenumbers, curve.values, last, strict=True):
                handle.write(f"{curve.name},{wavenumber:.4f},{value:.8g}{rest}\n")
