"""Distances of features from those of the training data, by JAX: what `uncertainty.features` defines."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from equivar_jax.network.features import Features, matmul
from equivar_jax.uncertainty.features import FeatureDomain


class Known(NamedTuple):
    """The features of the training data of each network of a checkpoint; the axis of members is leading."""

    element_of: Int[Array, "members species"]
    """Row of each element in the other tables; -1 for one that was not seen."""
    means: Float[Array, "members elements invariants"]
    scales: Float[Array, "members elements"]
    factors: Float[Array, "members matrices invariants invariants"]


def known_of(features: Sequence[FeatureDomain], species: int, dtype: np.dtype) -> Known:
    """Join the features of the training data of the networks of a checkpoint.

    Args:
        features: One for each network; all have the same elements.
        species: Rows of the tables of the networks, indexed by atomic number.
        dtype: Precision of the networks.
    """
    rows = jnp.asarray(np.stack([one.rows(species) for one in features]))
    tables = zip(*(one.tables for one in features), strict=True)
    return Known(rows, *(jnp.asarray(np.stack(arrays), dtype) for arrays in tables))


def distances(features: Features, species: Int[Array, " nodes"], known: Known) -> Float[Array, " nodes"]:
    """Compute the distance of each node; infinite for an element that was not seen.

    Args:
        features: After the last interaction.
        species: Atomic numbers of the nodes.
        known: Of one network, without the axis of members.
    """
    scalars, *others = features.parts().values()
    invariants = jnp.concatenate(
        [scalars[:, 0], *(jnp.sqrt(jnp.sum(part**2, axis=1)) for part in others)], axis=1
    )
    place = known.element_of[species]
    row = jnp.maximum(place, 0)
    centred, squares = invariants - known.means[row], jnp.zeros(len(species), invariants.dtype)
    for matrix, factor in enumerate(known.factors):
        own = jnp.sum(matmul(centred, factor.T) ** 2, axis=1)
        squares = own if len(known.factors) == 1 else jnp.where(row == matrix, own, squares)
    return jnp.where(place < 0, jnp.inf, known.scales[row] * jnp.sqrt(squares))
