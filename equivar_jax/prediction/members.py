"""Mean and spread of the networks of a checkpoint: a single network, or the members of a committee.

The weights of a committee have a leading axis with one entry for each member. Members differ in the seed that
they were trained from. Their mean is the prediction, and how far they are apart tells how certain it is (see
`equivar_jax.uncertainty.calibration`).
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.graphs.batch import Sample
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.residuals import BY_SYMMETRY, Residuals, pool_spread

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
    """Spread over the members of a committee in e, pooled (see `residuals.pool_spread`) but not calibrated;
    None for a single network."""
    distances: Float[np.ndarray, " atoms"] | None = None
    """How far the features of each atom are from those of the training data, in units of what 99 % of
    held-out atoms do not exceed (see `equivar_jax.uncertainty.features`); the mean over the members of a
    committee. None if the checkpoint does not know the features of its training data."""

    @classmethod
    def of(
        cls, moments: Moments, charge: float, distances: Float[np.ndarray, " atoms"] | None = None
    ) -> "Prediction":
        """Make the prediction from mean and spread of the members, for a cell with this net charge in e."""
        mean, spread = moments
        tensors = impose_sum_rule(mean, charge)
        return cls(tensors, mean, None if spread is None else pool_spread(spread), distances)

    def sigma(
        self, calibration: Calibration, species: Int[np.ndarray, " atoms"]
    ) -> Float[np.ndarray, "atoms 3 3"]:
        """Return the standard deviation of each component of `tensors`, in e.

        Args:
            calibration: Of the committee that gave this prediction.
            species: Atomic numbers of the structure.
        """
        assert self.spread is not None  # a single network has no calibration
        return calibration.sigma(self.spread, self.tensors, species, self.distances)


@runtime_checkable
class Networks(Protocol):
    """What computes the tensors: `NetworksInCpp` or `NetworksInXla`."""

    def stage(self, samples: Sequence[Sample]) -> Any:
        """Make the batches of samples; another thread may do this ahead of `run`."""

    def run(
        self, samples: Sequence[Sample], staged: Any, progress: bool, advance: Callable[[int], object]
    ) -> list[Prediction]:
        """Predict samples that were staged; see `Predictor.predict_samples`."""

    def dipoles(self, samples: Sequence[Sample], staged: Any) -> list[Float[np.ndarray, "members atoms 3"]]:
        """Compute the dipoles of the atoms of staged samples, of a network in the form of a polarisation."""

    def dielectric(self, samples: Sequence[Sample]) -> Float[np.ndarray, "members structures 3 3"]:
        """Compute the mean over the atoms of the dielectric readout, for each network and structure."""


def predictions_of(
    raw: Float[np.ndarray, "members atoms 3 3"],
    sizes: Sequence[int],
    charges: Sequence[float],
    distances: Float[np.ndarray, "members atoms"] | None = None,
) -> list[Prediction]:
    """Make the predictions for structures that the networks have computed together.

    Args:
        raw: Tensors of each network before the sum rule, one structure after the other, in e.
        sizes: Number of atoms of each structure.
        charges: Net charge of each cell in e.
        distances: Of the features of the atoms from those of the training data, by each network.
    """
    far = None if distances is None else distances.mean(axis=0)
    if len(sizes) == 1:
        spread = _without_drift(raw).std(axis=0, ddof=1) if len(raw) > 1 else None
        return [Prediction.of((raw.mean(axis=0), spread), charges[0], far)]
    counts = np.asarray(sizes)
    starts = np.cumsum(counts) - counts
    owner = np.repeat(np.arange(len(counts)), counts)
    mean = raw.mean(axis=0)
    target = np.asarray(charges)[:, None, None] * np.eye(3)
    excess = (np.add.reduceat(mean, starts) - target) / counts[:, None, None]
    tensors, pooled = mean - excess[owner], None
    if len(raw) > 1:
        drift = np.add.reduceat(raw, starts, axis=1) / counts[:, None, None]
        pooled = pool_spread((raw - drift[:, owner]).std(axis=0, ddof=1))
    cuts = starts[1:]
    columns = (
        [None] * len(sizes) if column is None else np.split(column, cuts)
        for column in (tensors, mean, pooled, far)
    )
    return [Prediction(*parts) for parts in zip(*columns, strict=True)]


def mean_and_spread(raw: Iterable[Float[np.ndarray, "atoms 3 3"]], members: int) -> Moments:
    """Compute mean and spread of the tensors that the members predict for one structure, in float64.

    They are accumulated as the members come (Welford's method), so a committee needs three tables of tensors.

    Args:
        raw: Tensors of each member before the sum rule, in e.
        members: Their number.

    Returns:
        The mean before the sum rule, and the standard deviation (n - 1 in the denominator) of each component
        after it; None for a single network.
    """
    mean = centre = squares = np.zeros(())
    for number, one in enumerate(raw, start=1):
        mean = mean + (one - mean) / number
        if members == 1:
            return mean, None
        without_drift = _without_drift(one)
        step = without_drift - centre
        centre = centre + step / number
        squares = squares + step * (without_drift - centre)
    return mean, np.sqrt(squares / (members - 1))


def residuals_of(
    found: Sequence[Prediction],
    labels: Sequence[Float[np.ndarray, "_atoms 3 3"]],
    species: Sequence[Int[np.ndarray, " _atoms"]],
) -> Residuals:
    """Compare the predictions of a committee for some structures with their labels.

    Args:
        found: Predictions, with spread.
        labels: Born effective charges of the same structures, [atom, field, displacement] in e.
        species: Atomic numbers of the same structures.
    """
    tensors = np.concatenate([prediction.tensors for prediction in found])
    spread = np.concatenate([prediction.spread for prediction in found if prediction.spread is not None])
    far = [prediction.distances for prediction in found if prediction.distances is not None]
    return Residuals(
        errors=tensors - np.concatenate(labels),
        spread=spread,
        counted=(spread > BY_SYMMETRY) | (np.abs(tensors) > BY_SYMMETRY),
        structure=np.repeat(np.arange(len(found)), [len(prediction.tensors) for prediction in found]),
        tensors=tensors,
        species=np.concatenate(species),
        distances=np.concatenate(far) if far else None,
    )


def impose_sum_rule(tensors: Float[np.ndarray, "atoms 3 3"], charge: float) -> Float[np.ndarray, "atoms 3 3"]:
    """Apply the sum rule to one structure in float64, whatever the precision of the model.

    This is `tensor.apply_sum_rule` for a single structure: every atom gives up an equal share of the excess,
    so that the tensors sum to the net charge in e times the identity.
    """
    return tensors - (tensors.sum(axis=0) - charge * np.eye(3)) / len(tensors)


def _without_drift(
    tensors: Float[np.ndarray, "*members atoms 3 3"],
) -> Float[np.ndarray, "*members atoms 3 3"]:
    """Apply the sum rule with net charge 0; used for the spread only, where the charge cancels."""
    return tensors - tensors.mean(axis=-3, keepdims=True)
