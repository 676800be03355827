"""What the network computes, worked out ahead of time in NumPy: irreps, products, change of basis."""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels.irreps import Irrep, clebsch_gordan, parse_irreps
from equivar_jax.kernels.paths import HIDDEN, offsets, plan_products

READOUT = parse_irreps("0e", "1e", "2e")
"""Irreps of a Cartesian tensor: trace, antisymmetric and symmetric traceless part."""
DIPOLE = parse_irreps("0e", "1o")
"""Irreps that the readout of dipoles needs: vectors, and scalars, which multiply or gate them."""
SYMMETRIC = (READOUT[0], READOUT[2])
"""Irreps of a symmetric tensor: 0e and 2e."""


def live_irreps(config: ModelConfig, layer: int) -> tuple[Irrep, ...]:
    """Return the irreps of the node features that are not identically zero before an interaction.

    Args:
        config: Config of the network.
        layer: Number of the interaction; the number of interactions stands for the features after the last.
    """
    irreps = HIDDEN[:1]
    for before in range(layer):
        irreps = irreps_after(irreps, irreps_read_after(config, before))
    return irreps


def irreps_after(irreps: tuple[Irrep, ...], needed: tuple[Irrep, ...]) -> tuple[Irrep, ...]:
    """Return the irreps that are not identically zero after an interaction that computes `needed`."""
    reached = plan_products(irreps, needed).outputs
    return tuple(ir for ir in HIDDEN if ir in needed and (ir in irreps or ir in reached))


def irreps_read_after(config: ModelConfig, layer: int) -> tuple[Irrep, ...]:
    """Return the irreps that are read after an interaction, by the next one or by the readout."""
    if layer < config.interactions - 1:
        return HIDDEN
    return DIPOLE if config.form == "polarisation" else READOUT


class SquarePlan(NamedTuple):
    """How products of pairs of components are contracted to irreps, one path after the other."""

    inputs: tuple[Irrep, ...]
    """Irreps of the features."""
    needed: tuple[Irrep, ...]
    """Irreps of the result that a later layer reads."""
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
    return SquarePlan(inputs, needed, tuple(outputs), dims, np.concatenate(columns, axis=1))


def change_of_basis(dtype: np.dtype) -> Float[np.ndarray, "9 3 3"]:
    """Compute the orthonormal Q[k] of `Z = sum_k t_k Q[k]`: trace, antisymmetric, symmetric traceless."""
    rows = [np.moveaxis(clebsch_gordan(1, 1, ir.l) * ir.dim**0.5, -1, 0) for ir in READOUT]
    return np.concatenate(rows).astype(dtype)
