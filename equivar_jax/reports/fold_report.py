"""What a cross-validation says: errors over all atoms, their spread over the folds, a table and a picture."""

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
from equivar_jax.reports.metrics import DriftSummary, ErrorSummary, Report

_SHOWN = {
    "mae": "MAE",
    "rmse": "RMSE",
    "mae_diagonal": "MAE dia",
    "mae_off_diagonal": "MAE off",
    "rmspe_diagonal": "RMSPE dia %",
}


@dataclass(frozen=True)
class Spread:
    """One error over the folds that have it.

    Attributes:
        values: of each fold, None where it has none (no atom of the element).
    """

    values: tuple[float | None, ...]

    @property
    def there(self) -> list[float]:
        """The values of the folds that have one."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float:
        """Over the folds that have a value; every fold counts the same."""
        return float(np.mean(self.there)) if self.there else math.nan

    @property
    def standard_deviation(self) -> float:
        """As of a sample (n - 1); NaN for fewer than two values."""
        return float(np.std(self.there, ddof=1)) if len(self.there) > 1 else math.nan


@dataclass(frozen=True)
class CrossValidation:
    """The validation of every fold, by weights that were trained on the other folds.

    Attributes:
        folds: the report of each fold.
        unseen: of each fold, the elements that it validates on and never trained on.
    """

    folds: tuple[Report, ...]
    unseen: tuple[tuple[str, ...], ...]

    def pooled(self) -> Report:
        """Means over all atoms of all folds; a large fold weighs more than a small one."""
        return Report(
            overall=_pooled([fold.overall for fold in self.folds]),
            elements={
                symbol: _pooled([fold.elements[symbol] for fold in self.folds if symbol in fold.elements])
                for symbol in self._elements()
            },
            drift=_pooled_drift([fold.drift for fold in self.folds if fold.drift is not None]),
        )

    def spreads(self) -> dict[str, dict[str, Spread]]:
        """Error by error for "all" and for each element, how it differs from fold to fold."""
        rows: dict[str, list[ErrorSummary | None]] = {"all": [fold.overall for fold in self.folds]}
        rows |= {symbol: [fold.elements.get(symbol) for fold in self.folds] for symbol in self._elements()}
        names = [field.name for field in fields(ErrorSummary) if field.type is float]
        return {row: {name: _spread(found, name) for name in names} for row, found in rows.items()}

    def to_dict(self) -> dict[str, Any]:
        """Nested dictionaries, ready for JSON; numbers that are not finite become None."""
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
            "pooled": self.pooled().to_dict(),
            "over_folds": spreads,
            "unseen": [list(symbols) for symbols in self.unseen],
            "folds": [fold.to_dict() for fold in self.folds],
        }

    def table(self) -> str:
        """The numbers as aligned text, errors in e."""
        lines = [["", "folds", *_SHOWN.values()]]
        for row, errors in self.spreads().items():
            lines.append(
                [row, str(len(errors["mae"].there)), *(_cell(errors[name], name) for name in _SHOWN)]
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
                self.pooled().table(),
                "",
                f"Mean ± standard deviation over {len(self.folds)} folds:",
                *text,
            ]
        )

    def _elements(self) -> list[str]:
        """Symbols that occur in any fold, by atomic number."""
        return sorted(
            {symbol for fold in self.folds for symbol in fold.elements}, key=atomic_numbers.__getitem__
        )


def read_report(path: Path) -> Report:
    """The report that `Report.to_dict` wrote as JSON.

    Raises:
        InputError: no such file, or another content.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        drift = content["drift"]
        return Report(
            overall=_summary(content["overall"]),
            elements={symbol: _summary(values) for symbol, values in content["elements"].items()},
            drift=None if drift is None else DriftSummary(**drift),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not the evaluation of a fold ({type(error).__name__}: {error}); "
            "remove it, and the fold is evaluated again"
        ) from None


def plot_cross_validation(result: CrossValidation, path: str | os.PathLike[str]) -> None:
    """MAE of diagonal and of off-diagonal components, of all atoms and of each element.

    A bar is the mean over the folds, its line the standard deviation, a dot one fold.

    Args:
        result: The errors.
        path: The picture; the suffix names the format (.png, .pdf, .svg, ...).

    Raises:
        InputError: the picture cannot be written.
    """
    spreads = result.spreads()
    with mpl.rc_context(STYLE):
        width = min(max(4.8, 1.2 + 0.27 * len(spreads)), 24.0)
        figure = Figure(figsize=(width, 4.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        _bars(upper, {row: errors["mae_diagonal"] for row, errors in spreads.items()}, COLOURS[0])
        _bars(lower, {row: errors["mae_off_diagonal"] for row, errors in spreads.items()}, COLOURS[3])
        upper.set_ylabel("Diagonal MAE (e)")
        lower.set_ylabel("Off-diagonal MAE (e)")
        upper.set_title(f"{len(result.folds)} folds: mean, standard deviation, each fold")
        save_figure(figure, path)


def _bars(axes: Axes, spreads: Mapping[str, Spread], colour: str) -> None:
    """One panel."""
    places = np.arange(len(spreads))
    means = [spread.mean for spread in spreads.values()]
    axes.bar(places, means, width=0.7, color=colour, alpha=0.45, linewidth=0)
    deviations = [spread.standard_deviation for spread in spreads.values()]
    axes.errorbar(places, means, yerr=deviations, fmt="none", ecolor="0.2", elinewidth=0.9, capsize=2)
    # Beside the line of the standard deviation, which would hide them.
    points = [(k + 0.22, value) for k, spread in enumerate(spreads.values()) for value in spread.there]
    across, height = np.transpose(points)
    axes.scatter(across, height, s=7, color=colour, linewidths=0, zorder=3)
    axes.set_xticks(places, list(spreads))
    axes.tick_params(axis="x", which="both", length=0)
    axes.set_xlim(-0.6, len(spreads) - 0.4)
    axes.axvline(0.5, color="0.7", linewidth=0.8)
    axes.set_ylim(bottom=0.0)


def _summary(values: dict[str, Any]) -> ErrorSummary:
    """Inverse of its JSON form."""
    numbers: dict[str, Any] = {name: math.nan if value is None else value for name, value in values.items()}
    return ErrorSummary(**numbers)


def _pooled(parts: Sequence[ErrorSummary]) -> ErrorSummary:
    """The summary of all atoms of several sets: means are weighted by what they are over."""

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


def _pooled_drift(parts: Sequence[DriftSummary]) -> DriftSummary | None:
    """The drift of all structures of several sets."""
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


def _spread(parts: Sequence[ErrorSummary | None], name: str) -> Spread:
    """One error over the folds."""
    return Spread(tuple(None if part is None else _finite(getattr(part, name)) for part in parts))


def _finite(value: float) -> float | None:
    """The value, or None if it is not finite, which JSON does not have."""
    return value if math.isfinite(value) else None


def _cell(spread: Spread, name: str) -> str:
    """Mean and standard deviation."""
    digits = 2 if name.startswith("rmspe") else 4
    if math.isnan(spread.mean):
        return "-"
    if math.isnan(spread.standard_deviation):
        return f"{spread.mean:.{digits}f}" + " " * (3 + digits + 2)
    return f"{spread.mean:.{digits}f} ± {spread.standard_deviation:.{digits}f}"
