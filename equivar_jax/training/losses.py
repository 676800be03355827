"""Losses and errors: sums and counts over real atoms and labelled structures, never means over padding."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float

from equivar_jax.config.schema import TrainConfig
from equivar_jax.graphs.batch import Batch


class Output(NamedTuple):
    """Output of a network for a batch, before the sum rule."""

    tensors: Float[Array, "nodes 3 3"]
    """Born effective charges in e, [atom, field, displacement]; anything where there is no atom."""
    dielectric: Float[Array, "graphs 3 3"] | None
    """Electronic dielectric tensors, if the network has that readout."""


@struct.dataclass
class ErrorSums:
    """Sums over tensor components of real atoms; `absolute / count` is a mean absolute error in e.

    Of one network, or of each of several that are trained side by side.
    """

    absolute: Float[Array, "*members"]
    count: Float[Array, "*members"]

    @classmethod
    def zero(cls) -> "ErrorSums":
        """Return sums over nothing."""
        return cls(jnp.zeros(()), jnp.zeros(()))

    def __add__(self, other: "ErrorSums") -> "ErrorSums":
        return ErrorSums(self.absolute + other.absolute, self.count + other.count)

    def ratio(self) -> Float[Array, "*members"]:
        """Return the mean absolute error in e, left on the device: the loss."""
        return self.absolute / self.count

    def mean(self) -> float:
        """Return the mean absolute error in e of a single network; waits for the device."""
        return float(self.absolute) / float(self.count)


Loss = Callable[[Output, Batch, TrainConfig], tuple[Float[Array, ""], ErrorSums]]
"""Function from output, batch and settings to the number to make small and the errors to report."""


def absolute_errors(predicted: Float[Array, "nodes 3 3"], batch: Batch) -> ErrorSums:
    """Sum |predicted - label| over the nine components of real atoms, and count these."""
    errors = jnp.where(batch.node_mask[:, None, None], jnp.abs(predicted - batch.tensors), 0.0)
    return ErrorSums(errors.sum(), 9.0 * batch.node_mask.sum())


def l1_loss(output: Output, batch: Batch, config: TrainConfig) -> tuple[Float[Array, ""], ErrorSums]:
    """Compute the published loss: the mean |predicted - label| over the nine components of real atoms, in e.

    It is taken before the sum rule, which is applied to what is validated and predicted. With the second
    readout, `dielectric_weight` times the relative error of the dielectric tensors is added.

    Args:
        output: Of the network.
        batch: With its labels and masks.
        config: `dielectric_weight`.

    Returns:
        The loss, differentiable in `output`, and the sums of the errors of the Born effective charges.
    """
    errors = absolute_errors(output.tensors, batch)
    loss = errors.ratio()
    if output.dielectric is None:
        return loss, errors
    second = dielectric_errors(output.dielectric, batch.dielectric, batch.dielectric_mask)
    return loss + config.dielectric_weight * second.loss, errors


@dataclass(frozen=True)
class DielectricSummary:
    """Errors of a set of structures, with d = predicted - reference, dimensionless.

    A structure counts once, whatever its number of atoms. The isotropic part is a third of the trace.

    Attributes:
        structures: number of structures with a reference.
        mae_diagonal, rmse_diagonal: mean of |d|, root of the mean of d², over the three diagonal components.
        mae_isotropic, rmse_isotropic: the same of the isotropic part.
        mape_isotropic: 100 times the mean of |d| over the reference, of the isotropic part, in per cent.
    """

    structures: int
    mae_diagonal: float
    rmse_diagonal: float
    mae_isotropic: float
    rmse_isotropic: float
    mape_isotropic: float

    def __str__(self) -> str:
        """Describe the errors in one line."""
        return (
            f"Electronic dielectric tensor, {self.structures} structures: diagonal MAE "
            f"{self.mae_diagonal:.3f}, RMSE {self.rmse_diagonal:.3f}; trace/3 MAE {self.mae_isotropic:.3f}, "
            f"RMSE {self.rmse_isotropic:.3f}, relative {self.mape_isotropic:.1f} %."
        )


@struct.dataclass
class DielectricErrors:
    """Sums over structures; `DielectricSummary` has the means."""

    structures: Float[Array, ""]
    absolute_diagonal: Float[Array, ""]
    square_diagonal: Float[Array, ""]
    absolute_isotropic: Float[Array, ""]
    square_isotropic: Float[Array, ""]
    relative_isotropic: Float[Array, ""]
    relative: Float[Array, ""]
    """Sum of `sum_ab |d_ab| / trace(reference)`, which training makes small."""

    @classmethod
    def zero(cls) -> "DielectricErrors":
        """Return sums over nothing."""
        return cls(*(jnp.zeros(()) for _ in range(7)))

    def __add__(self, other: "DielectricErrors") -> "DielectricErrors":
        mine, others = vars(self), vars(other)
        return DielectricErrors(**{name: mine[name] + others[name] for name in mine})

    @property
    def loss(self) -> Float[Array, ""]:
        """Mean of `relative`; zero where no structure has a label."""
        return self.relative / jnp.maximum(self.structures, 1.0)

    def summarise(self) -> DielectricSummary:
        """Return the means, NaN where no structure has a label; waits for the device."""
        count = float(self.structures)

        def mean(total: Float[Array, ""]) -> float:
            return float(total) / count if count else math.nan

        return DielectricSummary(
            structures=int(count),
            mae_diagonal=mean(self.absolute_diagonal),
            rmse_diagonal=math.sqrt(mean(self.square_diagonal)),
            mae_isotropic=mean(self.absolute_isotropic),
            rmse_isotropic=math.sqrt(mean(self.square_isotropic)),
            mape_isotropic=100.0 * mean(self.relative_isotropic),
        )


def dielectric_errors(
    predicted: Float[Array | np.ndarray, "graphs 3 3"],
    reference: Float[Array | np.ndarray, "graphs 3 3"],
    labelled: Bool[Array | np.ndarray, " graphs"],
) -> DielectricErrors:
    """Sum the errors of electronic dielectric tensors over graphs that have a label.

    Args:
        predicted: Electronic dielectric tensors.
        reference: The same from the data; anything finite where there is no label.
        labelled: False for graphs without a label, padding among them.
    """
    # Before anything is computed: a gradient through a graph without label is exactly zero.
    difference = jnp.where(labelled[:, None, None], predicted - reference, 0.0)
    trace = jnp.where(labelled, jnp.trace(reference, axis1=1, axis2=2), 1.0)
    diagonal = jnp.diagonal(difference, axis1=1, axis2=2)
    isotropic = diagonal.mean(axis=1)
    return DielectricErrors(
        structures=jnp.sum(labelled, dtype=difference.dtype),
        absolute_diagonal=jnp.abs(diagonal).mean(axis=1).sum(),
        square_diagonal=(diagonal**2).mean(axis=1).sum(),
        absolute_isotropic=jnp.abs(isotropic).sum(),
        square_isotropic=(isotropic**2).sum(),
        relative_isotropic=(jnp.abs(isotropic) / (trace / 3.0)).sum(),
        relative=(jnp.abs(difference).sum(axis=(1, 2)) / trace).sum(),
    )
