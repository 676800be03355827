"""Any number of structures, window by window in bounded memory, resumable."""

from equivar_jax.prediction.sweep.inputs import input_files
from equivar_jax.prediction.sweep.run import sweep

__all__ = [
    "input_files",
    "sweep",
]
