"""Coercive field and remanent polarisation of a P-E loop, its picture, and its file of numbers."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from ase.units import J, m
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.polarisation.path_report import describe_method
from equivar_jax.response.units import KILOVOLT_PER_CM, MICROCOULOMB_PER_CM2

SMALLEST_OPENING = 0.01
"""Share of the range of P; a loop that is opened by less has not switched."""


class LoopFigures(NamedTuple):
    """The figures of a loop. Polarisation is measured from the middle of the two remanent values."""

    coercive_field: tuple[float, float]
    """E in V/Å at which P passes zero: while the field falls, while it rises."""
    remanent_polarisation: tuple[float, float]
    """P in e/Å² at E = 0: while the field rises, while it falls."""
    centre: float
    """The middle of the remanent values in e/Å², which is subtracted from P; 0 after a cubic start."""
    loss: float
    """Energy density lost in one cycle, the integral of E dP, in eV/Å³."""


def measure_loop(
    field: Float[np.ndarray, " points"], polarisation: Float[np.ndarray, " points"]
) -> LoopFigures:
    """Find coercive field and remanent polarisation of one cycle, with straight lines between the points.

    If noise makes a curve cross zero several times, the median crossing is taken.

    Args:
        field: E along its axis in V/Å: down from the largest to the smallest value and up again.
        polarisation: P along that axis in e/Å².

    Raises:
        InputError: The points are not such a cycle, or the polarisation has not switched.
    """
    rising = np.diff(field) > 0
    remanent = [_median_crossing(polarisation, field, branch) for branch in (rising, ~rising)]
    if None in remanent:
        raise InputError(
            "the field does not pass zero both ways; give one full cycle of an alternating field"
        )
    lower, upper = (float(value) for value in remanent if value is not None)
    centre, half = (lower + upper) / 2, (upper - lower) / 2
    if half < SMALLEST_OPENING * np.ptp(polarisation) / 2:
        raise InputError(
            f"no hysteresis: the polarisation did not switch in fields up to "
            f"{np.abs(field).max() * KILOVOLT_PER_CM:.0f} kV/cm; raise the amplitude"
        )
    centred = polarisation - centre
    coercive = [_median_crossing(field, centred, branch) for branch in (~rising, rising)]
    if None in coercive:
        raise InputError("the polarisation does not pass zero on both branches; give one full cycle")
    falling_field, rising_field = (float(value) for value in coercive if value is not None)
    loss = float(np.sum((field[1:] + field[:-1]) / 2 * np.diff(polarisation)))
    return LoopFigures((falling_field, rising_field), (-half, half), centre, loss)


def _median_crossing(
    x: Float[np.ndarray, " points"], y: Float[np.ndarray, " points"], branch: Bool[np.ndarray, " segments"]
) -> float | None:
    """Return the median x at which y passes zero on the segments of a branch, or None."""
    positive = y >= 0
    (k,) = np.nonzero((positive[1:] != positive[:-1]) & branch)
    if not len(k):
        return None
    share = y[k] / (y[k] - y[k + 1])
    return float(np.median(x[k] + share * (x[k + 1] - x[k])))


def draw_loop(
    path: Path,
    field: Float[np.ndarray, " points"],
    polarisation: Float[np.ndarray, " points"],
    found: LoopFigures,
    first: int,
    landau: Callable[[np.ndarray], np.ndarray] | None = None,
) -> None:
    """Draw P against E with the coercive fields and remanent polarisations marked.

    Args:
        path: File of the picture.
        field: E in V/Å.
        polarisation: P in e/Å².
        found: Figures of the cycle.
        first: Index of the point at which the cycle begins; the points before are the first charging.
        landau: Function from P in e/Å² to the field in V/Å in which it is stationary; drawn as a dashed line.
    """
    fields = field * KILOVOLT_PER_CM
    values = (polarisation - found.centre) * MICROCOULOMB_PER_CM2
    with mpl.rc_context(STYLE):
        # A strip below the axes is kept for the note.
        figure = Figure(figsize=(4.8, 4.1), layout=ConstrainedLayoutEngine(rect=(0.0, 0.04, 1.0, 0.96)))
        axes = figure.add_subplot()
        axes.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
        axes.axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
        axes.plot(
            fields[: first + 1], values[: first + 1], color="0.6", linewidth=1.0, label="first charging"
        )
        axes.plot(fields[first:], values[first:], color=COLOURS[0], linewidth=1.6, label="cycle")
        if landau is not None:
            P = np.linspace(polarisation.min(), polarisation.max(), 400)
            axes.plot(
                landau(P) * KILOVOLT_PER_CM,
                (P - found.centre) * MICROCOULOMB_PER_CM2,
                color="black",
                linestyle=(0, (4, 2)),
                linewidth=0.9,
                label="Landau, stationary",
                zorder=3,
            )
        _mark(axes, found)
        axes.set_xlabel("Electric field (kV/cm)")
        axes.set_ylabel("Polarisation (µC/cm²)")
        axes.legend(
            loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, columnspacing=1.2, handletextpad=0.4
        )
        note = "homogeneous switching: real crystals switch in fields orders of magnitude lower"
        figure.text(0.99, 0.005, note, ha="right", va="bottom", fontsize=7.0, color="0.35")
        save_figure(figure, path)


def _mark(axes: Axes, found: LoopFigures) -> None:
    """Mark the points where the loop meets the axes, with their values in the legend."""
    coercive = np.array(found.coercive_field) * KILOVOLT_PER_CM
    remanent = np.array(found.remanent_polarisation) * MICROCOULOMB_PER_CM2
    zero = np.zeros(2)
    label = f"$E_c$: ${coercive[0]:.0f}$, ${coercive[1]:.0f}$ kV/cm"
    style: dict[str, Any] = {"linestyle": "none", "markersize": 6, "markeredgecolor": "white", "zorder": 4}
    axes.plot(coercive, zero, marker="o", color=COLOURS[3], label=label, **style)
    label = f"$P_r$: ${remanent[0]:.1f}$, ${remanent[1]:.1f}$ µC/cm²"
    axes.plot(zero, remanent, marker="s", color=COLOURS[2], label=label, **style)


def write_loop(
    path: Path,
    field: Float[np.ndarray, " points"],
    polarisation: Float[np.ndarray, " points"],
    found: LoopFigures,
    method: str = "integral",
) -> Path:
    """Write the figures and the points of a loop as JSON; every name ends in its unit.

    Args:
        path: The .json file.
        field: E in V/Å.
        polarisation: P in e/Å², measured from the start.
        found: Figures of the cycle.
        method: Where the polarisation is from; a key of `path_report.METHODS`.

    Returns:
        The path.
    """
    numbers = {
        "coercive_field_kV_per_cm": [value * KILOVOLT_PER_CM for value in found.coercive_field],
        "remanent_polarisation_uC_per_cm2": [
            value * MICROCOULOMB_PER_CM2 for value in found.remanent_polarisation
        ],
        "centre_uC_per_cm2": found.centre * MICROCOULOMB_PER_CM2,
        "loss_J_per_cm3": found.loss / J * (1e-2 * m) ** 3,
        "polarisation_from": describe_method(method),
        "field_kV_per_cm": (field * KILOVOLT_PER_CM).tolist(),
        "polarisation_uC_per_cm2": (polarisation * MICROCOULOMB_PER_CM2).tolist(),
    }
    with input_error_unless_writable(path, "--output"):
        path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return path


def loop_numbers(figures: Sequence[LoopFigures | str]) -> dict[str, Any]:
    """Collect the figures of several runs: their means, standard errors, and each by itself, for JSON.

    Args:
        figures: Of each run; where it is no loop, the reason.
    """
    loops = [one for one in figures if isinstance(one, LoopFigures)]
    numbers: dict[str, Any] = {
        "runs": len(figures),
        "runs_that_switched": len(loops),
        "not_switched_because": [one for one in figures if isinstance(one, str)],
    }
    values = {
        "coercive_field_kV_per_cm": [np.array(one.coercive_field) * KILOVOLT_PER_CM for one in loops],
        "remanent_polarisation_uC_per_cm2": [
            np.array(one.remanent_polarisation) * MICROCOULOMB_PER_CM2 for one in loops
        ],
        "centre_uC_per_cm2": [np.array(one.centre) * MICROCOULOMB_PER_CM2 for one in loops],
        "loss_J_per_cm3": [np.array(one.loss) / J * (1e-2 * m) ** 3 for one in loops],
    }
    for name, each in values.items():
        numbers[name] = np.mean(each, axis=0).tolist() if each else None
        error = np.std(each, axis=0, ddof=1) / len(each) ** 0.5 if len(each) > 1 else None
        numbers[f"{name}_error"] = None if error is None else error.tolist()
        numbers[f"{name}_of_each"] = [value.tolist() for value in each]
    return numbers


def describe_loops(figures: Sequence[LoopFigures | str]) -> str:
    """Format means and standard errors of the figures of several runs, one line each."""
    numbers = loop_numbers(figures)
    lines = [f"{numbers['runs_that_switched']} of {numbers['runs']} runs switched"]
    lines += [f"not switched: {reason}" for reason in dict.fromkeys(numbers["not_switched_because"])]
    for name, words, digits in (
        ("coercive_field_kV_per_cm", "coercive field (kV/cm)", 0),
        ("remanent_polarisation_uC_per_cm2", "remanent polarisation (µC/cm²)", 2),
    ):
        if numbers[name] is not None:
            errors = numbers[f"{name}_error"] or [None] * 2
            found = [
                f"{value:.{digits}f}" + ("" if error is None else f" ± {error:.{digits}f}")
                for value, error in zip(numbers[name], errors, strict=True)
            ]
            lines.append(f"{words}: {found[0]} and {found[1]}")
    return "\n".join(lines)


def draw_loops(
    path: Path,
    fields: Float[np.ndarray, "runs points"],
    polarisations: Float[np.ndarray, "runs points"],
    figures: Sequence[LoopFigures | str],
    first: int,
) -> None:
    """Draw the mean loop of several runs with its standard error, and each run as a thin line.

    Args:
        path: File of the picture.
        fields: E in V/Å of each run.
        polarisations: P in e/Å² of each run, from the start.
        figures: Of each run; where it is no loop, the reason. The centres of loops are subtracted.
        first: Index of the point at which the last cycle begins.
    """
    centres = [one.centre if isinstance(one, LoopFigures) else 0.0 for one in figures]
    field = fields.mean(axis=0) * KILOVOLT_PER_CM
    values = (polarisations - np.reshape(centres, (-1, 1))) * MICROCOULOMB_PER_CM2
    mean = values.mean(axis=0)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 4.1), layout=ConstrainedLayoutEngine(rect=(0.0, 0.04, 1.0, 0.96)))
        axes = figure.add_subplot()
        axes.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
        axes.axvline(0.0, color="0.8", linewidth=0.6, zorder=0)
        axes.plot(field[: first + 1], mean[: first + 1], color="0.6", linewidth=1.0, label="before")
        axes.plot(field[first:], mean[first:], color=COLOURS[0], linewidth=1.6, label="last cycle")
        if len(values) > 1:
            error = np.std(values, axis=0, ddof=1) / len(values) ** 0.5
            axes.errorbar(
                field[first:],
                mean[first:],
                error[first:],
                linestyle="none",
                ecolor=COLOURS[0],
                elinewidth=0.7,
                label="standard error",
            )
            for one in values:
                axes.plot(field[first:], one[first:], color="0.75", linewidth=0.5, zorder=1)
        axes.set_xlabel("Electric field (kV/cm)")
        axes.set_ylabel("Polarisation (µC/cm²)")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.2)
        note = "a small cell: real crystals switch in fields orders of magnitude lower"
        figure.text(0.99, 0.005, note, ha="right", va="bottom", fontsize=7.0, color="0.35")
        save_figure(figure, path)
