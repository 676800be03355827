"""Node features: which irreps they hold, and matrix products of them."""

from typing import NamedTuple

import e3nn_jax as e3nn
import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equivar_jax.kernels import HIDDEN, offsets

PRECISION = jax.lax.Precision.HIGHEST  # no TF32 behind the user's back
unit_normal = nn.initializers.normal(1.0)
zeros = nn.initializers.zeros


class Features(NamedTuple):
    """Node features: the irreps that are not identically zero, and their components in that order."""

    irreps: tuple[e3nn.Irrep, ...]
    array: Float[Array, "nodes components channels"]

    def part(self, irrep: e3nn.Irrep) -> Float[Array, "nodes dim channels"]:
        """The components of one irrep."""
        start = offsets(self.irreps)[self.irreps.index(irrep)]
        return self.array[:, start : start + irrep.dim]


def matmul(left: Array, right: Array) -> Array:
    """`left @ right` in the precision of `left`."""
    return jnp.matmul(left, right.astype(left.dtype), precision=PRECISION)


def mix_channels(features: Features, weights: Float[Array, "hidden channels channels"]) -> Features:
    """Each irrep's channels times a matrix of its own, in the order of `HIDDEN`; unit variance stays."""
    mixed = [matmul(features.part(ir), weights[HIDDEN.index(ir)]) for ir in features.irreps]
    return Features(features.irreps, jnp.concatenate(mixed, axis=1) / weights.shape[-1] ** 0.5)
