"""The form of the neighbours, whose derivatives are the neighbour sum and all that its derivatives need.

    F(x, rho, z, Y, a) =
        sum_i sum_{e of i} sum_p C^p[m1, m2, m] x[s_e][m1, c] rho_l(p)[e, c] z[e] Y[e, l(p) m2] a[i][p m, c]

The neighbour sum is its derivative by a, with z = 1. The scale z of an edge is for radial functions, which
depend on its length alone: their change along any direction is their slope times a number.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from enum import IntEnum

import jax
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels.multilinear import MISSING, ONE, Form, derivative
from equivar_jax.kernels.neighbours import Neighbours, Size
from equivar_jax.kernels.paths import ProductPlan


class Slot(IntEnum):
    """The arguments of F."""

    FEATURES = 0
    """x, (table, components, channels)."""
    RADIAL = 1
    """rho, (edges, 3, channels)."""
    SCALE = 2
    """z, (edges,), or one."""
    HARMONICS = 3
    """Y, (edges, 9)."""
    SUMS = 4
    """a, (nodes, products, channels)."""


Implementation = Callable[[Sequence[Array], Neighbours, Form], Sequence[Array]]


@dataclasses.dataclass(frozen=True)
class NeighbourSpace:
    """The form of the neighbours for arrays of given sizes (see `multilinear.Space`)."""

    plan: ProductPlan
    table: Size
    nodes: Size
    edges: Size
    channels: int
    dtype: np.dtype
    implementation: Implementation
    """The kernel."""
    integers = len(Neighbours._fields)

    def shape(self, slot: int) -> tuple[Size, ...]:
        """Return the shape of an array in a slot."""
        shapes: dict[int, tuple[Size, ...]] = {
            Slot.FEATURES: (self.table, self.plan.input_components, self.channels),
            Slot.RADIAL: (self.edges, 3, self.channels),
            Slot.SCALE: (self.edges,),
            Slot.HARMONICS: (self.edges, 9),
            Slot.SUMS: (self.nodes, self.plan.output_components, self.channels),
        }
        return shapes[slot]

    def compute(self, integers: Sequence[Array], operands: Sequence[Array], form: Form) -> Sequence[Array]:
        """Compute the outputs of a form."""
        return self.implementation(operands, Neighbours(*integers), form)


def neighbour_sum(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
    implementation: Implementation,
) -> Float[Array, "nodes products channels"]:
    """Compute the neighbour sum; see `equivar_jax.kernels.neighbour_sum`."""
    terms = [(0, 1, ONE, 2, MISSING)]
    return _sums((features, radial, harmonics), terms, neighbours, plan, implementation)


def neighbour_sum_at_rest(
    features: Float[Array, "table components channels"],
    radial: Float[Array, "edges 3 channels"],
    slope: Float[Array, "edges 3 channels"],
    stretch: Float[Array, " edges"],
    harmonics: Float[Array, "edges 9"],
    neighbours: Neighbours,
    plan: ProductPlan,
    implementation: Implementation,
) -> Float[Array, "nodes products channels"]:
    """Compute the neighbour sum with the radial part `radial + stretch * slope`, where `stretch` is zero.

    Nothing is computed for what is zero. The first derivative by `stretch`, and all derivatives of that by
    the other arguments, are those of the formula.
    """
    return _at_rest(features, radial, slope, stretch, harmonics, neighbours, (plan, implementation))


@functools.partial(jax.custom_jvp, nondiff_argnums=(6,))
def _at_rest(features, radial, slope, stretch, harmonics, neighbours, static):  # noqa: ARG001
    return neighbour_sum(features, radial, harmonics, neighbours, *static)


@functools.partial(_at_rest.defjvp, symbolic_zeros=True)
def _at_rest_forward_mode(static, primals, tangents):
    *operands, neighbours = (primals[k] for k in (0, 1, 2, 4, 5))  # x, rho, rho', Y
    found = neighbour_sum(operands[0], operands[1], operands[3], neighbours, *static)
    terms = []
    # One sum for all that moves, so that its transpose is one pass over the edges, too.
    for moved, term in (
        (0, (4, 1, ONE, 3, MISSING)),
        (1, (0, 4, ONE, 3, MISSING)),
        (3, (0, 2, 4, 3, MISSING)),
        (4, (0, 1, ONE, 4, MISSING)),
    ):
        if not isinstance(tangents[moved], jax.custom_derivatives.SymbolicZero):
            terms.append(tuple(len(operands) if k == 4 else k for k in term))
            operands.append(tangents[moved])
    if not terms:
        return found, jax.custom_derivatives.SymbolicZero(jax.typeof(found).to_tangent_aval())
    return found, _sums(operands, terms, neighbours, *static)


def _sums(
    operands, terms, neighbours: Neighbours, plan: ProductPlan, implementation: Implementation
) -> Array:
    features = operands[0]
    space = NeighbourSpace(
        plan,
        features.shape[0],
        neighbours.counts.shape[0],
        neighbours.senders.shape[0],
        features.shape[2],
        np.dtype(features.dtype),
        implementation,
    )
    return derivative(space, Slot.SUMS, terms, neighbours, operands)
