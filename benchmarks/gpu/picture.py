"""The picture of the benchmark on a GPU: microseconds an atom against size, beside what must be reached."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.gpu.tables import TARGETS, median
from benchmarks.speed.scaling import PUBLISHED
from equivar_jax.figures import COLOURS, STYLE, save_figure


def plot_rows(result: Mapping[str, Any], path: Path) -> None:
    """Draw BM1 and BM2: batches, one crystal, training sets, beside targets and published times.

    Args:
        result: As `record.Record` writes it.
        path: Of the picture.
    """
    rows = list(result["rows"].values())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 3.8), layout="constrained")
        for axis, kind, figure_of_paper in zip(
            figure.subplots(1, 2), ("inference", "training"), ("S2", "S3"), strict=True
        ):
            shown = False
            for colour, (name, targets) in zip(COLOURS, TARGETS.items(), strict=False):
                label, own = (
                    name.removesuffix(".py").upper(),
                    [row for row in rows if row.get("config") == name],
                )
                batches = [row for row in own if row.get("kind") == kind]
                scaling = [row for row in own if row["table"] == figure_of_paper]
                what = "one crystal" if kind == "inference" else "an epoch"
                shown |= _draw(axis, batches, "o-", colour, f"{label}, a batch")
                shown |= _draw(axis, scaling, "s--", colour, f"{label}, {what}")
                axis.axhline(targets[kind][0], color=colour, lw=0.8, label=f"{label}, must")
                published = 1e3 * PUBLISHED[name][kind]
                axis.axhline(published, color=colour, ls=":", lw=0.8, label=f"{label}, published (A6000)")
            if not shown:
                axis.text(0.5, 0.5, "not measured", transform=axis.transAxes, ha="center", va="center")
            axis.set(xscale="log", yscale="log", xlabel="Atoms", ylabel="µs/atom", title=kind.capitalize())
            axis.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        save_figure(figure, path)


def _draw(axis: Axes, rows: list[Mapping[str, Any]], form: str, colour: str, label: str) -> bool:
    """Draw the rows that were measured; return whether there were any."""
    points = [(row["measured_atoms"], found) for row in rows if (found := median(row)) is not None]
    if points:
        axis.plot(*zip(*sorted(points), strict=True), form, color=colour, label=label, ms=4)
    return bool(points)
