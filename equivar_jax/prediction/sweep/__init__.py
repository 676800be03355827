"""Prediction for any number of structures: window by window in bounded memory, and resumable."""

from equivar_jax.prediction.sweep.inputs import find_input_files
from equivar_jax.prediction.sweep.joining import join_shards
from equivar_jax.prediction.sweep.run import sweep
from equivar_jax.prediction.sweep.shards import Shard, parse_shard

__all__ = [
    "Shard",
    "find_input_files",
    "join_shards",
    "parse_shard",
    "sweep",
]
