"""Report on a cross-validation: errors over all atoms, their spread over the folds, a table, a picture."""

import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from ase.data import atomic_numbers
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from equivar_jax.errors import InputError
from equivar_jax.figures import COLOURS, STYLE, save_figure
from equivar_jax.reports.metrics import DriftSummary, ErrorSummary, EvaluationReport

_SHOWN = {
    "mae": "MAE",
    "rmse": "RMSE",
    "mae_diagonal": "MAE dia",
    "mae_off_diagonal": "MAE off",
    "rmspe_diagonal": "RMSPE dia %",
}


@dataclass(frozen=True)
class Spread:
    """One error measure in every fold.

    Attributes:
        values: the value in each fold; None where a fold has none (no atom of the element).
    """

    values: tuple[float | None, ...]

    @property
    def present(self) -> list[float]:
        """Values of the folds that have one."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float:
        """Mean over the folds that have a value; every fold has the same weight. NaN without any value."""
        return float(np.mean(self.present)) if self.present else math.nan

    @property
    def standard_deviation(self) -> float:
        """Sample standard deviation (n - 1) over the folds that have a value; NaN for fewer than two."""
        return float(np.std(self.present, ddof=1)) if len(self.present) > 1 else math.nan


@dataclass(frozen=True)
class CrossValidation:
    """Errors on every fold, of weights that were trained on the other folds.

    Attributes:
        folds: the report of each fold.
        unseen: for each fold, the elements that occur in it but not in what was trained on.
    """

    folds: tuple[EvaluationReport, ...]
    unseen: tuple[tuple[str, ...], ...]

    def pool(self) -> EvaluationReport:
        """Pool the folds: means over all atoms of all folds, so a large fold weighs more than a small one."""
        return EvaluationReport(
            overall=_pool_errors([fold.overall for fold in self.folds]),
            elements={
                symbol: _pool_errors(
                    [fold.elements[symbol] for fold in self.folds if symbol in fold.elements]
                )
                for symbol in self._elements()
            },
            drift=_pool_drift([fold.drift for fold in self.folds if fold.drift is not None]),
        )

    def spreads(self) -> dict[str, dict[str, Spread]]:
        """Return every error measure as a `Spread` over the folds, for "all" and for each element."""
        rows: dict[str, list[ErrorSummary | None]] = {"all": [fold.overall for fold in self.folds]}
        rows |= {symbol: [fold.elements.get(symbol) for fold in self.folds] for symbol in self._elements()}
        names = [field.name for field in fields(ErrorSummary) if field.type is float]
        return {row: {name: _spread_over(found, name) for name in names} for row, found in rows.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return nested dictionaries ready for JSON; numbers that are not finite become None."""
        spreads = {
            row: {
                name: {
                    "mean": _finite(spread.mean),
                    "standard_deviation": _finite(spread.standard_deviation),
                    "values": list(spread.values),
                }
                for name, spread in errors.items()
            }
            for row, errors in self.spreads().items()
        }
        return {
            "pooled": self.pool().to_dict(),
            "over_folds": spreads,
            "unseen": [list(symbols) for symbols in self.unseen],
            "folds": [fold.to_dict() for fold in self.folds],
        }

    def table(self) -> str:
        """Return the errors as aligned text, in e."""
        lines = [["", "folds", *_SHOWN.values()]]
        for row, errors in self.spreads().items():
            lines.append(
                [
                    row,
                    str(len(errors["mae"].present)),
                    *(_format_spread(errors[name], name) for name in _SHOWN),
                ]
            )
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
        text.insert(1, "-" * len(text[0]))
        unseen = "; ".join(
            f"{' '.join(symbols)} in fold {fold}" for fold, symbols in enumerate(self.unseen) if symbols
        )
        if unseen:
            text.append(f"Validated on without having been trained on: {unseen}.")
        return "\n".join(
            [
                "Means over all atoms, each validated once:",
                self.pool().table(),
                "",
                f"Mean ± standard deviation over {len(self.folds)} folds:",
                *text,
            ]
        )

    def _elements(self) -> list[str]:
        """Return the symbols of all elements that occur in any fold, by atomic number."""
        return sorted(
            {symbol for fold in self.folds for symbol in fold.elements}, key=atomic_numbers.__getitem__
        )


