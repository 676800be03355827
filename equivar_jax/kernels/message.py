"""The message of one interaction: radial part, neighbour sum, and the mixing of channels."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equivar_jax.kernels import native
from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan
from equivar_jax.kernels.sums import choose, neighbour_sum

PRECISION = jax.lax.Precision.HIGHEST  # no TF32 behind the user's back
# Second moment of log(1 + e^x) - log 2 for a unit normal variable x.
SOFTPLUS_SECOND_MOMENT = 0.2842636221740419


class EdgeFeatures(NamedTuple):
    """What every interaction reads of the edges."""

    basis: Float[Array, "edges functions"]
    """Radial basis."""
    harmonics: Float[Array, "edges 9"]
    """Real spherical harmonics l = 0, 1, 2."""
    envelope: Float[Array, " edges"] | None
    """Smooth end of the neighbourhood, if there is one."""
    neighbours: Neighbours


class MessageWeights(NamedTuple):
    """Weights of one interaction, all constants multiplied in."""

    edge: Float[Array, "functions three_channels"]
    """Basis to channels, one degree l after the other."""
    edge_bias: Float[Array, " channels"]
    """On the scalars."""
    mixing: tuple[Float[Array, "_ channels"], ...]
    """[products x channels, channels] for each irrep of `plan.outputs`, products in the order of the plan."""


def message(
    features: Float[Array, "table components channels"],
    edges: EdgeFeatures,
    weights: MessageWeights,
    plan: ProductPlan,
    kernel: str = "auto",
) -> Float[Array, "nodes outputs channels"]:
    """What every node receives: `sum_p neighbour_sum_p(x, rho, Y) @ mixing_p`.

    `rho = basis @ edge`, on the scalars the shifted softplus of it plus a bias, times the envelope.

    Args:
        features: x, node features; components of `plan.inputs` one after the other.
        edges: Basis and harmonics of every edge, and who neighbours whom.
        weights: Of this interaction.
        plan: Which products.
        kernel: As for `neighbour_sum`.

    Returns:
        Components of the irreps of `plan.outputs` one after the other.
    """
    if choose(kernel, features.shape[2], features.dtype) == "native":
        return _fused(features, edges, weights, plan)
    return _in_steps(features, edges, weights, plan, kernel)


def radial_part(edges: EdgeFeatures, weights: MessageWeights) -> Float[Array, "edges 3 channels"]:
    """Rho of every edge, by degree l."""
    channels = len(weights.edge_bias)
    radial = jnp.matmul(edges.basis, weights.edge, precision=PRECISION)
    scalars = shifted_softplus(radial[:, :channels] + weights.edge_bias)
    radial = jnp.concatenate([scalars, radial[:, channels:]], axis=1)
    if edges.envelope is not None:
        radial *= edges.envelope[:, None]
    return radial.reshape(-1, 3, channels)


def shifted_softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`log(1 + e^x) - log 2`, scaled so that a unit normal variable gives a unit second moment."""
    return (jax.nn.softplus(x) - math.log(2.0)) / SOFTPLUS_SECOND_MOMENT**0.5


def _in_steps(features, edges: EdgeFeatures, weights: MessageWeights, plan: ProductPlan, kernel: str):
    """One operation after the other, each with its derivative."""
    radial = radial_part(edges, weights)
    sums = neighbour_sum(features, radial, edges.harmonics, edges.neighbours, plan, kernel)
    mixed = []
    for out, matrix in zip(plan.outputs, weights.mixing, strict=True):
        joined = jnp.concatenate([sums[:, product.out] for product in plan.products_to(out)], axis=-1)
        mixed.append(jnp.matmul(joined, matrix, precision=PRECISION))
    return jnp.concatenate(mixed, axis=1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def _fused(features, edges: EdgeFeatures, weights: MessageWeights, plan: ProductPlan):
    """All of it in one pass over the nodes, in C++; a derivative goes through the steps."""
    scale = 1.0 / SOFTPLUS_SECOND_MOMENT**0.5
    edge_arrays = (edges.basis, edges.envelope, edges.harmonics)
    return native.message(features, *edge_arrays, edges.neighbours, *weights, plan, scale)


def _fused_forward(features, edges, weights, plan):
    move = any(leaf.perturbed for leaf in jax.tree.leaves(edges[:3], is_leaf=native.is_argument))
    features, edges, weights = native.values((features, edges, weights))
    if move:

        def in_steps(features, floats, weights):
            basis, harmonics, envelope = floats
            moved = EdgeFeatures(basis, harmonics, envelope, edges.neighbours)
            return _in_steps(features, moved, weights, plan, "native")

        result, pullback = jax.vjp(in_steps, features, edges[:3], weights)
    else:  # as in training: nobody asks for the derivative by positions
        result, pullback = jax.vjp(lambda x, w: _in_steps(x, edges, w, plan, "native"), features, weights)
    return result, (pullback, native.mark(move), edges)


def _fused_backward(_, saved, cotangent):
    pullback, move, edges = saved
    bars = pullback(native.materialised(cotangent))
    floats = bars[1] if native.is_marked(move) else jax.tree.map(jnp.zeros_like, edges[:3])
    basis, harmonics, envelope = floats
    edges_bar = EdgeFeatures(basis, harmonics, envelope, native.no_cotangents(edges.neighbours))
    return bars[0], edges_bar, bars[-1]


_fused.defvjp(_fused_forward, _fused_backward, symbolic_zeros=True)
