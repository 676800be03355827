"""A picture that shows whether the uncertainties of a committee can be trusted."""

from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.special import erf

from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.uncertainty.calibration import Calibration, two_fold_ratios
from equivar_jax.uncertainty.fits import coverage, errors_in_sigmas
from equivar_jax.uncertainty.residuals import Residuals

_BINS = 15
_MEAN_OF_NORMAL = np.sqrt(2.0 / np.pi)  # of |error| over sigma


def plot_calibration(residuals: Residuals, calibration: Calibration, path: Path) -> None:
    """Draw coverage against its expectation to the left, and mean errors against sigma to the right.

    Args:
        residuals: The errors and spreads that were calibrated on.
        calibration: The calibration that they gave.
        path: File of the picture; the suffix names the format.

    Raises:
        InputError: the picture cannot be written.
    """
    errors = np.abs(residuals.errors[residuals.counted])
    sigma = calibration.sigma_of(residuals)[residuals.counted]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 3.5), layout="constrained")
        left, right = figure.subplots(1, 2)
        _draw_coverage(left, errors_in_sigmas(errors, sigma), two_fold_ratios(residuals))
        _draw_errors(right, errors, sigma)
        right.set_title(f"Spearman correlation by atom: {calibration.spearman:.2f}")
        save_figure(figure, path)


def _draw_coverage(axes: Axes, fitted: np.ndarray, held_out: np.ndarray | None) -> None:
    """Draw the fraction of errors within k sigma, for fitted data and for data held out in two folds."""
    k = np.linspace(0.0, 3.5, 141)
    axes.plot(k, 100 * erf(k / np.sqrt(2.0)), color="0.3", linestyle="--", linewidth=1.0, label="expected")
    axes.plot(k, [100 * coverage(fitted, x) for x in k], color=COLOURS[0], linewidth=1.4, label="fitted data")
    if held_out is not None:
        values = [100 * coverage(held_out, x) for x in k]
        axes.plot(k, values, color=COLOURS[3], linewidth=1.2, label="two-fold: other half")
    shown = fitted if held_out is None else held_out
    for mark in (1, 2):
        axes.axvline(mark, color="0.8", linewidth=0.8, zorder=0)
        value = 100 * coverage(shown, mark)
        axes.plot(mark, value, "o", color=COLOURS[0 if held_out is None else 3], markersize=4.5)
        axes.annotate(
            f"{value:.1f} %", (mark, value), (6, -11), textcoords="offset points", fontsize=8, va="center"
        )
    axes.set(xlim=(0, 3.5), ylim=(0, 103), xlabel="k", ylabel="Errors within $k\\,\\sigma$ (%)")
    axes.set_title("Coverage")
    axes.legend(loc="lower right")


def _draw_errors(axes: Axes, errors: np.ndarray, sigma: np.ndarray) -> None:
    """Draw the mean error against sigma, in bins of sigma that hold equally many components."""
    order = np.argsort(sigma, kind="stable")
    bins = [part for part in np.array_split(order, min(_BINS, len(order))) if len(part)]
    x, y = (np.array([values[part].mean() for part in bins]) for values in (sigma, errors))
    usable = (x > 0) & (y > 0)
    if usable.any():
        axes.plot(x[usable], y[usable], "o", color=COLOURS[0], markersize=4.5, label="mean of a bin")
        ends = np.array([x[usable].min() / 1.3, 1.3 * x[usable].max()])
        label = "expected, $\\sigma\\sqrt{2/\\pi}$"
        axes.plot(ends, _MEAN_OF_NORMAL * ends, color="0.3", linestyle="--", linewidth=1.0, label=label)
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < 100 * low else (1.0,)))
            axis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
            axis.set_minor_formatter(NullFormatter())
        axes.legend(loc="upper left")
    axes.set(xlabel="Predicted $\\sigma$ (e)", ylabel="Mean |error| (e)")
