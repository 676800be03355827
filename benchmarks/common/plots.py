"""Pictures of the speed benchmarks, drawn in the style of the package."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from equivar_jax.figures import COLOURS, STYLE, save_figure


def plot_peers(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Plot milliseconds an atom of every contestant on a logarithmic scale."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 1.2 + 1.3 * len(results)), layout="constrained")
        axes = figure.subplots(len(results), 2, sharex="col", squeeze=False)
        for row, result in enumerate(results):
            for column, kind in enumerate(("inference", "training")):
                axis, values = axes[row, column], result[kind]
                names = list(values)[::-1]
                medians = [values[name]["median"] for name in names]
                best = values["equivar_jax"]["median"]
                bars = axis.barh(
                    names,
                    medians,
                    color=[COLOURS[0] if n.startswith("equivar") else COLOURS[1] for n in names],
                )
                axis.bar_label(bars, [f"{m:.3g}  ({m / best:.1f}x)" for m in medians], padding=2, fontsize=7)
                axis.set_xscale("log")
                axis.set_title(
                    f"{result['config'].removesuffix('.py').upper()}, {result['shape']}, {kind}", fontsize=8
                )
                if column:
                    axis.set_yticklabels([])
        for column, kind in enumerate(("inference", "training")):
            medians = [row["median"] for result in results for row in result[kind].values()]
            axes[-1, column].set_xlim(min(medians) / 3, max(medians) * 40)
            axes[-1, column].set_xlabel("ms/atom")
        save_figure(figure, path)


def plot_scaling(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Plot milliseconds an atom against the number of atoms, with linear fits and published times.

    Inference and training have a panel each.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.0, 3.8), layout="constrained")
        panels = dict(zip(("inference", "training"), figure.subplots(1, 2), strict=True))
        keys = {"inference": "median_ms_per_atom", "training": "median_ms_per_atom_epoch"}
        for colour, (name, result) in zip(COLOURS, results.items(), strict=False):
            label = name.removesuffix(".py").upper()
            for kind, axis in panels.items():
                for marker, family in zip("osD", (None, "Li3PO4", "ZrO2"), strict=True):
                    rows = [r for r in result[kind] if r.get("family") in (family, family or "perovskite")]
                    if rows:
                        axis.plot(
                            [row["atoms"] for row in rows],
                            [row[keys[kind]] for row in rows],
                            marker,
                            color=colour,
                            label=f"{label}, {family or 'perovskite'}",
                        )
                fit, atoms = result["linear_fit"][kind], [row["atoms"] for row in result[kind]]
                grid = np.geomspace(min(atoms), max(atoms))
                axis.plot(
                    grid, fit["ms_per_atom"] + 1e3 * fit["offset_seconds"] / grid, "-", color=colour, lw=0.8
                )
                published = result["published_A6000_ms_per_atom"][kind]
                axis.axhline(published, color=colour, ls=":", lw=0.8, label=f"{label}, published (A6000)")
        for kind, axis in panels.items():
            axis.set(xscale="log", yscale="log", xlabel="Atoms", title=kind.capitalize())
            axis.set_ylabel("ms/atom" if kind == "inference" else "ms/atom/epoch")
            axis.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2))
        save_figure(figure, path)
