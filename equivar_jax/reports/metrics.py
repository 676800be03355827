"""Errors of predicted Born effective charges, and the charge drift, for the final evaluation.

Everything is kept as sums and counts, so that a data set can be evaluated batch by batch and parts can be
merged; the result does not depend on how the data set was divided.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int

from equivar_jax.errors import InputError
from equivar_jax.training.losses import DielectricSummary
from equivar_jax.uncertainty.calibration import CoverageSummary

PERCENTAGE_FLOOR = 0.1
"""Diagonal references below this magnitude, in e, have no meaningful percentage error: they are left out."""

_HIGHEST_NUMBER = 118
# Columns of the table of sums. The first and the last are counts: of atoms, and of diagonal components with a
# percentage error. The others are sums of absolute, squared, and squared relative errors.
_ATOMS, _ABS_DIAGONAL, _SQUARE_DIAGONAL, _ABS_OFF, _SQUARE_OFF, _SQUARE_RELATIVE, _RELATIVE = range(7)


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of a set of atoms, with d = predicted - reference, in e.

    Every mean runs over the atoms and the named components with equal weights, so a structure has a weight
    proportional to its number of atoms. A mean over nothing is NaN.

    Attributes:
        atoms: number of atoms.
        mae: mean of |d| over all nine components.
        rmse: square root of the mean of d² over all nine components.
        mae_diagonal, rmse_diagonal: the same over the three diagonal components.
        mae_off_diagonal, rmse_off_diagonal: the same over the six off-diagonal components.
        rmspe_diagonal: 100 times the square root of the mean of (d / reference)² over the diagonal components
            whose reference is at least `PERCENTAGE_FLOOR` in magnitude, in per cent.
        rmspe_excluded: number of diagonal components left out of `rmspe_diagonal` by that floor.
    """

    atoms: int
    mae: float
    rmse: float
    mae_diagonal: float
    rmse_diagonal: float
    mae_off_diagonal: float
    rmse_off_diagonal: float
    rmspe_diagonal: float
    rmspe_excluded: int


@dataclass(frozen=True)
class DriftSummary:
    """Charge drift: how far tensors are from the acoustic sum rule before it is imposed, in e.

    Attributes:
        structures: number of structures.
        per_cell_mean, per_cell_max: mean and largest over structures of `charge_drift`.
        per_atom_mean, per_atom_max: the same for `charge_drift` divided by the structure's number of atoms.
    """

    structures: int
    per_cell_mean: float
    per_cell_max: float
    per_atom_mean: float
    per_atom_max: float


@dataclass(frozen=True)
class EvaluationReport:
    """All errors of an evaluation."""

    overall: ErrorSummary
    """Errors of all atoms."""
    elements: Mapping[str, ErrorSummary]
    """Errors of each element by its symbol, in the order of atomic numbers."""
    drift: DriftSummary | None
    dielectric: DielectricSummary | None = None
    """Errors of the electronic dielectric tensor; None without such a readout or without labels of it."""
    uncertainty: CoverageSummary | None = None
    """Coverage of the uncertainties; None for a model that is no calibrated committee."""

    def to_dict(self) -> dict[str, object]:
        """Return nested dictionaries of numbers ready for JSON; numbers that are not finite become None."""
        return {name: _replace_non_finite(value) for name, value in asdict(self).items()}

    def table(self) -> str:
        """Return the errors in e as aligned text, one line for all atoms and one for each element."""
        lines = [list(_HEADS), _table_row("all", self.overall)]
        lines += [_table_row(symbol, summary) for symbol, summary in self.elements.items()]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        text = ["  ".join(map(str.rjust, line, widths)) for line in lines]
        text.insert(1, "-" * len(text[0]))
        text.append(
            "Errors in e; dia, off: diagonal and off-diagonal components; left out of RMSPE: "
            f"diagonal references below {PERCENTAGE_FLOOR} e."
        )
        if self.drift is not None:
            drift = self.drift
            text.append(
                f"Charge drift before the sum rule, {drift.structures} structures (e): "
                f"per cell mean {drift.per_cell_mean:.4f}, max {drift.per_cell_max:.4f}; "
                f"per atom mean {drift.per_atom_mean:.4f}, max {drift.per_atom_max:.4f}."
            )
        if self.dielectric is not None:
            text.append(str(self.dielectric))
        if self.uncertainty is not None:
            text.append(str(self.uncertainty))
        return "\n".join(text)


