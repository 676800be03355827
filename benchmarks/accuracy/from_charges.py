"""Tables and picture of `benchmarks.real_data.from_charges`, made from the rows of its result file."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.accuracy.tables import Rows, select_finished
from benchmarks.common.tables import markdown_table
from equivar_jax.figures import COLOURS, STYLE, save_figure

_COLUMNS = (
    ("ionic constant, %: median", "ionic", "median", 100.0),
    ("mean", "ionic", "mean", 100.0),
    ("90 %", "ionic", "percentile_90", 100.0),
    ("worst LO, cm⁻¹: median", "longitudinal", "median", 1.0),
    ("90 %", "longitudinal", "percentile_90", 1.0),
    ("static constant, %: median", "static", "median", 100.0),
    ("mean", "static", "mean", 100.0),
    ("intensities, %: median", "intensities", "median", 100.0),
    ("mean", "intensities", "mean", 100.0),
    ("eps_inf, %: median", "electronic", "median", 100.0),
    ("mean", "electronic", "mean", 100.0),
)
"""Columns of errors: heading, where a row has the number, and what it is multiplied by."""
QUANTITIES = {
    "static": "static dielectric constant",
    "longitudinal": "LO lines",
    "intensities": "infrared intensities",
}
_TEXT = """\
Errors against DFPT of what is computed from predicted charges, with the same forces, for {crystals} crystals
of the test part of phonondb ({left_out}). The ionic and the static dielectric constant are a
third of the trace of the tensor, with a relative error for each crystal. LO frequencies are of wave vectors
along x, y and z, all modes in ascending order; the worst of a crystal counts. Intensities: the sum over the
levels of the difference, divided by the sum of the intensities."""
_LARGEST = {"ionic": 30.0, "longitudinal": 40.0}
"""Where the histograms end, in % and in cm⁻¹; larger errors are in the last bar."""
_BARS = 20


def tables_of(rows: Rows) -> str:
    """Return text, a table of errors, and one of how many numbers are within the standard deviations."""
    finished = select_finished(rows)
    parts = []
    if finished:
        crystals = sorted({row["crystals"] for row in finished})
        number = " or ".join(map(str, crystals))
        parts += [_TEXT.format(crystals=number, left_out=_describe_left_out(finished[0]["left_out"]))]
        parts += [errors_table(finished)]
    parts += [f"{row['label']}: {row['failed']}." for row in rows if row not in finished]
    if any(row["coverage"] for row in finished):
        parts += [
            "Numbers within one and two standard deviations, which are those of the whole calculation over "
            "the members of a committee, moved apart to the size of their calibrated uncertainty (68.3 and "
            "95.4 % are expected of normal errors):",
            coverage_table(finished),
        ]
    return "\n\n".join(parts)


def errors_table(rows: Rows) -> str:
    """Make a table with a line for each row."""
    lines = []
    for row in rows:
        cells = [f"{scale * row['errors'][name][key]:.1f}" for _, name, key, scale in _COLUMNS]
        if row["facts"]["epsilon_inf"] == "DFPT":
            cells[-2:] = "", ""  # it is given
        lines.append([row["label"], str(row["crystals"]), *cells])
    return markdown_table(["", "crystals", *(heading for heading, *_ in _COLUMNS)], lines)


def coverage_table(rows: Rows) -> str:
    """Make a table with a line for each row and quantity: how many numbers, and how many are covered."""
    lines = []
    for row in rows:
        for name, found in (row["coverage"] or {}).items():
            shares = [f"{100 * found[key]:.0f} %" for key in ("within_one", "within_two")]
            lines.append([row["label"], QUANTITIES[name], f"{found['counted']:,}", *shares])
    return markdown_table(["", "", "numbers", "within sigma", "within 2 sigma"], lines)


def plot_errors(rows: Rows, path: Path) -> None:
    """Plot predicted values against those of DFPT, and histograms of the errors.

    Above: static dielectric constant, with standard deviations where there are any, and the highest LO
    frequency. Below: error of the ionic dielectric constant, and worst error of an LO frequency.
    """
    finished = select_finished(rows)
    if not finished:
        return
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 5.6), layout="constrained")
        (static, highest), (ionic, longitudinal) = figure.subplots(2, 2)
        for colour, row in zip(COLOURS, finished, strict=False):
            crystals, style = row["by_crystal"], {"color": colour, "label": row["label"]}
            _plot_parity(static, [each["static"] for each in crystals], style)
            _plot_parity(highest, [each["highest_longitudinal"] for each in crystals], style)
            _plot_histogram(longitudinal, "longitudinal", crystals, 1.0, style)
        # The charges alone decide it.
        style = {"color": COLOURS[0], "label": "either"}
        _plot_histogram(ionic, "ionic", finished[0]["by_crystal"], 100.0, style)
        static.set(xscale="log", yscale="log")
        for axis in (static.xaxis, static.yaxis):
            axis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
            axis.set_minor_formatter(mpl.ticker.NullFormatter())
        _set_axes(static, "Static dielectric constant")
        _set_axes(highest, "Highest LO frequency (cm$^{-1}$)")
        ionic.set(xlabel="Error of the ionic dielectric constant (%)", ylabel="Crystals")
        longitudinal.set(xlabel="Worst error of an LO frequency (cm$^{-1}$)", ylabel="Crystals")
        handles, labels = static.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=2)
        save_figure(figure, path)


def _plot_parity(axes: Axes, pairs: Sequence[Mapping[str, float]], style: Mapping[str, Any]) -> None:
    """Draw a point for each pair of values, with its standard deviation if there is one."""
    x, y = ([pair[key] for pair in pairs] for key in ("dfpt", "predicted"))
    sigma = [pair["sigma"] for pair in pairs] if "sigma" in pairs[0] else None
    axes.errorbar(x, y, sigma, fmt="o", ms=3, lw=0, elinewidth=0.7, alpha=0.7, **style)


def _set_axes(axes: Axes, name: str) -> None:
    """Label the axes of a parity plot, give both the same range, and draw the diagonal."""
    low, high = min(axes.get_xlim()[0], axes.get_ylim()[0]), max(axes.get_xlim()[1], axes.get_ylim()[1])
    axes.plot([low, high], [low, high], color="0.6", lw=0.8, zorder=0)
    axes.set(xlim=(low, high), ylim=(low, high), xlabel="DFPT", ylabel="From predicted charges", title=name)


def _plot_histogram(axes: Axes, name: str, crystals: Rows, scale: float, style: Mapping[str, Any]) -> None:
    """Draw a histogram of the errors of the crystals, with a line at their median."""
    errors = scale * np.array([each["errors"][name] for each in crystals])
    bars = np.linspace(0.0, _LARGEST[name], _BARS + 1).tolist()
    axes.hist(np.minimum(errors, _LARGEST[name]), bars, histtype="step", lw=1.2, **style)
    axes.axvline(float(np.median(errors)), color=style["color"], lw=0.8, ls="--")
    axes.set_xlim(0.0, _LARGEST[name])
    axes.set_title("last bar: all larger errors", loc="right", fontsize="small")


def _describe_left_out(left_out: Mapping[str, str]) -> str:
    """Say how many crystals were left out and why."""
    if not left_out:
        return "none was left out"
    reasons = {"softest mode": "not stable", "one atom": "of one atom", "never seen": "of unknown elements"}
    counts: dict[str, int] = {}
    for reason in left_out.values():
        short = next((text for words, text in reasons.items() if words in reason), "refused")
        counts[short] = counts.get(short, 0) + 1
    return "left out: " + ", ".join(f"{number} {short}" for short, number in counts.items())
