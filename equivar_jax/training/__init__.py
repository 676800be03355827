"""A run: loss, compiled steps, epochs, checkpoints, the folder that explains itself."""

from equivar_jax.training.loop import run_training
from equivar_jax.training.losses import (
    DielectricErrors,
    ErrorSums,
    Loss,
    Output,
    absolute_errors,
    dielectric_errors,
    l1_loss,
)
from equivar_jax.training.optimizers import make_optimizer
from equivar_jax.training.plan import Plan
from equivar_jax.training.run import Run, last_checkpoint, start_run
from equivar_jax.training.steps import Steps, TrainState, make_steps

__all__ = [
    "DielectricErrors",
    "ErrorSums",
    "Loss",
    "Output",
    "Plan",
    "Run",
    "Steps",
    "TrainState",
    "absolute_errors",
    "dielectric_errors",
    "l1_loss",
    "last_checkpoint",
    "make_optimizer",
    "make_steps",
    "run_training",
    "start_run",
]
