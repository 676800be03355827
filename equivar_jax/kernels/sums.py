"""The neighbour sum behind one function: which implementation runs is decided here."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels import chunked, dense, native, reference
from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan

_IMPLEMENTATIONS: dict[str, Callable[..., Array]] = {
    "native": native.neighbour_sum,
    "chunked": chunked.neighbour_sum,
    "dense": dense.neighbour_sum,
    "reference": reference.neighbour_sum,
}


def choose(kernel: str, channels: int, dtype: np.dtype | type | str = "float32") -> str:
    """The implementation that "auto" means here: C++ on a CPU with a compiler, else XLA."""
    if kernel != "auto":
        return kernel
    return "native" if native.available(channels, np.dtype(dtype)) else "chunked"


def needs_slots(kernel: str, channels: int, dtype: np.dtype | type | str = "float32") -> bool:
    """Whether batches for this kernel need the dense layout beside the edges."""
    return choose(kernel, channels, dtype) != "native"


def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
    kernel: str = "auto",
) -> Float[Array, "nodes products channels"]:
    """Sum over neighbours of the tensor products of node and edge features, channel by channel.

    `A_p,i[m, c] = sum_{e of i} sum_{m1, m2} C^p_{m1 m2 m} x[sender_e][m1, c] rho_l(p)[e][c] Y_{l(p) m2}[e]`

    for every path p of `plan`; C^p are Clebsch-Gordan coefficients (see `Product.coefficients`).

    Args:
        features: x, node features; components of `plan.inputs` one after the other.
        radial: rho, radial part of each edge by degree l.
        harmonics: Y, real spherical harmonics l = 0, 1, 2 of each edge.
        neighbours: The edges of every node.
        plan: Which products.
        kernel: "auto", "native" (C++ on a CPU), "chunked" (XLA; both with reverse-mode derivatives), "dense"
            (XLA, any derivative, more memory) or "reference" (the same, as it is written down).

    Returns:
        A, components of all products of `plan` one after the other.
    """
    name = choose(kernel, features.shape[2], features.dtype)
    return _IMPLEMENTATIONS[name](features, radial, harmonics, neighbours, plan)
