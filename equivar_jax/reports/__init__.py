"""Errors of a model as numbers, tables and pictures."""

from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.reports.fold_report import CrossValidation, plot_cross_validation
from equivar_jax.reports.metrics import ErrorSummary, Metrics, Report, charge_drift
from equivar_jax.reports.plots import plot_history, plot_parity

__all__ = [
    "CrossValidation",
    "ErrorSummary",
    "Metrics",
    "Report",
    "charge_drift",
    "evaluate_model",
    "plot_cross_validation",
    "plot_history",
    "plot_parity",
]
