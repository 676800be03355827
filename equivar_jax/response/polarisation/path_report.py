"""Table, numbers and picture of the polarisation along a path."""

import csv
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from equivar_jax.errors import input_error_unless_writable
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.response.polarisation.closure import Closure
from equivar_jax.response.units import MICROCOULOMB_PER_CM2

METHODS = {
    "network": "the polarisation that the network itself gives",
    "integral": "the integral of Born charges along the path",
}
"""Where a change of polarisation is from, in words."""


def write_polarisation(
    path: Path, change: Float[np.ndarray, "frames 3"], quanta: Float[np.ndarray, "frames 3 3"]
) -> None:
    """Write one line for each frame: the change since the first frame in two units, and the quanta.

    Columns: `frame`; `dPx_uC/cm2` to `dPz_uC/cm2`; `dPx_e/A2` to `dPz_e/A2`; `quantum_ax_uC/cm2` to
    `quantum_cz_uC/cm2`, component x, y, z of `e R / V` for the lattice vectors a, b, c.

    Args:
        path: The .csv file.
        change: Change of polarisation in e/Å², Cartesian components.
        quanta: Quanta in e/Å², [frame, lattice vector, component].
    """
    header = ["frame"]
    header += [f"dP{axis}_{unit}" for unit in ("uC/cm2", "e/A2") for axis in "xyz"]
    header += [f"quantum_{vector}{axis}_uC/cm2" for vector in "abc" for axis in "xyz"]
    columns = [change * MICROCOULOMB_PER_CM2, change, quanta.reshape(-1, 9) * MICROCOULOMB_PER_CM2]
    with input_error_unless_writable(path, "--output"), path.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(header)
        writer.writerows([k, *map(repr, row)] for k, row in enumerate(np.hstack(columns).tolist()))


def draw_polarisation(
    path: Path, change: Float[np.ndarray, "frames 3"], quanta: Float[np.ndarray, "3 3"]
) -> None:
    """Draw the three components against the number of the frame.

    Args:
        path: File of the picture.
        change: Change of polarisation in e/Å², Cartesian components.
        quanta: Quanta of one frame in e/Å², [lattice vector, component]; a note below gives their lengths.
    """
    lengths = np.linalg.norm(quanta, axis=1) * MICROCOULOMB_PER_CM2
    with mpl.rc_context(STYLE):
        # A strip below the axes is kept for the quanta.
        figure = Figure(figsize=(4.8, 3.4), layout=ConstrainedLayoutEngine(rect=(0.0, 0.045, 1.0, 0.955)))
        axes = figure.add_subplot()
        axes.axhline(0.0, color="0.7", linewidth=0.6)
        marker = "o" if len(change) < 60 else None
        for axis, colour, width in zip(range(3), COLOURS, (3.0, 1.8, 1.0), strict=False):
            axes.plot(
                change[:, axis] * MICROCOULOMB_PER_CM2,
                color=colour,
                marker=marker,
                markersize=1.5 * width,
                linewidth=width,
                label=f"$\\Delta P_{'xyz'[axis]}$",
            )
        axes.set_xlabel("Frame")
        axes.set_ylabel("Change of polarisation (µC/cm²)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
        text = "quanta $e|\\mathbf{R}|/V$: " + ", ".join(f"{length:.1f}" for length in lengths) + " µC/cm²"
        figure.text(0.99, 0.005, text, ha="right", va="bottom", fontsize=7.5, color="0.35")
        save_figure(figure, path)


def describe_polarisation(change: Float[np.ndarray, "3"], quanta: Float[np.ndarray, "3 3"]) -> str:
    """Format a change of polarisation and the quanta, both in e/Å², as four lines in µC/cm²."""
    rows = {"change from first to last frame": change}
    rows |= {f"quantum e {name} / V": quantum for name, quantum in zip("abc", quanta, strict=True)}
    return "\n".join(
        f"{name} (µC/cm²): " + " ".join(f"{value:.3f}" for value in row * MICROCOULOMB_PER_CM2)
        for name, row in rows.items()
    )


def describe_method(method: str, reason: str | None = None) -> str:
    """Say where a change of polarisation is from, and why not from the network, if a reason is given."""
    return METHODS[method] + (f", since {reason}" if reason else "")


def describe_closure(closure: Closure, volume: float) -> str:
    """Format what the integral of Z around the closed path leaves, as one line.

    Args:
        closure: The integral.
        volume: Volume of the cell in Å³.
    """
    left = float(np.linalg.norm(closure.dipole))
    words = (
        f"integral of Z around the closed path: {left:.3g} e Å, "
        f"{left / volume * MICROCOULOMB_PER_CM2:.3g} µC/cm² (integration within "
        f"{closure.rule_error:.1g} e Å; path {closure.length:.3g} Å, area {closure.area:.3g} Å²)"
    )
    if closure.is_flat:
        return f"{words}; the path encloses no area, so that any tensors close: give frames around a loop"
    return f"{words}; derivatives of a polarisation leave zero"


def write_numbers(
    path: Path, change: Float[np.ndarray, "3"], method: str, reason: str | None, closure: Closure | None
) -> Path:
    """Write the change from the first to the last frame as JSON; every name ends in its unit.

    Args:
        path: The .json file.
        change: Change of polarisation in e/Å², Cartesian components.
        method: Where it is from; a key of `METHODS`.
        reason: Why it is not from the network, or None.
        closure: The integral around the closed path, or None.

    Returns:
        The path.
    """
    numbers: dict[str, object] = {
        "change_uC_per_cm2": (change * MICROCOULOMB_PER_CM2).tolist(),
        "method": method,
        "method_in_words": describe_method(method, reason),
    }
    if closure is not None:
        numbers["closure"] = {
            "integral_e_A": closure.dipole.tolist(),
            "integration_error_e_A": closure.rule_error,
            "path_length_A": closure.length,
            "enclosed_area_A2": closure.area,
            "encloses_no_area": closure.is_flat,
        }
    with input_error_unless_writable(path, "--output"):
        path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return path
