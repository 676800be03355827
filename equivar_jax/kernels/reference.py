"""The neighbour sum as it is written down: one einsum a path. Slow, clear, differentiable in any mode."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from equivar_jax.kernels.paths import ProductPlan

DEGREE_SLICES = (slice(0, 1), slice(1, 4), slice(4, 9))


def neighbour_sum(
    features: Float[Array, "nodes components channels"],
    radial: Float[Array, "nodes neighbours 3 channels"],
    harmonics: Float[Array, "nodes 9 neighbours"],
    senders: Int[Array, "nodes neighbours"],
    plan: ProductPlan,
) -> Float[Array, "nodes products channels"]:
    """See `equivar_jax.kernels.neighbour_sum`."""
    gathered = features[senders]
    sums = [
        jnp.einsum(
            "nkmc,nsk,nkc,msp->npc",
            gathered[:, :, product.node],
            harmonics[:, DEGREE_SLICES[product.degree]],
            radial[:, :, product.degree],
            product.coefficients().astype(features.dtype),
            precision="highest",
        )
        for product in plan.products
    ]
    return jnp.concatenate(sums, axis=1)
