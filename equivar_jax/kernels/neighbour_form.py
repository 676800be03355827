"""The form of the neighbours, whose derivatives are the neighbour sum and all that its derivatives need.

    F(x, rho, s, Y, a) =
        sum_i sum_{e of i} sum_p C^p[m1, m2, m] x[s_e][m1, c] rho_l(p)[e, c] s[e] Y[e, l(p) m2] a[i][p m, c]

The neighbour sum is its derivative by a, with s = 1. The scale s of an edge is for radial functions that depend on
its length alone: their change along any direction is their slope times a number.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from enum import IntEnum

import jax
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels.multilinear import MISSING, ONE, Form, derivative
from equivar_jax.kernels.neighbours import Neighbours
from equivar_jax.kernels.paths import ProductPlan


class Slot(IntEnum):
    """The arguments of F."""

    FEATURES = 0
    """x, (table, components, channels)."""
    RADIAL = 1
    """rho, (edges, 3, channels)."""
    SCALE = 2
    """s, (edges,), or one."""
    HARMONICS = 3
    """Y, (edges, 9)."""
    SUMS = 4
    """a, (nodes, products, channels)."""


Implementation = Callable[[Sequence[Array], Neighbours, Form], Sequence[Array]]


@dataclasses.dataclass(frozen=True)
class NeighbourSpace:
    """The form of the neighbours for arrays of given sizes (see `multilinear.Space`)."""

    plan: ProductPlan
    table: int
    nodes: int
    edges: int
    channels: int
    dtype: np.dtype
    implementation: Implementation
    """The kernel."""
    integers = len(Neighbours._fields)

    def shape(self, slot: int) -> tuple[int, ...]:
        """Return the shape of an array in a slot."""
        shapes: dict[int, tuple[int, ...]] = {
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
    return _sums((features, radial, harmonics), (0, 1, ONE, 2, MISSING), neighbours, plan, implementation)


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

    Nothing is computed for what is zero; the first derivative by `stretch`, and all derivatives of that by the
    other arguments, are those of the formula.
    """
    return _at_rest(features, radial, slope, stretch, harmonics, neighbours, (plan, implementation))


@functools.partial(jax.custom_jvp, nondiff_argnums=(6,))
def _at_rest(features, radial, slope, stretch, harmonics, neighbours, static):
    return neighbour_sum(features, radial, harmonics, neighbours, *static)


@functools.partial(_at_rest.defjvp, symbolic_zeros=True)
def _at_rest_forward_mode(static, primals, tangents):
    features, radial, slope, _, harmonics, neighbours = primals
    moving = [
        k for k in (0, 1, 4) if not isinstance(tangents[k], jax.custom_derivatives.SymbolicZero)
    ]

    def move(*moved):
        own = list(primals)
        for k, array in zip(moving, moved, strict=True):
            own[k] = array
        return neighbour_sum(own[0], own[1], own[4], neighbours, *static)

    found, change = jax.jvp(move, [primals[k] for k in moving], [tangents[k] for k in moving])
    if not isinstance(tangents[3], jax.custom_derivatives.SymbolicZero):
        operands = (features, slope, tangents[3], harmonics)
        change = change + _sums(operands, (0, 1, 2, 3, MISSING), neighbours, *static)
    return found, change


def _sums(operands, term, neighbours: Neighbours, plan: ProductPlan, implementation: Implementation) -> Array:
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
    return derivative(space, Slot.SUMS, term, neighbours, operands)
