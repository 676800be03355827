"""Conversion between irreps and Cartesian tensors, and the acoustic sum rule."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from equivar_jax.kernels import Size
from equivar_jax.network.plan import change_of_basis


def irreps_to_cartesian(components: Float[Array, "*atoms 9"]) -> Float[Array, "*atoms 3 3"]:
    """Convert irreps 0e + 1e + 2e to Cartesian tensors, by the Clebsch-Gordan coefficients CG(1, 1, l).

    Args:
        components: Trace, antisymmetric and symmetric traceless components in e (orthonormal basis).

    Returns:
        Tensors [..., a = field direction, b = displacement direction] in e.
    """
    return jnp.einsum("...k,kab->...ab", components, change_of_basis(components.dtype), precision="highest")


def cartesian_to_irreps(tensors: Float[Array, "*atoms 3 3"]) -> Float[Array, "*atoms 9"]:
    """Convert Cartesian tensors to irreps: the inverse of `irreps_to_cartesian`, which is orthogonal.

    Args:
        tensors: [..., a = field direction, b = displacement direction] in e.

    Returns:
        Components of 0e + 1e + 2e in e.
    """
    return jnp.einsum("...ab,kab->...k", tensors, change_of_basis(tensors.dtype), precision="highest")


def graph_of_node(atom_counts: Int[Array, " graphs"], nodes: Size) -> Int[Array, " nodes"]:
    """Return the index of the graph that each of `nodes` nodes belongs to."""
    return jnp.repeat(jnp.arange(atom_counts.shape[0]), atom_counts, total_repeat_length=nodes)


def apply_sum_rule(
    tensors: Float[Array, "nodes 3 3"],
    atom_counts: Int[Array, " graphs"],
    net_charges: Float[Array, " graphs"],
) -> Float[Array, "nodes 3 3"]:
    """Apply the acoustic sum rule: subtract from every atom an equal share of the excess of the sum.

    `Z_i <- Z_i - (sum_j Z_j - Q 1) / N`, Eq. (49) of Gonze and Lee, Phys. Rev. B 55, 10355 (1997).

    Args:
        tensors: Born effective charges [atom, field, displacement] in e, one graph after the other.
        atom_counts: Atoms of each graph, padding graph included.
        net_charges: Net charge Q of each cell in e.

    Returns:
        Tensors whose sum over each graph is Q times the identity, to rounding.
    """
    owner = graph_of_node(atom_counts, tensors.shape[0])
    sums = jax.ops.segment_sum(tensors, owner, atom_counts.shape[0], indices_are_sorted=True)
    target = net_charges[:, None, None] * jnp.eye(3, dtype=tensors.dtype)
    excess = (sums - target) / jnp.maximum(atom_counts, 1)[:, None, None]
    return tensors - excess[owner]
