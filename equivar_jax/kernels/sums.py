"""The neighbour sum behind one function, which chooses the implementation that runs."""

import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels import chunked, native, neighbour_form, reference
from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan

IMPLEMENTATIONS = {"native": native.evaluate, "chunked": chunked.evaluate}


def choose_kernel(kernel: str, channels: int, dtype: np.dtype | type | str = "float32") -> str:
    """Return the name of the implementation that runs for a setting of the kernel.

    "auto" means "native" (C++) on a CPU with a compiler, if the channels fill its vectors, and "chunked"
    (XLA) otherwise. Other names are returned as they are.

    Args:
        kernel: "auto" or the name of an implementation.
        channels: Channels of the node features.
        dtype: Type of the node features.
    """
    if kernel != "auto":
        return kernel
    return "native" if native.is_available(channels, np.dtype(dtype)) else "chunked"


def needs_slots(kernel: str, channels: int, dtype: np.dtype | type | str = "float32") -> bool:
    """Return whether batches for this kernel need slots, the dense layout, in addition to the edges."""
    return choose_kernel(kernel, channels, dtype) != "native"


def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
    kernel: str = "auto",
) -> Float[Array, "nodes products channels"]:
    """Sum the tensor products of node and edge features over the neighbours, channel by channel.

    `A_p,i[m, c] = sum_{e of i} sum_{m1, m2} C^p_{m1 m2 m} x[sender_e][m1, c] rho_l(p)[e][c] Y_{l(p) m2}[e]`

    for every path p of `plan`; C^p are Clebsch-Gordan coefficients (see `Product.coefficients`).

    Args:
        features: Node features x; components of `plan.inputs` one after the other.
        radial: Radial part rho of each edge, by degree l.
        harmonics: Real spherical harmonics Y, l = 0, 1, 2, of each edge.
        neighbours: The edges of every node.
        plan: The products to compute.
        kernel: "native" (C++ on a CPU), "chunked" (XLA), or "reference" (the formula in XLA; slow);
            "auto" chooses (see `choose_kernel`). All have derivatives of any order in any mode.

    Returns:
        A; components of all products of `plan` one after the other.

    Raises:
        ValueError: The kernel needs slots, and the batch has none.
        NotCompiledError: The kernel is "native", and it cannot be compiled on this machine.
    """
    name = choose_kernel(kernel, features.shape[2], features.dtype)
    if name == "reference":
        return reference.neighbour_sum(features, radial, harmonics, neighbours, plan)
    return neighbour_form.neighbour_sum(features, radial, harmonics, neighbours, plan, IMPLEMENTATIONS[name])


def neighbour_sum_at_rest(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    slope: Float[Array, "edges 3 channels"],
    stretch: Float[Array, " edges"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
    kernel: str = "auto",
) -> Float[Array, "nodes products channels"]:
    """Compute `neighbour_sum` with the radial part `radial + stretch * slope`, for a stretch of zero.

    The derivative by `stretch`, and derivatives of that by all other arguments, are those of this formula,
    for less: where directions differ in `stretch` alone, they share everything else.

    Args:
        features: See `neighbour_sum`, as for the arguments without words here.
        radial: Radial part rho of each edge at rest.
        slope: Derivative of the radial part of each edge by the length of the edge.
        stretch: Change of the length of each edge; its value is not read.
        harmonics: Real spherical harmonics of each edge.
        neighbours: The edges of every node.
        plan: The products to compute.
        kernel: The implementation.
    """
    name = choose_kernel(kernel, features.shape[2], features.dtype)
    if name == "reference":
        moved = radial + stretch[:, None, None] * slope
        return reference.neighbour_sum(features, moved, harmonics, neighbours, plan)
    return neighbour_form.neighbour_sum_at_rest(
        features, radial, slope, stretch, harmonics, neighbours, plan, IMPLEMENTATIONS[name]
    )
