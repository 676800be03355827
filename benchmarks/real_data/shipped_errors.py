"""Errors of the shipped weights on a test part: of charges and dielectric tensors, and of their sigma."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.prediction.committee import compare_dielectric, keep_known_elements
from equivar_jax.prediction.members import residuals_of
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.metrics import EvaluationReport, Metrics
from equivar_jax.structures import labels_of
from equivar_jax.uncertainty.calibration import CoverageSummary, summarise_coverage
from equivar_jax.uncertainty.domain import without_domain_warnings


class TraceErrors(NamedTuple):
    """Errors of the trace of the electronic dielectric tensor, relative to the reference, in per cent."""

    structures: int
    median: float
    mean: float
    coverage: CoverageSummary | None
    """Of all components of the tensor."""


class Judged(NamedTuple):
    """The errors of a committee on one part."""

    structures: list[Atoms]
    """Those that count."""
    left_out: int
    """Number of structures with elements that were never trained on."""
    predicted: list[Float[np.ndarray, "_atoms 3 3"]]
    labels: list[Float[np.ndarray, "_atoms 3 3"]]
    charges: EvaluationReport
    """Of the mean of the members, in e."""
    median: float
    """Over crystals, of the MAE of each, in e."""
    alone: list[float]
    """MAE of each member, in e."""
    coverage: CoverageSummary | None
    """Of sigma of the charges."""
    dielectric: TraceErrors | None
    """None if the part has no labels of it."""

    def __str__(self) -> str:
        alone = ", ".join(f"{mae:.4f}" for mae in self.alone)
        text = f"{len(self.structures)} crystals, MAE {self.charges.overall.mae:.4f} e (members {alone})"
        text += f", median of crystals {self.median:.4f} e"
        if self.dielectric is not None:
            text += f"; trace of eps_inf off by {self.dielectric.median:.1f} % in the median, "
            text += f"{self.dielectric.mean:.1f} % in the mean"
        return text


def judge(predictor: Predictor, structures: Sequence[Atoms]) -> Judged:
    """Compute the errors of a calibrated committee on labelled structures.

    Args:
        predictor: The committee.
        structures: Of compositions that were never trained on; those with elements that were not are left
            out.
    """
    usable = keep_known_elements(structures, predictor.metadata.elements)
    labels = [labels_of(atoms) for atoms in usable]
    with without_domain_warnings():
        found = predictor.predictions(usable)
        of_members = [predictor.member(k).predict(usable) for k in range(predictor.members)]
    predicted = [prediction.tensors for prediction in found]
    metrics = Metrics()
    for atoms, tensors, label in zip(usable, predicted, labels, strict=True):
        metrics.update(atoms.numbers, tensors, label)
    residuals = residuals_of(found, labels, [atoms.numbers for atoms in usable])
    of_crystals = [float(np.abs(one - label).mean()) for one, label in zip(predicted, labels, strict=True)]
    return Judged(
        structures=usable,
        left_out=len(structures) - len(usable),
        predicted=predicted,
        labels=labels,
        charges=metrics.to_report(),
        median=float(np.median(of_crystals)),
        alone=[mean_absolute_error(tensors, labels) for tensors in of_members],
        coverage=summarise_coverage(residuals, predictor.calibration),
        dielectric=judge_dielectric(predictor, usable),
    )


def judge_dielectric(predictor: Predictor, structures: Sequence[Atoms]) -> TraceErrors | None:
    """Compute the errors of the dielectric tensors; None without labels of them."""
    residuals = compare_dielectric(predictor, structures)
    if residuals is None:
        return None
    reference = np.trace(residuals.tensors - residuals.errors, axis1=1, axis2=2)
    per_cent = 100 * np.abs(np.trace(residuals.errors, axis1=1, axis2=2)) / reference
    covered = summarise_coverage(residuals, predictor.dielectric_calibration)
    return TraceErrors(len(per_cent), float(np.median(per_cent)), float(per_cent.mean()), covered)


def mean_absolute_error(
    predicted: Sequence[Float[np.ndarray, "_atoms 3 3"]], labels: Sequence[Float[np.ndarray, "_atoms 3 3"]]
) -> float:
    """Compute the mean of |predicted - label| over all components and atoms, in e."""
    return float(np.abs(np.concatenate(predicted) - np.concatenate(labels)).mean())