def read_evaluation_report(path: Path) -> EvaluationReport:
    """Read a report from a JSON file with the content of `EvaluationReport.to_dict`.

    Only the errors and the charge drift are read, not what else was compared.

    Raises:
        InputError: the file cannot be read or has another content.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        drift = content["drift"]
        return EvaluationReport(
            overall=_summary_from_json(content["overall"]),
            elements={symbol: _summary_from_json(values) for symbol, values in content["elements"].items()},
            drift=None if drift is None else DriftSummary(**drift),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not the evaluation of a fold ({type(error).__name__}: {error}); "
            "remove the file, and the fold will be evaluated again"
        ) from None


def plot_cross_validation(result: CrossValidation, path: str | os.PathLike[str]) -> None:
    """Draw the MAE of diagonal and of off-diagonal components, for all atoms and for each element.

    The height of a bar is the mean over the folds, its error line the standard deviation, each dot one fold.

    Args:
        result: The errors.
        path: File of the picture; the suffix names the format (.png, .pdf, .svg, ...).

    Raises:
        InputError: the picture cannot be written.
    """
    spreads = result.spreads()
    with mpl.rc_context(STYLE):
        width = min(max(4.8, 1.2 + 0.27 * len(spreads)), 24.0)
        figure = Figure(figsize=(width, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        _draw_bars(upper, {row: errors["mae_diagonal"] for row, errors in spreads.items()}, COLOURS[0])
        _draw_bars(lower, {row: errors["mae_off_diagonal"] for row, errors in spreads.items()}, COLOURS[3])
        upper.set_ylabel("Diagonal MAE (e)")
        lower.set_ylabel("Off-diagonal MAE (e)")
        upper.set_title(f"{len(result.folds)} folds: mean, standard deviation, each fold")
        save_figure(figure, path)


def _draw_bars(axes: Axes, spreads: Mapping[str, Spread], colour: str) -> None:
    """Draw one panel: a bar for each row, with its standard deviation and a dot for each fold."""
    places = np.arange(len(spreads))
    means = [spread.mean for spread in spreads.values()]
    axes.bar(places, means, width=0.7, color=colour, alpha=0.45, linewidth=0)
    deviations = [spread.standard_deviation for spread in spreads.values()]
    axes.errorbar(places, means, yerr=deviations, fmt="none", ecolor="0.2", elinewidth=0.9, capsize=2)
    # The dots lie beside the line of the standard deviation, which would hide them.
    points = [(k + 0.22, value) for k, spread in enumerate(spreads.values()) for value in spread.present]
    across, height = np.transpose(points)
    axes.scatter(across, height, s=7, color=colour, linewidths=0, zorder=3)
    axes.set_xticks(places, list(spreads))
    axes.tick_params(axis="x", which="both", length=0)
    axes.set_xlim(-0.6, len(spreads) - 0.4)
    axes.axvline(0.5, color="0.7", linewidth=0.8)
    axes.set_ylim(bottom=0.0)


def _summary_from_json(values: dict[str, Any]) -> ErrorSummary:
    """Make a summary from its JSON form, in which None stands for NaN."""
    numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
    return ErrorSummary(**numbers)


def _pool_errors(parts: Sequence[ErrorSummary]) -> ErrorSummary:
    """Summarise all atoms of several sets: each mean is weighted by the number of things it is over."""

    def mean(of: Callable[[ErrorSummary], float], weight: Callable[[ErrorSummary], int]) -> float:
        counted = [part for part in parts if weight(part)]
        total = sum(map(weight, counted))
        return sum(of(part) * weight(part) for part in counted) / total if total else math.nan

    def atoms(part: ErrorSummary) -> int:
        return part.atoms

    return ErrorSummary(
        atoms=sum(map(atoms, parts)),
        mae=mean(lambda part: part.mae, atoms),
        rmse=math.sqrt(mean(lambda part: part.rmse**2, atoms)),
        mae_diagonal=mean(lambda part: part.mae_diagonal, atoms),
        rmse_diagonal=math.sqrt(mean(lambda part: part.rmse_diagonal**2, atoms)),
        mae_off_diagonal=mean(lambda part: part.mae_off_diagonal, atoms),
        rmse_off_diagonal=math.sqrt(mean(lambda part: part.rmse_off_diagonal**2, atoms)),
        rmspe_diagonal=math.sqrt(
            mean(lambda part: part.rmspe_diagonal**2, lambda part: 3 * part.atoms - part.rmspe_excluded)
        ),
        rmspe_excluded=sum(part.rmspe_excluded for part in parts),
    )


def _pool_drift(parts: Sequence[DriftSummary]) -> DriftSummary | None:
    """Summarise the drift of all structures of several sets; None if there are no structures."""
    structures = sum(part.structures for part in parts)
    if not structures:
        return None
    return DriftSummary(
        structures=structures,
        per_cell_mean=sum(part.per_cell_mean * part.structures for part in parts) / structures,
        per_cell_max=max(part.per_cell_max for part in parts),
        per_atom_mean=sum(part.per_atom_mean * part.structures for part in parts) / structures,
        per_atom_max=max(part.per_atom_max for part in parts),
    )


def _spread_over(parts: Sequence[ErrorSummary | None], name: str) -> Spread:
    """Collect one error measure, by its name in `ErrorSummary`, over the folds."""
    return Spread(tuple(None if part is None else _finite(getattr(part, name)) for part in parts))


def _finite(value: float) -> float | None:
    """Return the value, or None if it is not finite, which JSON does not have."""
    return value if math.isfinite(value) else None


def _format_spread(spread: Spread, name: str) -> str:
    """Format mean and standard deviation for a cell of the table."""
    digits = 2 if name.startswith("rmspe") else 4
    if math.isnan(spread.mean):
        return "-"
    if math.isnan(spread.standard_deviation):
        return f"{spread.mean:.{digits}f}" + " " * (3 + digits + 2)
    return f"{spread.mean:.{digits}f} ± {spread.standard_deviation:.{digits}f}"
