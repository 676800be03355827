"""The pictures of `results/accuracy`, drawn in the style of the package."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from benchmarks.accuracy.tables import PUBLISHED, Rows, group_by_variant, mean_error, select_finished
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.reports.fold_report import CrossValidation, plot_cross_validation, read_evaluation_report

_MAE = "MAE (e)"


def plot_learning_curve(rows: Rows, path: Path) -> None:
    """Plot the MAE on the validation part against the number of training structures."""
    good = [row for row in select_finished(rows) if "training" in row["facts"]]
    sizes = sorted({row["facts"]["training"] for row in good})
    means = [mean_error([row for row in good if row["facts"]["training"] == size]) for size in sizes]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(sizes, means, "-", color=COLOURS[0], lw=1.0)
        for row in good:
            mae = row["validation"]["overall"]["mae"]
            axes.plot(row["facts"]["training"], mae, "o", color=COLOURS[0], ms=4)
        axes.set(xscale="log", yscale="log", xlabel="Training structures", ylabel=_MAE)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        _set_plain_ticks(axes)
        save_figure(figure, path)


def plot_hyperparameters(rows: Rows, path: Path) -> None:
    """Plot the MAE on the validation part against the values of each setting, in a panel for each.

    The base config is a point of every panel.
    """
    good = select_finished(rows)
    base = [row for row in good if row["facts"]["setting"] == "base"]
    settings = list(dict.fromkeys(row["facts"]["setting"] for row in good if row not in base))
    if not base or not settings:
        return
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(1.9 * len(settings) + 0.6, 2.8), layout="constrained")
        panels = figure.subplots(1, len(settings), sharey=True, squeeze=False)[0]
        for axes, setting in zip(panels, settings, strict=True):
            part = "train" if setting in base[0]["config"]["train"] else "model"
            points = [row for row in good if row in base or row["facts"]["setting"] == setting]
            values = sorted({row["config"][part][setting] for row in points})
            for row in points:
                place = values.index(row["config"][part][setting])
                colour = COLOURS[3] if row in base else COLOURS[0]
                axes.plot(place, row["validation"]["overall"]["mae"], "o", color=colour, ms=4)
            axes.set_xticks(range(len(values)), [str(value) for value in values])
            axes.set_xlim(-0.5, len(values) - 0.5)
            axes.set(yscale="log", xlabel=setting.replace("_", " "))
        panels[0].set_ylabel(_MAE)
        _set_plain_ticks(panels[0])
        save_figure(figure, path)


def plot_by_test(rows: Rows, path: Path) -> None:
    """Plot the MAE on the validation part of each kind: a group of bars for a kind, a bar for a model.

    Published errors are added where they are of the same kinds.
    """
    good = [row for row in select_finished(rows) if "trained_on" in row["facts"]]
    suffix = ", validation"
    tests = list(dict.fromkeys(test for row in good for test in row["tests"] if test.endswith(suffix)))
    kinds = [test.removesuffix(suffix) for test in tests]
    bars: dict[str, list[float]] = {}
    for found in group_by_variant(good).values():
        facts = found[0]["facts"]
        specialised = facts["trained_on"] != "all"
        name = f"{facts['model']}, {'specialised' if specialised else 'all kinds'}"
        heights = bars.setdefault(name, [np.nan] * len(tests))
        for place, test in enumerate(tests):
            values = [row["tests"][test]["overall"]["mae"] for row in found if test in row["tests"]]
            if values:
                heights[place] = float(np.mean(values))
    for name, errors in PUBLISHED.items() if set(kinds) <= set(next(iter(PUBLISHED.values()))) else ():
        bars[name] = [errors[kind] for kind in kinds]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.2), layout="constrained")
        axes = figure.add_subplot()
        width = 0.8 / max(len(bars), 1)
        colours: dict[str, str] = {}  # one for a network, ours or published
        for k, (name, heights) in enumerate(bars.items()):
            places = np.arange(len(kinds)) + (k - (len(bars) - 1) / 2) * width
            published = name.startswith("published")
            network = name.removeprefix("published, ").removesuffix(", all kinds").split(", ")[-1]
            colour = colours.setdefault(network, COLOURS[len(colours) % len(COLOURS)])
            style: dict[str, Any] = {"facecolor": "none", "hatch": "///"} if published else {"color": colour}
            axes.bar(places, heights, 0.9 * width, label=name, edgecolor=colour, lw=0.8, **style)
        axes.set_xticks(range(len(kinds)), kinds)
        axes.set_ylabel(_MAE)
        axes.legend()
        save_figure(figure, path)


def plot_transfer(rows: Rows, path: Path) -> None:
    """Plot MAE and drift of each test set against its atoms a cell; validation parts have filled markers."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 3.0), layout="constrained")
        errors, drifts = figure.subplots(1, 2)
        for colour, (name, found) in zip(
            COLOURS, group_by_variant(select_finished(rows)).items(), strict=False
        ):
            for row in found:
                for test in [row["validation"], *row["tests"].values()]:
                    size = test["overall"]["atoms"] / test["drift"]["structures"]
                    fill = colour if test is row["validation"] else "none"
                    style = {
                        "marker": "o",
                        "ls": "none",
                        "color": colour,
                        "markerfacecolor": fill,
                        "ms": 5,
                        "label": name,
                    }
                    errors.plot(size, test["overall"]["mae"], **style)
                    drifts.plot(size, test["drift"]["per_atom_mean"], **style)
                    name = "_"  # one entry in the legend
        errors.set_ylabel(_MAE)
        drifts.set_ylabel("Drift before the sum rule (e/atom)")
        for axes in (errors, drifts):
            axes.set(xscale="log", xlabel="Atoms a cell", ylim=(0, 1.15 * axes.get_ylim()[1]))
            low, high = axes.get_xlim()
            ticks = [size for size in 2 ** np.arange(20) if low <= size <= high]
            axes.set_xticks(ticks, [str(size) for size in ticks])
            axes.minorticks_off()
        errors.legend()
        save_figure(figure, path)


def plot_folds(rows: Rows, path: Path) -> None:
    """Plot the errors of each element over the folds of the first row."""
    content: Mapping[str, Any] = rows[0]["cross_validation"]
    with TemporaryDirectory() as folder:
        file = Path(folder) / "validation.json"
        reports = []
        for fold in content["folds"]:
            file.write_text(json.dumps(fold))
            reports.append(read_evaluation_report(file))
    unseen: Sequence[Sequence[str]] = content["unseen"]
    plot_cross_validation(CrossValidation(tuple(reports), tuple(map(tuple, unseen))), path)


def _set_plain_ticks(axes: Any) -> None:
    """Label a logarithmic y axis with numbers such as 0.02."""
    axes.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1.0, 2.0, 3.0, 5.0)))
    axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
