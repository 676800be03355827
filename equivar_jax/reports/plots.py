"""Pictures of a training and of an evaluation; no display and no global state of matplotlib are needed."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from equivar_jax.errors import InputError
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.reports.metrics import ErrorSummary, summarise_errors

_OTHERS = "#A0A0A0"


def plot_history(records: Sequence[Mapping[str, object]], path: str | os.PathLike[str]) -> None:
    """Draw training loss and validation MAE against the epoch, on a logarithmic scale.

    The epoch with the lowest validation MAE is marked; its weights are kept, unless `train.keep` is "last".
    The learning rate, if it is recorded, is drawn faintly on an axis of its own.

    Args:
        records: one mapping for each epoch with `epoch`, `train_loss`, `validation_mae` (e) and
            `learning_rate`, as read from `metrics.jsonl`. Values may be missing or None. If an epoch was
            recorded twice (in a resumed run), its last record counts. Records without an epoch are ignored.
        path: file of the picture; the suffix names the format (.png, .pdf, .svg, ...).

    Raises:
        InputError: no record has an epoch with a loss or an MAE, or the picture cannot be written.
    """
    by_epoch = {
        int(number): record for record in records if (number := _read_number(record, "epoch")) is not None
    }
    epochs = np.array(sorted(by_epoch))
    loss, mae, rate = (
        np.array([_read_positive(by_epoch[epoch], name) for epoch in epochs], dtype=np.float64)
        for name in ("train_loss", "validation_mae", "learning_rate")
    )
    if not (np.isfinite(loss).any() or np.isfinite(mae).any()):
        raise InputError(f"{path}: no epoch with a training loss or a validation MAE to draw; train first")
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(4.8, 3.6), layout="constrained")
        axes = figure.add_subplot()
        entries = [
            *_draw_series(axes, epochs, loss, color=COLOURS[0], label="training loss"),
            *_draw_series(axes, epochs, mae, color=COLOURS[3], label="validation MAE"),
        ]
        if np.isfinite(mae).any():
            best = int(np.nanargmin(mae))
            label = f"best: {mae[best]:.4f} e, epoch {epochs[best]}"
            entries += axes.plot(
                epochs[best],
                mae[best],
                color="black",
                label=label,
                zorder=4,
                marker="*",
                markersize=12,
                markeredgecolor="white",
                linestyle="none",
            )
        if np.isfinite(rate).any():
            entries += _draw_learning_rate(axes, epochs, rate)
        _scale_logarithmically(axes)
        axes.set_xlabel("Epoch")
        axes.set_ylabel("Training loss, validation MAE (e)")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        # The legend lies above the axes, where no curve can run into it.
        axes.legend(handles=entries, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
        save_figure(figure, path)


def plot_parity(
    numbers: Int[np.ndarray, "atoms"],
    predicted: Float[np.ndarray, "atoms 3 3"],
    reference: Float[np.ndarray, "atoms 3 3"],
    path: str | os.PathLike[str],
    title: str = "",
) -> None:
    """Draw predicted against reference components: diagonal to the left, off-diagonal to the right.

    Points are coloured by element. The legend names the most frequent elements with their number of atoms and
    their MAE, and groups all other elements as "others".

    Args:
        numbers: atomic numbers.
        predicted: tensors [atom, field, displacement] in e.
        reference: the same from the data.
        path: file of the picture; the suffix names the format (.png, .pdf, .svg, ...).
        title: text above both panels.

    Raises:
        InputError: there are no atoms, the arrays do not fit together, values are not finite, or the picture
            cannot be written.
    """
    overall = summarise_errors(numbers, predicted, reference).overall
    if not (np.isfinite(predicted).all() and np.isfinite(reference).all()):
        raise InputError(
            f"{path}: tensors that are not finite cannot be drawn; see the metrics for the atoms"
        )
    diagonal = np.eye(3, dtype=bool)
    groups = _group_by_element(numbers)
    with mpl.rc_context(STYLE):
        # Fixed places in inches: square panels, with a legend below them that is as high as it needs to be.
        below, above, panel = 0.8 + 0.17 * math.ceil(len(groups) / 2), 0.6 if title else 0.35, 2.75
        width, height = 7.2, below + panel + above
        figure = Figure(figsize=(width, height))
        if title:
            figure.suptitle(title, y=1.0 - 0.07 / height, verticalalignment="top")
        for left, mask, name in ((0.75, diagonal, "Diagonal"), (4.35, ~diagonal, "Off-diagonal")):
            axes = figure.add_axes((left / width, below / height, panel / width, panel / height))
            _draw_panel(axes, groups, predicted[:, mask], reference[:, mask])
            axes.set_title(f"{name} components")
            box = {"boxstyle": "round", "facecolor": "white", "edgecolor": "0.7", "alpha": 0.9}
            text = _panel_text(overall, is_diagonal=mask is diagonal)
            axes.text(0.04, 0.96, text, transform=axes.transAxes, va="top", fontsize=8.5, bbox=box)
        save_figure(figure, path)


def _group_by_element(numbers: Int[np.ndarray, "atoms"]) -> list[tuple[str, str, np.ndarray]]:
    """Return name, colour and mask of atoms of each legend entry: the most frequent first, then "others"."""
    present, counts = np.unique(numbers, return_counts=True)
    ranked = present[np.lexsort((present, -counts))]
    kept = ranked if len(ranked) <= len(COLOURS) else ranked[: len(COLOURS)]
    groups = [
        (chemical_symbols[number], colour, numbers == number)
        for number, colour in zip(kept, COLOURS, strict=False)
    ]
    if len(ranked) > len(kept):
        groups.append(("others", _OTHERS, ~np.isin(numbers, kept)))
    return groups


def _draw_panel(
    axes: Axes,
    groups: list[tuple[str, str, np.ndarray]],
    predicted: Float[np.ndarray, "atoms components"],
    reference: Float[np.ndarray, "atoms components"],
) -> None:
    """Draw one panel: points, the line of agreement, equal axes, and the legend below."""
    # Fewer points are drawn larger and more opaque; even 1e5 points remain readable as a density.
    crowding = max(1.0, math.log10(predicted.size / 100.0) + 1.0)
    style = {"s": 22.0 / crowding**1.5, "alpha": 0.9 / crowding**0.8, "linewidths": 0, "rasterized": True}
    colours = np.full(len(predicted), _OTHERS)
    for _, colour, atoms in groups:
        colours[atoms] = colour
    # The others lie below. Named elements are shuffled, so that none hides another by being drawn later.
    shuffled = np.random.default_rng(0).permutation(len(predicted))
    rest = colours[shuffled] == _OTHERS
    for atoms in (shuffled[rest], shuffled[~rest]):
        components = predicted.shape[1]
        axes.scatter(
            reference[atoms].ravel(),
            predicted[atoms].ravel(),
            c=np.repeat(colours[atoms], components),
            **style,
        )
    low = float(min(predicted.min(), reference.min()))
    high = float(max(predicted.max(), reference.max()))
    margin = 0.05 * (high - low) or 0.1
    limits = (low - margin, high + margin)
    axes.plot(limits, limits, color="0.3", linewidth=0.8, linestyle="--", zorder=3)
    ticks = [tick for tick in MaxNLocator(6).tick_values(*limits) if limits[0] <= tick <= limits[1]]
    axes.set(xticks=ticks, yticks=ticks, xlim=limits, ylim=limits, aspect="equal")
    axes.set(xlabel="Reference $Z^*$ (e)", ylabel="Predicted $Z^*$ (e)")
    entries = [
        Line2D([], [], color=colour, marker="o", markersize=4.5, linestyle="none", label=label)
        for (name, colour, atoms) in groups
        if (
            label
            := f"{name} ({np.count_nonzero(atoms):,}): {np.abs(predicted - reference)[atoms].mean():.4f}"
        )
    ]
    axes.legend(
        handles=entries,
        title="element (atoms): MAE in e",
        loc="upper center",
        bbox_to_anchor=(0.48, -0.16),
        ncols=min(2, len(entries)),
        columnspacing=1.0,
        handletextpad=0.2,
        labelspacing=0.35,
    )


def _panel_text(overall: ErrorSummary, is_diagonal: bool) -> str:
    """Return the text with the errors of a panel."""
    if not is_diagonal:
        return f"MAE {overall.mae_off_diagonal:.4f} e\nRMSE {overall.rmse_off_diagonal:.4f} e"
    text = f"MAE {overall.mae_diagonal:.4f} e\nRMSE {overall.rmse_diagonal:.4f} e"
    if math.isfinite(overall.rmspe_diagonal):
        text += f"\nRMSPE {overall.rmspe_diagonal:.2f} %"
    return text


def _draw_series(axes: Axes, epochs: np.ndarray, values: np.ndarray, **style: Any) -> list[Line2D]:
    """Draw a line through the epochs that have a value; with points where there are too few for a line."""
    present = np.isfinite(values)
    if not present.any():
        return []
    marker = "o" if present.sum() < 3 else None
    return axes.plot(epochs[present], values[present], linewidth=1.4, marker=marker, zorder=3, **style)


def _draw_learning_rate(axes: Axes, epochs: np.ndarray, rate: np.ndarray) -> list[Line2D]:
    """Draw the learning rate faintly, on an axis of its own to the right and behind the errors."""
    right = axes.twinx()
    lines = _draw_series(
        right, epochs, rate, color="0.75", drawstyle="steps-post", label="learning rate (right)"
    )
    _scale_logarithmically(right)
    right.set_ylabel("Learning rate", color="0.45")
    right.tick_params(axis="y", which="both", colors="0.45")
    axes.tick_params(axis="y", which="both", right=False)
    axes.set_zorder(right.get_zorder() + 1)
    axes.patch.set_visible(False)
    return lines


def _scale_logarithmically(axes: Axes) -> None:
    """Make the y axis logarithmic with plain numbers: 1, 2, 5 in each decade, or decades alone if many."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    steps = (1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=steps))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _position: f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _read_number(record: Mapping[str, object], name: str) -> float | None:
    """Return a number of a record, or None where it is missing, null or not finite."""
    value = record.get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _read_positive(record: Mapping[str, object], name: str) -> float:
    """Return a number of a record for a logarithmic axis; NaN where it is missing or not positive."""
    value = _read_number(record, name)
    return value if value is not None and value > 0 else math.nan
