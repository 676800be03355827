"""Definitions of the distance of an atom from the training data, by the last features of a network.

Each is a function of the features of the training part and of other atoms of the same element, and returns a
number for each of the latter. `in_units` makes the distances of different elements comparable.
"""

from collections.abc import Callable, Mapping

import numpy as np
from jaxtyping import Float
from scipy.spatial import cKDTree

from equivar_jax.uncertainty.features import HELD_OUT, RIDGE, LastFeatures

Distance = Callable[[LastFeatures, LastFeatures], Float[np.ndarray, " atoms"]]


def _whitening(rows: Float[np.ndarray, "atoms n"], keep: int | None = None) -> Float[np.ndarray, "n kept"]:
    """Return the directions of largest variance, divided by their standard deviations; all without `keep`."""
    covariance = rows.T @ rows / len(rows)
    variances, directions = np.linalg.eigh(covariance)
    order = np.argsort(-variances)[:keep]
    return directions[:, order] / np.sqrt(variances[order] + RIDGE * variances.mean())


def _mahalanobis(
    known: np.ndarray, other: np.ndarray, keep: int | None = None
) -> Float[np.ndarray, " atoms"]:
    mean = known.mean(axis=0)
    return np.linalg.norm((other - mean) @ _whitening(known - mean, keep), axis=1)


def norms(known: LastFeatures, other: LastFeatures) -> Float[np.ndarray, " atoms"]:
    """Take the distance that the package uses: scalars and norms, covariance whole."""
    return _mahalanobis(known.invariants, other.invariants)


def principal(known: LastFeatures, other: LastFeatures) -> Float[np.ndarray, " atoms"]:
    """Keep the 16 directions of the scalars and norms in which the training part spreads most."""
    return _mahalanobis(known.invariants, other.invariants, 16)


def scalars(known: LastFeatures, other: LastFeatures) -> Float[np.ndarray, " atoms"]:
    """Leave the norms out."""
    return _mahalanobis(known.array[:, 0].astype(float), other.array[:, 0].astype(float))


def rigidity(known: LastFeatures, other: LastFeatures) -> Float[np.ndarray, " atoms"]:
    """Use the covariance of the channels of each irrep, over atoms and components: no norms.

    For a linear readout this is, up to a factor, the standard deviation of Bayesian regression (Bigi, Chong,
    Ceriotti and Grasselli, Mach. Learn.: Sci. Technol. 5, 045018 (2024)).
    """
    total, cuts = np.zeros(len(other.array)), np.cumsum(known.dims)[:-1]
    parts = (np.split(one.array.astype(float), cuts, axis=1) for one in (known, other))
    for number, (ours, theirs) in enumerate(zip(*parts, strict=True)):
        mean = ours.mean(axis=0) if number == 0 else 0.0  # that of other irreps is zero over all orientations
        whitening = _whitening((ours - mean).reshape(-1, ours.shape[2]))
        total += np.square((theirs - mean) @ whitening).sum(axis=(1, 2))
    return np.sqrt(total)


def neighbours(known: LastFeatures, other: LastFeatures) -> Float[np.ndarray, " atoms"]:
    """Take the mean distance of the five nearest training atoms, in whitened scalars and norms."""
    mean = known.invariants.mean(axis=0)
    whitening = _whitening(known.invariants - mean)
    tree = cKDTree((known.invariants - mean) @ whitening)
    return np.asarray(tree.query((other.invariants - mean) @ whitening, 5)[0]).mean(axis=1)


DEFINITIONS: Mapping[str, Distance] = {
    one.__name__: one for one in (norms, principal, scalars, rigidity, neighbours)
}


def in_units(
    distance: Distance, training: LastFeatures, held_out: LastFeatures, other: LastFeatures
) -> Float[np.ndarray, " atoms"]:
    """Return the distances of atoms, in units of what 99 % of the held-out atoms of their element have."""
    found = np.zeros(len(other.species))
    for element in np.unique(training.species):
        own = [
            LastFeatures(part.dims, part.species[chosen], part.array[chosen])
            for part in (training, held_out, other)
            for chosen in [part.species == element]
        ]
        unit = np.quantile(distance(own[0], own[1]), HELD_OUT)
        found[other.species == element] = distance(own[0], own[2]) / unit
    return found
