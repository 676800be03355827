"""Evaluation of a loaded model on labelled structures: all errors and the parity plot in one call."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.prediction.dielectric import dielectric_tensors
from equivar_jax.prediction.members import residuals_of
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.metrics import EvaluationReport, Metrics, charge_drift
from equivar_jax.reports.plots import plot_parity
from equivar_jax.structures import labels_of, usable_epsilon_inf
from equivar_jax.training.losses import DielectricSummary, dielectric_errors
from equivar_jax.uncertainty.calibration import summarise_coverage


def evaluate_model(
    predictor: Predictor,
    structures: Sequence[Atoms],
    *,
    allow_unseen: bool = False,
    parity_plot: Path | None = None,
    title: str = "",
    progress: bool = False,
) -> EvaluationReport:
    """Compute the errors of a model on labelled structures.

    Errors are those of the tensors after the sum rule; the charge drift is that of the tensors before it.

    Args:
        predictor: The model.
        structures: Structures that carry Born effective charges, [atom, field, displacement] in e.
        allow_unseen: Only warn about elements that did not occur in the training data.
        parity_plot: File for a plot of predicted against reference components, if one is wanted.
        title: Title of the plot.
        progress: Show a progress bar.

    Returns:
        Errors over all atoms and for each element, with the charge drift; with the errors of the electronic
        dielectric tensor, if the network predicts it and structures have labels of it; and with the coverage
        of the uncertainties, if the model is a calibrated committee.

    Raises:
        InputError: there are no structures, one has no label, or the model cannot take one.
    """
    if not structures:
        raise InputError("no structures to evaluate; give some with Born effective charges")
    labels = [labels_of(atoms) for atoms in structures]
    found = predictor.predictions(structures, allow_unseen=allow_unseen, progress=progress)
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    predicted = np.concatenate([prediction.tensors for prediction in found])
    reference = np.concatenate(labels)
    sizes = np.array([len(atoms) for atoms in structures])
    charges = np.array([float(atoms.info.get("charge", 0.0)) for atoms in structures])
    metrics = Metrics()
    metrics.update(numbers, predicted, reference)
    metrics.update_drift(charge_drift(np.concatenate([p.raw for p in found]), sizes, charges), sizes)
    if parity_plot is not None:
        plot_parity(numbers, predicted, reference, parity_plot, title)
    calibration = predictor.metadata.calibration
    return dataclasses.replace(
        metrics.to_report(),
        dielectric=_summarise_dielectric(predictor, structures),
        uncertainty=None
        if calibration is None
        else summarise_coverage(
            residuals_of(found, labels, [atoms.numbers for atoms in structures]), calibration
        ),
    )


def _summarise_dielectric(predictor: Predictor, structures: Sequence[Atoms]) -> DielectricSummary | None:
    """Summarise the errors of the electronic dielectric tensor; None without that readout or its labels."""
    if not predictor.network.config.dielectric:
        return None
    labels = [usable_epsilon_inf(atoms) for atoms in structures]
    chosen = [k for k, label in enumerate(labels) if label is not None]
    if not chosen:
        return None
    predicted = dielectric_tensors(predictor, [structures[k] for k in chosen])
    reference = np.array([labels[k] for k in chosen])
    return dielectric_errors(predicted, reference, np.ones(len(chosen), bool)).summarise()
