"""Draw a check: the distributions of the measured values and the tolerances."""

import os
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.errors import InputError
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.hygiene.findings import HygieneReport

_GOOD, _BAD = COLOURS[0], COLOURS[3]
# Values that are zero up to rounding are drawn at the left end of a logarithmic axis.
_SMALLEST = 1e-6
_BINS = 48
_ELEMENTS_PER_ROW = 45
# Smallest width of the axis, so that the bars of a few elements do not become too wide.
_FEWEST_PLACES = 20


class _Panel(NamedTuple):
    """The data and labels of one histogram."""

    values: np.ndarray
    tolerance: float
    label: str
    logarithmic: bool
    below: bool = False
    """Whether the bad values are those below the negative tolerance, instead of those above the tolerance."""


def plot_hygiene(
    report: HygieneReport, config: HygieneConfig, path: str | os.PathLike[str], title: str = ""
) -> None:
    """Draw histograms of the values that the rules measure, and a bar for each element.

    Args:
        report: The report of `check_labels`.
        config: The tolerances that it used.
        path: The picture; the suffix names the format (.png, .pdf, .svg, ...).
        title: Title above the picture.

    Raises:
        InputError: there is no labelled structure, or the picture cannot be written.
    """
    if not report.elements:
        raise InputError(f"{path}: no labelled structures to draw; see the table for what is wrong with them")
    measured = report.measurements
    panels = [
        _Panel(measured.sum_rule, config.sum_rule, r"Excess charge / $\sqrt{N}$ (e)", True),
        _Panel(measured.largest, config.largest_component, "Largest component $|Z^*|$ (e)", False),
        _Panel(measured.symmetry, config.symmetry, "Deviation from symmetry / size", True),
        _Panel(measured.agreement, config.transposition, "Agreement of antisymmetric part", False, True),
    ]
    rows = -(-len(report.elements) // _ELEMENTS_PER_ROW)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.9 + 1.35 * rows), layout="constrained")
        if title:
            figure.suptitle(title)
        parts: Any = figure.subfigures(2, 1, height_ratios=[4.6, 1.35 * rows])
        above, below = parts
        for axes, panel in zip(above.subplots(2, 2).flat, panels, strict=True):
            _draw_histogram(axes, panel)
        axes_of_rows = np.atleast_1d(below.subplots(rows, 1, sharey=True))
        _draw_elements(axes_of_rows, report.elements, config.rare_element)
        save_figure(figure, path)


def _draw_histogram(axes: Axes, panel: _Panel) -> None:
    """Draw how many structures have which value; those beyond the tolerance in another colour."""
    there = panel.values[np.isfinite(panel.values)]
    beyond = there < -panel.tolerance if panel.below else there > panel.tolerance
    limit = -panel.tolerance if panel.below else panel.tolerance
    drawn = np.maximum(there, _SMALLEST) if panel.logarithmic else there
    edges = _bin_edges(drawn, limit, panel)
    axes.hist([drawn[~beyond], drawn[beyond]], bins=edges.tolist(), stacked=True, color=[_GOOD, _BAD])
    axes.axvline(limit, color="black", linewidth=1.0, linestyle="--")
    if panel.logarithmic:
        axes.set_xscale("log")
    if len(there):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        top = np.histogram(drawn, edges)[0].max()
        axes.set_ylim(0.7, top * 12.0)  # room for the words
    axes.set(xlabel=panel.label, ylabel="Structures")
    words = f"{np.count_nonzero(beyond)} of {len(there):,} {'below' if panel.below else 'above'} {limit:g}"
    if panel.logarithmic and (zeros := np.count_nonzero(there <= _SMALLEST)):
        words += f"\n{zeros:,} at zero"
    place, side = (0.97, "right") if panel.below else (0.03, "left")
    axes.text(place, 0.95, words, transform=axes.transAxes, va="top", ha=side, fontsize=8.5)


def _bin_edges(drawn: np.ndarray, limit: float, panel: _Panel) -> np.ndarray:
    """Return edges of bins that hold all values; no bin extends across the tolerance."""
    low, high = min(float(drawn.min(initial=limit)), limit), max(float(drawn.max(initial=limit)), limit)
    if panel.logarithmic:
        below, above = np.log10(limit / min(low, _SMALLEST)), np.log10(high / limit)
        step = (below + above + 0.2) / _BINS
        return limit * 10.0 ** (step * np.arange(-_count_steps(below, step), _count_steps(above, step) + 1))
    low, high = (-1.0, 1.0) if panel.below else (min(low, 0.0), high)
    step = (high - low) / _BINS
    return limit + step * np.arange(-_count_steps(limit - low, step), _count_steps(high - limit, step) + 1)


def _count_steps(length: float, step: float) -> int:
    """Return how many steps cover a length, plus one."""
    return int(np.ceil(length / step)) + 1


def _draw_elements(axes_of_rows: np.ndarray, elements: dict[str, int], rare: int) -> None:
    """Draw a bar for each element: the number of labelled structures that contain it."""
    names = list(elements)
    parts = np.array_split(np.arange(len(names)), len(axes_of_rows))
    for axes, part in zip(axes_of_rows, parts, strict=True):
        counts = np.array([elements[names[k]] for k in part])
        places = np.arange(len(part))
        # The bars begin below 1, so that a single structure is visible.
        axes.bar(
            places, counts - 0.5, bottom=0.5, width=0.75, color=np.where(counts < rare, _BAD, _GOOD).tolist()
        )
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
        axes.axhline(rare, color="black", linewidth=0.8, linestyle="--")
        axes.set_xticks(places, [names[k] for k in part], fontsize=7.0)
        axes.tick_params(axis="x", length=0)
        axes.set_xlim(-0.8, max(_FEWEST_PLACES, *(len(part) for part in parts)) - 0.2)
        axes.set_ylabel("Structures")
    scarce = sum(count < rare for count in elements.values())
    axes_of_rows[0].set_title(f"{len(names)} elements, {scarce} of them in fewer than {rare} structures")
