"""Pictures of benchmark results, in the style of the package."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from equivar_jax.plots import COLOURS, STYLE, save_figure


def plot_peers(results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Milliseconds an atom of every contestant, on a logarithmic scale."""
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
