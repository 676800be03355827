"""The neighbour sum by its formula, one einsum for each path: slow, clear, differentiable in any mode."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from equivar_jax.kernels.neighbours import Neighbours, require_slots, to_slots
from equivar_jax.kernels.paths import ProductPlan

DEGREE_SLICES = (slice(0, 1), slice(1, 4), slice(4, 9))
"""Components of the harmonics of each degree l = 0, 1, 2."""


def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
) -> Float[Array, "nodes products channels"]:
    """Compute the neighbour sum; see `equivar_jax.kernels.neighbour_sum`."""
    require_slots(neighbours)
    gathered = features[to_slots(neighbours.senders, neighbours.slots)]
    radial, harmonics = (to_slots(array, neighbours.slots) for array in (radial, harmonics))
    sums = [
        jnp.einsum(
            "nkmc,nks,nkc,msp->npc",
            gathered[:, :, product.node],
            harmonics[:, :, DEGREE_SLICES[product.degree]],
            radial[:, :, product.degree],
            product.coefficients().astype(features.dtype),
            precision="highest",
        )
        for product in plan.products
    ]
    return jnp.concatenate(sums, axis=1)
