"""Errors of a loaded model on labelled structures: sums, tables and the parity plot in one call."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.prediction.dielectric import dielectric_tensors
from equivar_jax.prediction.members import residuals_of
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.metrics import Metrics, Report, charge_drift
from equivar_jax.reports.plots import plot_parity
from equivar_jax.structures import epsilon_inf, labels_of
from equivar_jax.training.losses import DielectricSummary, dielectric_errors
from equivar_jax.uncertainty.calibration import covered


def evaluate_model(
    predictor: Predictor,
    structures: Sequence[Atoms],
    *,
    allow_unseen: bool = False,
    parity_plot: Path | None = None,
    title: str = "",
    progress: bool = False,
) -> Report:
    """Errors of a model on labelled structures, after the sum rule; the charge drift is that before it.

    Args:
        predictor: The model.
        structures: Each with Born effective charges, [atom, field, displacement] in e.
        allow_unseen: Only warn about elements that the training data did not have.
        parity_plot: Where to draw predicted against reference components, if anywhere.
        title: Of the plot.
        progress: Show a bar.

    Raises:
        InputError: no structures, one without a label, or one that the model cannot take.
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
        metrics.report(),
        dielectric=_dielectric_summary(predictor, structures),
        uncertainty=None if calibration is None else covered(residuals_of(found, labels), calibration),
    )


def _dielectric_summary(predictor: Predictor, structures: Sequence[Atoms]) -> DielectricSummary | None:
    """Errors of the electronic dielectric tensor, if the network has that readout and there are labels."""
    if not predictor.model.config.dielectric:
        return None
    labels = [_epsilon_if_usable(atoms) for atoms in structures]
    chosen = [k for k, label in enumerate(labels) if label is not None]
    if not chosen:
        return None
    predicted = dielectric_tensors(predictor, [structures[k] for k in chosen])
    reference = np.array([labels[k] for k in chosen])
    return dielectric_errors(predicted, reference, np.ones(len(chosen), bool)).summary()


def _epsilon_if_usable(atoms: Atoms) -> Float[np.ndarray, "3 3"] | None:
    """The label, or None if there is none or a broken one, as in training."""
    try:
        return epsilon_inf(atoms)
    except InputError:
        return None
