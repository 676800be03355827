"""Node features: the irreps that they hold, and matrix products that mix their channels."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels import HIDDEN, Irrep, offsets

PRECISION = jax.lax.Precision.HIGHEST  # so that no GPU rounds to TF32 unasked
DRAWN_AT_ONCE = 65536
"""Random numbers that are drawn at least, so that few sizes have to be compiled."""
zeros, ones = nn.initializers.zeros, nn.initializers.ones
jax.tree_util.register_static(Irrep)  # a constant where features pass through a transformation


def unit_normal(
    key: Array, shape: Sequence[int], dtype: np.dtype | type = jnp.float32
) -> Float[Array, "*shape"]:
    """Draw unit normal variables, compiled once for all small shapes.

    With `jax_threefry_partitionable`, JAX's default, a number depends on the key and its place alone, so that
    these are the numbers of `jax.random.normal`.
    """
    size = math.prod(shape)
    drawn = jax.random.normal(key, (max(size, DRAWN_AT_ONCE),), dtype)
    if isinstance(drawn, jax.core.Tracer):
        return drawn[:size].reshape(shape)
    # Cut in NumPy: JAX would compile the cut for each shape after all.
    return jnp.asarray(np.asarray(drawn)[:size].reshape(shape))


class Features(NamedTuple):
    """Node features: those irreps that are not identically zero, and their components in the same order."""

    irreps: tuple[Irrep, ...]
    array: Float[Array, "nodes components channels"]

    def parts(self) -> dict[Irrep, Float[Array, "nodes _dim channels"]]:
        """Split the components by irrep; the derivative is a concatenation, which compiles fast."""
        parts = jnp.split(self.array, offsets(self.irreps)[1:-1], axis=1)
        return dict(zip(self.irreps, parts, strict=True))

    def select(self, irreps: tuple[Irrep, ...]) -> Float[Array, "nodes _components channels"]:
        """Return the components of these irreps one after the other, zeros for those that are not there."""
        if irreps == self.irreps:
            return self.array
        parts, (nodes, _, channels) = self.parts(), self.array.shape
        missing = {ir: jnp.zeros((nodes, ir.dim, channels), self.array.dtype) for ir in irreps}
        return jnp.concatenate([(missing | parts)[ir] for ir in irreps], axis=1)

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
    mixed = [matmul(part, weights[HIDDEN.index(ir)]) for ir, part in features.parts().items()]
    return Features(features.irreps, jnp.concatenate(mixed, axis=1) / weights.shape[-1] ** 0.5)
