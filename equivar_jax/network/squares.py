"""Products of a node's features with themselves, channel by channel.

The Clebsch-Gordan algebra is worked out ahead of time.
"""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels import HIDDEN, Irrep, choose_kernel, offsets
from equivar_jax.kernels.node_form import Coefficients, products_of_nodes
from equivar_jax.network.features import Features
from equivar_jax.network.plan import SquarePlan, square_plan


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
    kernel: str = "auto",
) -> dict[Irrep, Float[Array, "nodes _dim channels"]]:
    """Compute all products of a plan, and sum them with weights over the paths to each irrep.

    Args:
        features: Node features, irreps in the order of the inputs of the plan.
        plan: The plan, made by `square_plan`.
        weights: A weight of each path and channel.
        kernel: The implementation; see `ModelConfig.kernel`.

    Returns:
        The sums by irrep, in the order of `HIDDEN`.
    """
    chosen = choose_kernel(kernel, features.shape[2], features.dtype)
    outputs = tuple(ir for ir in HIDDEN if ir in plan.outputs)
    products = products_of_nodes(
        features, weights.astype(features.dtype), _coefficients(plan.inputs, plan.needed), chosen
    )
    return Features(outputs, products).parts()


@functools.cache
def _coefficients(inputs: tuple[Irrep, ...], needed: tuple[Irrep, ...]) -> Coefficients:
    """List the coefficients of a plan that are not zero, as the kernels read them."""
    plan = square_plan(inputs, needed)
    components = offsets(inputs)[-1]
    outputs = tuple(ir for ir in HIDDEN if ir in plan.outputs)
    first = dict(zip(outputs, offsets(outputs), strict=False))
    paths = np.repeat(np.arange(len(plan.outputs)), plan.dims)
    results = np.concatenate([first[out] + np.arange(out.dim) for out in plan.outputs])
    pairs, columns = np.nonzero(np.abs(plan.coefficients) > 1e-12)
    rows = (pairs // components, pairs % components, paths[columns], results[columns])
    sizes = (components, components, len(plan.outputs), offsets(outputs)[-1])
    return Coefficients(plan.coefficients[pairs, columns], rows, sizes)
