"""The form of the nodes, whose derivatives are products of the features of a node, and their derivatives.

    G(u, v, w, a) = sum_i sum_p sum_{j, k, m} Q^p[j, k, m] w[p, c] u[i][j, c] v[i][k, c] a[i][m, c]

with coefficients Q of each path p, a sum over channels c, and weights w of each path and channel. The
products of features with themselves are its derivative by a with u = v.
"""

import dataclasses
import functools
from collections.abc import Sequence
from enum import IntEnum

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.kernels import native
from equivar_jax.kernels.multilinear import MISSING, Form, derivative, evaluate_slice_by_slice
from equivar_jax.kernels.neighbours import Size

PRECISION = jax.lax.Precision.HIGHEST


class Slot(IntEnum):
    """The arguments of G."""

    LEFT = 0
    """u, (nodes, components, channels)."""
    RIGHT = 1
    """v, (nodes, components, channels)."""
    WEIGHTS = 2
    """w, (paths, channels)."""
    RESULT = 3
    """a, (nodes, results, channels)."""


@dataclasses.dataclass(frozen=True, eq=False)
class Coefficients:
    """The coefficients Q that are not zero; equal to itself alone, so make it once (`functools.cache`)."""

    values: Float[np.ndarray, " terms"]
    rows: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    """For each term its row in each slot: component j, component k, path p, result m."""
    sizes: tuple[int, int, int, int]
    """Number of rows in each slot."""


@dataclasses.dataclass(frozen=True)
class NodeSpace:
    """The form of the nodes for arrays of given sizes (see `multilinear.Space`)."""

    coefficients: Coefficients
    nodes: Size
    channels: int
    dtype: np.dtype
    in_cpp: bool
    """Compute in C++ and not in XLA."""
    integers = 0

    def shape(self, slot: int) -> tuple[Size, ...]:
        """Return the shape of an array in a slot."""
        rows = (self.coefficients.sizes[slot], self.channels)
        return rows if slot == Slot.WEIGHTS else (self.nodes, *rows)

    def compute(self, _: Sequence[Array], operands: Sequence[Array], form: Form) -> Sequence[Array]:
        """Compute the outputs of a form."""
        if self.in_cpp:
            return _in_cpp(operands, form, self)
        return evaluate_slice_by_slice(operands, form, self._in_xla)

    def _in_xla(self, operands: Sequence[Array], form: Form) -> list[Array]:
        """Compute the outputs of a form without a batch."""
        found = []
        for output in form.outputs:
            total = jnp.zeros(self.shape(output.slot), self.dtype)
            for term in output.terms:
                total += self._product([operands[k] if k >= 0 else None for k in term], output.slot)
            found.append(total)
        return found

    def _product(self, operands: Sequence[Array | None], slot: int) -> Array:
        """Compute one derivative by matrix products of pairs of components."""
        q = self.coefficients
        matrix, paths, results = _columns(q)
        left, right, weights, result = operands
        if weights is not None:
            weights = weights[paths]  # of each column
        if result is not None:
            result = result[:, results]
        by_column = jnp.asarray(matrix, self.dtype)
        if slot in (Slot.RESULT, Slot.WEIGHTS):
            assert left is not None
            assert right is not None
            pairs = left[:, :, None] * right[:, None]
            flat = pairs.reshape(self.nodes, -1, self.channels)
            columns = jnp.einsum("npc,pq->nqc", flat, by_column, precision=PRECISION)
            if slot == Slot.RESULT:
                assert weights is not None
                return jnp.zeros(self.shape(slot), self.dtype).at[:, results].add(columns * weights)
            assert result is not None
            return jnp.zeros(self.shape(slot), self.dtype).at[paths].add((columns * result).sum(axis=0))
        assert weights is not None
        assert result is not None
        pairs_bar = jnp.einsum("nqc,pq->npc", result * weights, by_column, precision=PRECISION)
        pairs_bar = pairs_bar.reshape(self.nodes, q.sizes[0], q.sizes[1], self.channels)
        if slot == Slot.LEFT:
            assert right is not None
            return (pairs_bar * right[:, None]).sum(axis=2)
        assert left is not None
        return (pairs_bar * left[:, :, None]).sum(axis=1)


def products_of_nodes(
    features: Float[Array, "nodes components channels"],
    weights: Float[Array, "paths channels"],
    coefficients: Coefficients,
    kernel: str,
) -> Float[Array, "nodes results channels"]:
    """Multiply the features of each node with themselves, channel by channel.

    Args:
        features: Node features.
        weights: A weight of each path and channel.
        coefficients: Which products there are.
        kernel: "native" for C++; others are computed in XLA.

    Returns:
        The results, summed over the paths that lead to them.
    """
    nodes, _, channels = features.shape
    space = NodeSpace(coefficients, nodes, channels, np.dtype(features.dtype), kernel == "native")
    return derivative(space, Slot.RESULT, [(0, 1, 2, MISSING)], (), (features, features, weights))


@functools.cache
def _columns(q: Coefficients) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the coefficients as a matrix [pairs of components, columns]; path and result of each column."""
    columns = sorted(set(zip(q.rows[2].tolist(), q.rows[3].tolist(), strict=True)))
    number = {column: k for k, column in enumerate(columns)}
    matrix = np.zeros((q.sizes[0] * q.sizes[1], len(columns)))
    for value, j, k, path, result in zip(q.values, *q.rows, strict=True):
        matrix[j * q.sizes[1] + k, number[int(path), int(result)]] += value
    paths, results = np.array(columns).T
    return matrix, paths, results


def _in_cpp(operands: Sequence[Array], form: Form, space: NodeSpace) -> Sequence[Array]:
    q = space.coefficients
    return native.call_form(
        "nodes",
        operands,
        form,
        terms=np.concatenate(q.rows).astype(np.int32),
        coefficient=q.values.astype(np.float64),
        rows=np.array(q.sizes, np.int32),
        nodes=np.int64(space.nodes),
        channels=np.int64(space.channels),
        slices=np.int64(max(1, form.slices)),
    )
