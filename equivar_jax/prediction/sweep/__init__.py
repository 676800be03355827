"""Prediction for any number of structures: window by window in bounded memory, and resumable."""

from equivar_jax.prediction.sweep.inputs import find_input_files
from equivar_jax.prediction.sweep.run import sweep

__all__ = [
    "find_input_files",
    "sweep",
]
