"""The message passing behind one function; the model does not know which implementation runs."""

from collections.abc import Callable

from jaxtyping import Array, Float, Int

from equivar_jax.kernels import chunked, reference
from equivar_jax.kernels.paths import EDGE, HIDDEN, PATHS, ProductPlan, offsets, plan_products

__all__ = ["EDGE", "HIDDEN", "PATHS", "ProductPlan", "neighbour_sum", "offsets", "plan_products"]

_IMPLEMENTATIONS: dict[str, Callable[..., Array]] = {
    "auto": chunked.neighbour_sum,
    "chunked": chunked.neighbour_sum,
    "reference": reference.neighbour_sum,
}


def neighbour_sum(
    features: Float[Array, "nodes components channels"],
    radial: Float[Array, "nodes neighbours 3 channels"],
    harmonics: Float[Array, "nodes 9 neighbours"],
    senders: Int[Array, "nodes neighbours"],
    plan: ProductPlan,
    kernel: str = "auto",
) -> Float[Array, "nodes products channels"]:
    """Sum over neighbours of the tensor products of node and edge features, channel by channel.

    `A_p,i[m, c] = sum_k sum_{m1, m2} C^p_{m1 m2 m} x[j_k][m1, c] rho_l(p)[i, k][c] Y_{l(p) m2}[i, k]`

    for every path p of `plan`; C^p are Clebsch-Gordan coefficients (see `Product.coefficients`).

    Args:
        features: x, node features; components of `plan.inputs` one after the other.
        radial: rho, radial part of each edge slot by degree l; zero in slots that hold no edge.
        harmonics: Y, real spherical harmonics l = 0, 1, 2 of each edge slot.
        senders: j, the neighbour in each slot (any valid index where the slot is empty).
        plan: Which products.
        kernel: "auto", "chunked" (fast; reverse-mode derivatives) or "reference" (any derivative).

    Returns:
        A, components of all products of `plan` one after the other.
    """
    return _IMPLEMENTATIONS[kernel](features, radial, harmonics, senders, plan)
