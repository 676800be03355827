"""Prediction with trained weights: `load`, `predict`, `Predictor`, committees, and sweeps over many files."""

from typing import TYPE_CHECKING

from equivar_jax.lazy import import_lazily

if TYPE_CHECKING:
    from equivar_jax.prediction.committee import Committee, calibrate_committee, join_members
    from equivar_jax.prediction.dielectric import dielectric_tensors, electronic_dielectric_tensor
    from equivar_jax.prediction.loading import load, predict
    from equivar_jax.prediction.members import Prediction
    from equivar_jax.prediction.polarisation import CellDipole
    from equivar_jax.prediction.predictor import Predictor
    from equivar_jax.prediction.remarks import IsolatedAtomWarning, UnseenElementWarning
    from equivar_jax.prediction.selection import Candidate, Choice, choose_structures, describe_candidates

__all__ = [
    "Candidate",
    "CellDipole",
    "Choice",
    "Committee",
    "IsolatedAtomWarning",
    "Prediction",
    "Predictor",
    "UnseenElementWarning",
    "calibrate_committee",
    "choose_structures",
    "describe_candidates",
    "dielectric_tensors",
    "electronic_dielectric_tensor",
    "join_members",
    "load",
    "predict",
]

__getattr__, __dir__ = import_lazily(
    __name__,
    {
        "Candidate": "selection",
        "CellDipole": "polarisation",
        "Choice": "selection",
        "Committee": "committee",
        "IsolatedAtomWarning": "remarks",
        "Prediction": "members",
        "Predictor": "predictor",
        "UnseenElementWarning": "remarks",
        "calibrate_committee": "committee",
        "choose_structures": "selection",
        "describe_candidates": "selection",
        "dielectric_tensors": "dielectric",
        "electronic_dielectric_tensor": "dielectric",
        "join_members": "committee",
        "load": "loading",
        "predict": "loading",
    },
)
