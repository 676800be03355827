"""The messages of one interaction: radial part, neighbour sum, and mixing of channels."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from equivar_jax.kernels import native
from equivar_jax.kernels.moments import SOFTPLUS_SECOND_MOMENT
from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan
from equivar_jax.kernels.sums import choose_kernel, neighbour_sum, neighbour_sum_at_rest

PRECISION = jax.lax.Precision.HIGHEST  # so that no GPU rounds to TF32 unasked


class RadialSlope(NamedTuple):
    """How the radial part of the edges changes with their lengths, to first order."""

    basis: Float[Array, "edges functions"]
    """Derivative of the radial basis by the length, in 1/Å."""
    envelope: Float[Array, " edges"] | None
    """Derivative of the envelope, if there is one, in 1/Å."""
    stretch: Float[Array, " edges"]
    """Change of the lengths in Å: zero, to be differentiated by."""


class EdgeFeatures(NamedTuple):
    """Features of the edges, which every interaction reads."""

    basis: Float[Array, "edges functions"]
    """Radial basis."""
    harmonics: Float[Array, "edges 9"]
    """Real spherical harmonics l = 0, 1, 2."""
    envelope: Float[Array, " edges"] | None
    """Factor that ends the neighbourhood smoothly, or None for a sharp end."""
    neighbours: Neighbours
    """The edges of every node."""
    slope: RadialSlope | None = None
    """Where given, the radial part is `rho + stretch * rho'`, at a stretch of zero."""


class MessageWeights(NamedTuple):
    """Weights of one interaction, with all constants multiplied in."""

    edge: Float[Array, "functions three_channels"]
    """Matrix from radial basis to channels, one degree l after the other."""
    edge_bias: Float[Array, " channels"]
    """Bias of the scalars (l = 0)."""
    mixing: tuple[Float[Array, "_ channels"], ...]
    """For each irrep of `plan.outputs` a matrix [products x channels, channels]; the products are those that
    lead to this irrep, in the order of the plan."""


def message(
    features: Float[Array, "table components channels"],
    edges: EdgeFeatures,
    weights: MessageWeights,
    plan: ProductPlan,
    kernel: str = "auto",
) -> Float[Array, "nodes outputs channels"]:
    """Compute the message that every node receives: `sum_p neighbour_sum_p(x, rho, Y) @ mixing_p`.

    The radial part rho is that of `radial_part`.

    Args:
        features: Node features x; components of `plan.inputs` one after the other.
        edges: Basis and harmonics Y of every edge, and the edges of every node.
        weights: Weights of this interaction.
        plan: The products p to compute.
        kernel: The implementation, as for `neighbour_sum`.

    Returns:
        Components of the irreps of `plan.outputs` one after the other.
    """
    chosen = choose_kernel(kernel, features.shape[2], features.dtype)
    if chosen == "native" and edges.slope is None:
        return _message_in_one_pass(features, edges, weights, plan)
    return _message_in_steps(features, edges, weights, plan, chosen)


def radial_part(edges: EdgeFeatures, weights: MessageWeights) -> Float[Array, "edges 3 channels"]:
    """Compute the radial part rho of every edge, by degree l.

    It is `basis @ edge`; for l = 0 a bias is added and the shifted softplus taken. The envelope, if there is
    one, multiplies all of it.
    """
    return _radial_part(edges.basis, edges.envelope, weights)


def _radial_part(basis, envelope, weights: MessageWeights):
    channels = len(weights.edge_bias)
    # Two products, since the derivative of cutting one result in two would be a sum of two padded arrays.
    to_scalars, to_others = jnp.split(weights.edge, [channels], axis=1)
    scalars = shifted_softplus(jnp.matmul(basis, to_scalars, precision=PRECISION) + weights.edge_bias)
    others = jnp.matmul(basis, to_others, precision=PRECISION)
    if envelope is not None:
        scalars, others = scalars * envelope[:, None], others * envelope[:, None]
    return jnp.concatenate([scalars, others], axis=1).reshape(-1, 3, channels)


def shifted_softplus(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `log(1 + e^x) - log 2`, scaled so that a unit normal variable gives a unit second moment."""
    return (jax.nn.softplus(x) - math.log(2.0)) / SOFTPLUS_SECOND_MOMENT**0.5


def _message_in_steps(features, edges: EdgeFeatures, weights: MessageWeights, plan: ProductPlan, kernel: str):
    """Compute the message in separate operations, each with its own derivative."""
    sums = _neighbour_sum(features, edges, weights, plan, kernel)
    # Products that lead to one irrep lie together, so a block is cut out at once and not product by product:
    # each operation of its own is code to compile.
    layout = [(out, plan.products_to(out)) for out in plan.outputs]
    layout.sort(key=lambda entry: entry[1][0].out.start)
    starts = [products[0].out.start for _, products in layout]
    blocks = dict(zip((out for out, _ in layout), jnp.split(sums, starts[1:], axis=1), strict=True))
    mixed, (nodes, _, channels) = [], sums.shape
    for out, matrix in zip(plan.outputs, weights.mixing, strict=True):
        by_component = jnp.swapaxes(blocks[out].reshape(nodes, -1, out.dim, channels), 1, 2)
        product = jnp.matmul(by_component.reshape(nodes * out.dim, -1), matrix, precision=PRECISION)
        mixed.append(product.reshape(nodes, out.dim, channels))
    return jnp.concatenate(mixed, axis=1)


def _neighbour_sum(features, edges: EdgeFeatures, weights: MessageWeights, plan: ProductPlan, kernel: str):
    """Compute the neighbour sum, for edges at rest or, to first order, for moving ones."""
    if edges.slope is None:
        radial = radial_part(edges, weights)
        return neighbour_sum(features, radial, edges.harmonics, edges.neighbours, plan, kernel)
    basis_slope, envelope_slope, stretch = edges.slope
    radial, slope = jax.jvp(
        lambda basis, envelope: _radial_part(basis, envelope, weights),
        (edges.basis, edges.envelope),
        (basis_slope, envelope_slope),
    )
    return neighbour_sum_at_rest(
        features, radial, slope, stretch, edges.harmonics, edges.neighbours, plan, kernel
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _message_in_one_pass(features, edges: EdgeFeatures, weights: MessageWeights, plan: ProductPlan):
    """Compute the message in one pass over the nodes, in C++; derivatives are those of the separate steps."""
    scale = 1.0 / SOFTPLUS_SECOND_MOMENT**0.5
    edge_arrays = (edges.basis, edges.envelope, edges.harmonics)
    return native.message(features, *edge_arrays, edges.neighbours, *weights, plan, scale)


@functools.partial(_message_in_one_pass.defjvp, symbolic_zeros=True)
def _one_pass_forward_mode(plan, primals, tangents):
    """Differentiate the separate steps by those arguments that move."""
    leaves, tree = jax.tree.flatten(primals)
    changes = jax.tree.leaves(tangents, is_leaf=_is_zero)
    moving = [k for k, change in enumerate(changes) if not _is_zero(change)]

    def steps(*moved):
        own = list(leaves)
        for k, leaf in zip(moving, moved, strict=True):
            own[k] = leaf
        features, edges, weights = jax.tree.unflatten(tree, own)
        return _message_in_steps(features, edges, weights, plan, "native")

    return jax.jvp(steps, [leaves[k] for k in moving], [changes[k] for k in moving])


def _is_zero(change) -> bool:
    return isinstance(change, jax.custom_derivatives.SymbolicZero)
