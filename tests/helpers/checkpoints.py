"""Checkpoints of predictors that were made in memory."""

from pathlib import Path

from equivar_jax.prediction import Predictor
from equivar_jax.weights.checkpoint import CheckpointWriter


def saved(predictor: Predictor, folder: Path) -> str:
    """Write the checkpoint of a predictor and return its folder."""
    writer = CheckpointWriter(folder, "best")
    writer.save({"params": predictor.weights}, predictor.metadata)
    writer.close()
    return str(folder)
