"""Products of a node's features with themselves, channel by channel.

The Clebsch-Gordan algebra is worked out ahead of time.
"""

import functools
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from equivar_jax.kernels import HIDDEN, Irrep, clebsch_gordan, offsets
from equivar_jax.network.features import matmul


class SquarePlan(NamedTuple):
    """How products of pairs of components are contracted to irreps, one path after the other."""

    outputs: tuple[Irrep, ...]
    """Irrep of each path, in the order of `HIDDEN`."""
    dims: Int[np.ndarray, " paths"]
    """Number of components of the result of each path."""
    coefficients: Float[np.ndarray, "pairs columns"]
    """Coefficient of each pair (i, j), number `i * components + j`, in each component of the results."""


@functools.cache
def square_plan(inputs: tuple[Irrep, ...], needed: tuple[Irrep, ...]) -> SquarePlan:
    """Choose the paths `a x b -> out` and compute their coefficients.

    Each pair of irreps a and b is taken once, and antisymmetric products of an irrep with itself are left
    out, since they vanish. Coefficients are so scaled that a result has unit variance if the components are
    independent unit normal variables.

    Args:
        inputs: Irreps of the features, in the order of their components.
        needed: Irreps of the result that a later layer reads.
    """
    start, outputs, columns = offsets(inputs), [], []
    size = start[-1]
    for out in (ir for ir in HIDDEN if ir in needed):
        for i, a in enumerate(inputs):
            for j, b in enumerate(inputs[i:], start=i):
                if out not in a * b or (a == b and out.l % 2):
                    continue
                block = np.zeros((size, size, out.dim))
                rows, columns_of_b = slice(start[i], start[i + 1]), slice(start[j], start[j + 1])
                block[rows, columns_of_b] = clebsch_gordan(a.l, b.l, out.l)
                # The variance of x_i x_j is 1, that of x_i x_i is 2, and x_i x_j is the same as x_j x_i.
                symmetric = (block + np.swapaxes(block, 0, 1)) / 2
                variance = 2 * np.square(symmetric).sum(axis=(0, 1)).mean()
                outputs.append(out)
                columns.append(block.reshape(size * size, out.dim) / variance**0.5)
    dims = np.array([out.dim for out in outputs])
    return SquarePlan(tuple(outputs), dims, np.concatenate(columns, axis=1))


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
