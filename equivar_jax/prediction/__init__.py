"""Prediction with trained weights: `load`, `predict`, `Predictor`, committees, and sweeps over many files."""

from equivar_jax.prediction.committee import Committee, calibrate_committee, join_members
from equivar_jax.prediction.dielectric import dielectric_tensors, electronic_dielectric_tensor
from equivar_jax.prediction.loading import load, predict
from equivar_jax.prediction.members import Prediction
from equivar_jax.prediction.predictor import IsolatedAtomWarning, Predictor, UnseenElementWarning

__all__ = [
    "Committee",
    "IsolatedAtomWarning",
    "Prediction",
    "Predictor",
    "UnseenElementWarning",
    "calibrate_committee",
    "dielectric_tensors",
    "electronic_dielectric_tensor",
    "join_members",
    "load",
    "predict",
]
