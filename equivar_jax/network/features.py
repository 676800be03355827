"""Node features: the irreps that they hold, and matrix products that mix their channels."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equivar_jax.kernels import HIDDEN, Irrep, offsets

PRECISION = jax.lax.Precision.HIGHEST  # so that no GPU rounds to TF32 unasked
unit_normal = nn.initializers.normal(1.0)
zeros = nn.initializers.zeros


class Features(NamedTuple):
    """Node features: those irreps that are not identically zero, and their components in the same order."""

    irreps: tuple[Irrep, ...]
    array: Float[Array, "nodes components channels"]

    def part(self, irrep: Irrep) -> Float[Array, "nodes dim channels"]:
        """Return the components of one irrep."""
        start = offsets(self.irreps)[self.irreps.index(irrep)]
        return self.array[:, start : start + irrep.dim]


def matmul(left: Array, right: Array) -> Array:
    """Return `left @ right` in the precision of `left`."""
    return jnp.matmul(left, right.astype(left.dtype), precision=PRECISION)


def mix_channels(features: Features, weights: Float[Array, "hidden channels channels"]) -> Features:
    """Multiply the channels of each irrep by a matrix of its own, so scaled that unit variance is kept.

    Args:
        features: Node features.
        weights: The matrices, in the order of `HIDDEN`.
    """
    mixed = [matmul(features.part(ir), weights[HIDDEN.index(ir)]) for ir in features.irreps]
    return Features(features.irreps, jnp.concatenate(mixed, axis=1) / weights.shape[-1] ** 0.5)