class Metrics:
    """Accumulator of errors and drifts: `update` batch by batch, `merge` parts, then call `to_report`."""

    def __init__(self) -> None:
        self._sums = np.zeros((_HIGHEST_NUMBER + 1, 7))
        self._structures = 0
        self._drift_sums = np.zeros(2)  # per cell, per atom
        self._drift_maxima = np.zeros(2)

    def update(
        self,
        numbers: Int[np.ndarray, "atoms"],
        predicted: Float[np.ndarray, "atoms 3 3"],
        reference: Float[np.ndarray, "atoms 3 3"],
    ) -> None:
        """Add the errors of some atoms.

        Args:
            numbers: atomic numbers, 1 to 118, without padding.
            predicted: tensors [atom, field, displacement] in e.
            reference: the same from the data.

        Raises:
            InputError: the shapes do not fit together, or an atomic number is not 1 to 118.
        """
        predicted, reference = np.asarray(predicted, np.float64), np.asarray(reference, np.float64)
        expected = (len(numbers), 3, 3)
        if predicted.shape != expected or reference.shape != expected:
            shapes = f"{predicted.shape} and {reference.shape}"
            raise InputError(f"metrics: tensors of shapes {shapes}; for {len(numbers)} atoms give {expected}")
        if len(numbers) and (np.min(numbers) < 1 or np.max(numbers) > _HIGHEST_NUMBER):
            extent = f"{np.min(numbers)} to {np.max(numbers)}"
            raise InputError(f"metrics: atomic numbers {extent}; remove padding: elements have 1 to 118")
        for column, values in enumerate(_atomic_sums(predicted - reference, reference)):
            self._sums[:, column] += np.bincount(numbers, weights=values, minlength=_HIGHEST_NUMBER + 1)

    def update_drift(
        self, drift: Float[np.ndarray, "structures"], atoms: Int[np.ndarray, "structures"]
    ) -> None:
        """Add the charge drift of some structures.

        Args:
            drift: charge drift of each cell in e, from `charge_drift`.
            atoms: number of atoms of each structure.

        Raises:
            InputError: the shapes differ or a structure has no atoms.
        """
        drift, atoms = np.asarray(drift, np.float64), np.asarray(atoms)
        if drift.ndim != 1 or drift.shape != atoms.shape or np.any(atoms < 1):
            raise InputError("metrics: every structure needs one drift and at least one atom; remove padding")
        if len(drift) == 0:
            return
        both = np.stack([drift, drift / atoms], axis=1)
        self._structures += len(drift)
        self._drift_sums += both.sum(axis=0)
        self._drift_maxima = np.maximum(self._drift_maxima, both.max(axis=0))

    def merge(self, other: "Metrics") -> None:
        """Add everything that another accumulator has seen."""
        self._sums += other._sums
        self._structures += other._structures
        self._drift_sums += other._drift_sums
        self._drift_maxima = np.maximum(self._drift_maxima, other._drift_maxima)

    def to_report(self) -> EvaluationReport:
        """Return the errors of all atoms that were added, and the drift of all structures.

        Raises:
            InputError: no atoms were added.
        """
        if self._sums[:, _ATOMS].sum() == 0:
            raise InputError("metrics: no atoms to evaluate; give structures with Born effective charges")
        present = np.flatnonzero(self._sums[:, _ATOMS])
        drift = None
        if self._structures:
            (cell, atom), (cell_max, atom_max) = self._drift_sums / self._structures, self._drift_maxima
            drift = DriftSummary(self._structures, float(cell), float(cell_max), float(atom), float(atom_max))
        return EvaluationReport(
            overall=_summary_of(self._sums.sum(axis=0)),
            elements={chemical_symbols[number]: _summary_of(self._sums[number]) for number in present},
            drift=drift,
        )


def summarise_errors(
    numbers: Int[np.ndarray, "atoms"],
    predicted: Float[np.ndarray, "atoms 3 3"],
    reference: Float[np.ndarray, "atoms 3 3"],
    drift: Float[np.ndarray, "structures"] | None = None,
    atoms: Int[np.ndarray, "structures"] | None = None,
) -> EvaluationReport:
    """Summarise the errors of one set of arrays.

    See `Metrics.update` and `Metrics.update_drift` for the arguments.

    Raises:
        InputError: there are no atoms, the arrays do not fit together, or only one of `drift` and `atoms` is
            given.
    """
    metrics = Metrics()
    metrics.update(numbers, predicted, reference)
    if (drift is None) != (atoms is None):
        raise InputError("metrics: the charge drift needs the number of atoms of each structure; give both")
    if drift is not None and atoms is not None:
        metrics.update_drift(drift, atoms)
    return metrics.to_report()


