"""Errors of a model as numbers, tables and pictures."""

from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.reports.fold_report import CrossValidation, plot_cross_validation
from equivar_jax.reports.metrics import ErrorSummary, EvaluationReport, Metrics, charge_drift
from equivar_jax.reports.plots import plot_history, plot_parity

__all__ = [
    "CrossValidation",
    "ErrorSummary",
    "EvaluationReport",
    "Metrics",
    "charge_drift",
    "evaluate_model",
    "plot_cross_validation",
    "plot_history",
    "plot_parity",
]
