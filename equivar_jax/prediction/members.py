"""Mean and spread of the networks of a checkpoint: a single network, or the members of a committee.

The weights of a committee have a leading axis with one entry for each member. Members differ in the seed that
they were trained from. Their mean is the prediction, and how far they are apart tells how certain it is (see
`equivar_jax.uncertainty.calibration`).
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jraph
import numpy as np
from jaxtyping import Float

from equivar_jax.network.model import Equivar
from equivar_jax.prediction.layerwise import tensors_layer_by_layer
from equivar_jax.uncertainty.calibration import BY_SYMMETRY, Residuals, pool_spread
from equivar_jax.weights.stacking import member_of

Moments = tuple[Float[np.ndarray, "atoms 3 3"], Float[np.ndarray, "atoms 3 3"] | None]
"""Mean of the members before the sum rule, and their spread after it, None for a single network; in e."""
Uncertain = tuple[Float[np.ndarray, "atoms 3 3"], Float[np.ndarray, "atoms 3 3"]]
"""Tensors and the standard deviation of each component, in e."""


class Prediction(NamedTuple):
    """What is predicted for one structure."""

    tensors: Float[np.ndarray, "atoms 3 3"]
    """[atom, field, displacement] in e; the sum rule holds to 1e-8 e."""
    raw: Float[np.ndarray, "atoms 3 3"]
    """The same tensors before the sum rule was applied."""
    spread: Float[np.ndarray, "atoms 3 3"] | None = None
    """Spread over the members of a committee in e, pooled (see `calibration.pool_spread`) but not calibrated;
    None for a single network."""

    @classmethod
    def of(cls, moments: Moments, charge: float) -> "Prediction":
        """Make the prediction from mean and spread of the members, for a cell with this net charge in e."""
        mean, spread = moments
        tensors = impose_sum_rule(mean, charge)
        return cls(tensors, mean, None if spread is None else pool_spread(spread, tensors))


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(model: Equivar, weights, graph, members: int):
    """Compute the tensors [member, node, 3, 3] of a batch before the sum rule, in e.

    There is one compilation for each network, batch shape and number of members, whoever holds the network.
    """
    if members == 1:
        return model.apply(weights, graph)[None]
    return jax.vmap(model.apply, in_axes=(0, None))(weights, graph)


def mean_and_spread(raw: Float[np.ndarray, "members atoms 3 3"]) -> Moments:
    """Compute mean and spread of the tensors that the members predict for one structure, in float64.

    The spread is the standard deviation (n - 1 in the denominator) of each component after the sum rule; None
    for a single network.
    """
    mean = raw.mean(axis=0)
    if len(raw) == 1:
        return mean, None
    return mean, _remove_drift(raw).std(axis=0, ddof=1)


def moments_layer_by_layer(
    model: Equivar, weights: dict, members: int, graph: jraph.GraphsTuple, progress: bool = False
) -> Moments:
    """Compute `mean_and_spread` of a structure of any size, one member after the other (see `layerwise`).

    Mean and spread are accumulated as the members come (Welford's method), so a committee needs the memory of
    one network and three tables of tensors.
    """
    if members == 1:
        return tensors_layer_by_layer(model, weights, graph, progress=progress), None
    mean = np.zeros((len(graph.nodes["species"]), 3, 3))
    centre, squares = np.zeros_like(mean), np.zeros_like(mean)
    for number in range(members):
        one = tensors_layer_by_layer(model, member_of(weights, number), graph, progress=progress)
        mean += (one - mean) / (number + 1)
        one = _remove_drift(one)
        step = one - centre
        centre += step / (number + 1)
        squares += step * (one - centre)
    return mean, np.sqrt(squares / (members - 1))


def residuals_of(found: Sequence[Prediction], labels: Sequence[Float[np.ndarray, "_atoms 3 3"]]) -> Residuals:
    """Compare the predictions of a committee for some structures with their labels.

    Args:
        found: Predictions, with spread.
        labels: Born effective charges of the same structures, [atom, field, displacement] in e.
    """
    tensors = np.concatenate([prediction.tensors for prediction in found])
    spread = np.concatenate([prediction.spread for prediction in found if prediction.spread is not None])
    return Residuals(
        errors=tensors - np.concatenate(labels),
        spread=spread,
        counted=(spread > BY_SYMMETRY) | (np.abs(tensors) > BY_SYMMETRY),
        structure=np.repeat(np.arange(len(found)), [len(prediction.tensors) for prediction in found]),
    )


def impose_sum_rule(tensors: Float[np.ndarray, "atoms 3 3"], charge: float) -> Float[np.ndarray, "atoms 3 3"]:
    """Apply the sum rule to one structure in float64, whatever the precision of the model.

    This is `tensor.apply_sum_rule` for a single structure: every atom gives up an equal share of the excess,
    so that the tensors sum to the net charge in e times the identity.
    """
    return tensors - (tensors.sum(axis=0) - charge * np.eye(3)) / len(tensors)


def _remove_drift(
    tensors: Float[np.ndarray, "*members atoms 3 3"],
) -> Float[np.ndarray, "*members atoms 3 3"]:
    """Apply the sum rule with net charge 0; used for the spread only, where the charge cancels."""
    return tensors - tensors.mean(axis=-3, keepdims=True)
