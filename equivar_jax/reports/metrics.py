"""Errors of predicted Born effective charges and the charge drift, for the final evaluation.

Everything is kept as sums and counts: a data set is evaluated batch by batch, parts are merged, and the
result does not depend on the division.
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
"""Diagonal references below this magnitude, in e, have no meaningful percentage error and are left out."""

_HIGHEST_NUMBER = 118
# The columns of the sums: counts of atoms and of diagonals with a percentage error, the rest sums over them.
_ATOMS, _ABS_DIAGONAL, _SQUARE_DIAGONAL, _ABS_OFF, _SQUARE_OFF, _SQUARE_RELATIVE, _RELATIVE = range(7)


@dataclass(frozen=True)
class ErrorSummary:
    """Errors of a set of atoms, with d = predicted - reference, in e.

    Every mean runs over atoms and the named components with equal weight (a structure weighs as many times as
    it has atoms). A number that is a mean over nothing is NaN.

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
    """Charge drift: how far raw tensors are from the acoustic sum rule, before it is enforced, in e.

    Attributes:
        structures: number of structures.
        per_cell_mean, per_cell_max: mean and largest over structures of `charge_drift`.
        per_atom_mean, per_atom_max: the same of `charge_drift` divided by the structure's number of atoms.
    """

    structures: int
    per_cell_mean: float
    per_cell_max: float
    per_atom_mean: float
    per_atom_max: float


@dataclass(frozen=True)
class Report:
    """The final numbers: all atoms, each element (by atomic number), and what else was compared."""

    overall: ErrorSummary
    elements: Mapping[str, ErrorSummary]
    drift: DriftSummary | None
    dielectric: DielectricSummary | None = None
    """Of a network with that readout, where structures have such a label."""
    uncertainty: CoverageSummary | None = None
    """Of a calibrated committee."""

    def to_dict(self) -> dict[str, object]:
        """Nested dictionaries of numbers, ready for JSON; numbers that are not finite become None."""
        return {name: _json_ready(value) for name, value in asdict(self).items()}

    def table(self) -> str:
        """The numbers as aligned text, errors in e, one line for all atoms and one for each element."""
        lines = [list(_HEADS), _cells("all", self.overall)]
        lines += [_cells(symbol, summary) for symbol, summary in self.elements.items()]
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
    """An accumulator of errors and drifts: `update` batch by batch, `merge` parts, then `report`."""

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
        """Add atoms.

        Args:
            numbers: atomic numbers, 1 to 118, without padding.
            predicted: tensors [atom, field, displacement] in e.
            reference: the same from the data.

        Raises:
            InputError: the shapes do not belong together, or a number names no element.
        """
        predicted, reference = np.asarray(predicted, np.float64), np.asarray(reference, np.float64)
        expected = (len(numbers), 3, 3)
        if predicted.shape != expected or reference.shape != expected:
            shapes = f"{predicted.shape} and {reference.shape}"
            raise InputError(f"metrics: tensors of shape {shapes}; for these atomic numbers give {expected}")
        if len(numbers) and (np.min(numbers) < 1 or np.max(numbers) > _HIGHEST_NUMBER):
            extent = f"{np.min(numbers)} to {np.max(numbers)}"
            raise InputError(f"metrics: atomic numbers {extent}; remove padding, elements are 1 to 118")
        for column, values in enumerate(_atomic_sums(predicted - reference, reference)):
            self._sums[:, column] += np.bincount(numbers, weights=values, minlength=_HIGHEST_NUMBER + 1)

    def update_drift(
        self, drift: Float[np.ndarray, "structures"], atoms: Int[np.ndarray, "structures"]
    ) -> None:
        """Add structures.

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

    def report(self) -> Report:
        """The numbers of all that was added.

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
        return Report(
            overall=_summary(self._sums.sum(axis=0)),
            elements={chemical_symbols[number]: _summary(self._sums[number]) for number in present},
            drift=drift,
        )


def evaluate(
    numbers: Int[np.ndarray, "atoms"],
    predicted: Float[np.ndarray, "atoms 3 3"],
    reference: Float[np.ndarray, "atoms 3 3"],
    drift: Float[np.ndarray, "structures"] | None = None,
    atoms: Int[np.ndarray, "structures"] | None = None,
) -> Report:
    """The report of one set of arrays; see `Metrics.update` and `Metrics.update_drift` for the arguments.

    Raises:
        InputError: no atoms, or arrays that do not belong together.
    """
    metrics = Metrics()
    metrics.update(numbers, predicted, reference)
    if (drift is None) != (atoms is None):
        raise InputError("metrics: the charge drift needs the number of atoms of each structure; give both")
    if drift is not None and atoms is not None:
        metrics.update_drift(drift, atoms)
    return metrics.report()


def charge_drift(
    tensors: Float[np.ndarray, "atoms 3 3"],
    atoms: Int[np.ndarray, "structures"],
    charge: Float[np.ndarray, "structures"] | float = 0.0,
) -> Float[np.ndarray, "structures"]:
    """Absolute charge drift of each cell: the mean over a, b of |sum_i Z[i, a, b] - Q delta_ab|.

    Args:
        tensors: raw tensors [atom, field, displacement] in e, before the sum rule, structure after structure.
        atoms: number of atoms of each structure, at least 1.
        charge: net charge Q of the cells in e.

    Returns:
        One drift a structure, in e per cell.

    Raises:
        InputError: the numbers of atoms do not add up to the tensors.
    """
    atoms = np.asarray(atoms)
    if atoms.sum() != len(tensors) or np.any(atoms < 1):
        raise InputError(
            f"metrics: structures of {atoms.sum()} atoms in all, but {len(tensors)} tensors; remove padding"
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
    """What each atom adds to the columns of the sums."""
    diagonal = np.diagonal(difference, axis1=1, axis2=2)
    off_diagonal = difference[:, ~np.eye(3, dtype=bool)]
    truth = np.diagonal(reference, axis1=1, axis2=2)
    counted = np.abs(truth) >= PERCENTAGE_FLOOR
    relative = np.where(counted, diagonal / np.where(counted, truth, 1.0), 0.0)
    ones = np.ones(len(difference))
    errors = [np.abs(diagonal), diagonal**2, np.abs(off_diagonal), off_diagonal**2, relative**2, counted]
    return np.stack([ones, *(values.sum(axis=1) for values in errors)])


def _summary(sums: Float[np.ndarray, "7"]) -> ErrorSummary:
    """Means from sums."""
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


def _json_ready(value: Any) -> Any:
    """A number or nested dictionary with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _json_ready(inner) for name, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


_HEADS = ("", "atoms", "MAE", "RMSE", "MAE dia", "RMSE dia", "MAE off", "RMSE off", "RMSPE dia %", "left out")


def _cells(name: str, summary: ErrorSummary) -> list[str]:
    """One line of the table, in the order of the fields of the summary."""
    atoms, *errors, percentage, excluded = astuple(summary)
    shown = "-" if math.isnan(percentage) else f"{percentage:.2f}"
    return [name, str(atoms), *(f"{error:.4f}" for error in errors), shown, str(excluded)]
