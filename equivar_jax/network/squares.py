"""Products of a node's features with themselves, channel by channel.

The Clebsch-Gordan algebra is worked out ahead of time.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from equivar_jax.kernels import HIDDEN, Irrep
from equivar_jax.network.features import matmul
from equivar_jax.network.plan import SquarePlan


def bound_features(
    features: Float[Array, "nodes components channels"],
) -> Float[Array, "nodes components channels"]:
    """Replace the features x of each node by `x / (1 + mean x²)^(1/4)`.

    Products of the result then grow no faster than x itself: in structures unlike the average a message may
    be large, and its square must not be larger still.
    """
    size = jnp.mean(features**2, axis=(1, 2), keepdims=True)
    return features / jnp.sqrt(1.0 + size) ** 0.5


def multiply_with_itself(
    features: Float[Array, "nodes components channels"],
    plan: SquarePlan,
    weights: Float[Array, "paths channels"],
) -> dict[Irrep, Float[Array, "nodes _dim channels"]]:
    """Compute all products of a plan, and sum them with weights over the paths to each irrep.

    Args:
        features: Node features, irreps in the order of the inputs of the plan.
        plan: The plan, made by `square_plan`.
        weights: A weight of each path and channel.

    Returns:
        The sums by irrep, in the order of `HIDDEN`.
    """
    of_channel = jnp.swapaxes(features, 1, 2)
    pairs = of_channel[:, :, :, None] * of_channel[:, :, None, :]
    products = matmul(
        pairs.reshape(*of_channel.shape[:2], -1), jnp.asarray(plan.coefficients, features.dtype)
    )
    products = products * jnp.repeat(weights.astype(features.dtype).T, plan.dims, axis=1)
    sums, column = {}, 0
    for out in (ir for ir in HIDDEN if ir in plan.outputs):
        paths = plan.outputs.count(out)
        terms = products[:, :, column : column + paths * out.dim]
        column += paths * out.dim
        terms = terms.reshape(*terms.shape[:2], paths, out.dim).sum(axis=2)
        sums[out] = jnp.swapaxes(terms, 1, 2)
    return sums