def charge_drift(
    tensors: Float[np.ndarray, "atoms 3 3"],
    atoms: Int[np.ndarray, "structures"],
    charge: Float[np.ndarray, "structures"] | float = 0.0,
) -> Float[np.ndarray, "structures"]:
    """Compute the absolute charge drift of each cell: the mean over a, b of |sum_i Z[i, a, b] - Q delta_ab|.

    Args:
        tensors: tensors [atom, field, displacement] in e before the sum rule, structure after structure.
        atoms: number of atoms of each structure, at least 1.
        charge: net charge Q of the cells in e.

    Returns:
        One drift for each structure, in e per cell.

    Raises:
        InputError: the numbers of atoms do not add up to the number of tensors, or one is below 1.
    """
    atoms = np.asarray(atoms)
    if atoms.sum() != len(tensors) or np.any(atoms < 1):
        raise InputError(
            f"metrics: structures of {atoms.sum()} atoms in total, but {len(tensors)} tensors; remove padding"
        )
    if len(atoms) == 0:
        return np.zeros(0)
    starts = np.concatenate([[0], np.cumsum(atoms)[:-1]])
    totals = np.add.reduceat(np.asarray(tensors, np.float64), starts, axis=0)
    excess = totals - np.reshape(charge, (-1, 1, 1)) * np.eye(3)
    return np.abs(excess).mean(axis=(1, 2))


def _atomic_sums(
    difference: Float[np.ndarray, "atoms 3 3"], reference: Float[np.ndarray, "atoms 3 3"]
) -> Float[np.ndarray, "7 atoms"]:
    """Compute what each atom adds to the columns of the table of sums."""
    diagonal = np.diagonal(difference, axis1=1, axis2=2)
    off_diagonal = difference[:, ~np.eye(3, dtype=bool)]
    truth = np.diagonal(reference, axis1=1, axis2=2)
    counted = np.abs(truth) >= PERCENTAGE_FLOOR
    relative = np.where(counted, diagonal / np.where(counted, truth, 1.0), 0.0)
    ones = np.ones(len(difference))
    errors = [np.abs(diagonal), diagonal**2, np.abs(off_diagonal), off_diagonal**2, relative**2, counted]
    return np.stack([ones, *(values.sum(axis=1) for values in errors)])


def _summary_of(sums: Float[np.ndarray, "7"]) -> ErrorSummary:
    """Compute the means from one row of the table of sums."""
    column = sums.tolist()
    atoms, counted = int(column[_ATOMS]), int(column[_RELATIVE])
    return ErrorSummary(
        atoms=atoms,
        mae=(column[_ABS_DIAGONAL] + column[_ABS_OFF]) / (9 * atoms),
        rmse=math.sqrt((column[_SQUARE_DIAGONAL] + column[_SQUARE_OFF]) / (9 * atoms)),
        mae_diagonal=column[_ABS_DIAGONAL] / (3 * atoms),
        rmse_diagonal=math.sqrt(column[_SQUARE_DIAGONAL] / (3 * atoms)),
        mae_off_diagonal=column[_ABS_OFF] / (6 * atoms),
        rmse_off_diagonal=math.sqrt(column[_SQUARE_OFF] / (6 * atoms)),
        rmspe_diagonal=100.0 * math.sqrt(column[_SQUARE_RELATIVE] / counted) if counted else math.nan,
        rmspe_excluded=3 * atoms - counted,
    )


def _replace_non_finite(value: Any) -> Any:
    """Replace NaN and infinity, which JSON does not have, by None; nested dictionaries are searched, too."""
    if isinstance(value, dict):
        return {name: _replace_non_finite(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


_HEADS = ("", "atoms", "MAE", "RMSE", "MAE dia", "RMSE dia", "MAE off", "RMSE off", "RMSPE dia %", "left out")


def _table_row(name: str, summary: ErrorSummary) -> list[str]:
    """Format one row of the table, in the order of the fields of the summary."""
    atoms, *errors, percentage, excluded = astuple(summary)
    shown = "-" if math.isnan(percentage) else f"{percentage:.2f}"
    return [name, str(atoms), *(f"{error:.4f}" for error in errors), shown, str(excluded)]
