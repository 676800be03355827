"""The neighbour sum in two dense steps for all nodes at once, differentiable in any mode.

The steps are outer products with the edges, and one contraction with all Clebsch-Gordan coefficients.
`chunked` does the same in chunks, with a derivative written by hand. This kernel stores what the others
recompute, edges x components x channels for each degree: use it for second derivatives when there is memory
enough.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels.neighbours import Neighbours, require_slots, to_slots
from equivar_jax.kernels.paths import ProductPlan
from equivar_jax.kernels.reference import DEGREE_SLICES

PRECISION = jax.lax.Precision.HIGHEST  # so that no GPU rounds to TF32 unasked


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
    nodes, width, components, channels = gathered.shape
    outer = []
    for degree, rows in enumerate(DEGREE_SLICES):
        scaled = (gathered * radial[:, :, degree, None, :]).reshape(nodes, width, components * channels)
        product = jnp.einsum("nks,nkd->nsd", harmonics[:, :, rows], scaled, precision=PRECISION)
        outer.append(product.reshape(nodes, 2 * degree + 1, components, channels))
    coefficients = jnp.asarray(_coefficients(plan), features.dtype)
    return jnp.einsum("nsmc,smp->npc", jnp.concatenate(outer, axis=1), coefficients, precision=PRECISION)


def _coefficients(plan: ProductPlan) -> Float[np.ndarray, "9 components products"]:
    """Return the Clebsch-Gordan coefficients of all products; most are zero.

    Returns:
        Index order: edge component, node component, component of the result.
    """
    coefficients = np.zeros((DEGREE_SLICES[-1].stop, plan.input_components, plan.output_components))
    for product in plan.products:
        block = np.swapaxes(product.coefficients(), 0, 1)
        coefficients[DEGREE_SLICES[product.degree], product.node, product.out] = block
    return coefficients
