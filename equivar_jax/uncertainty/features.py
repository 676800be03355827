"""How far the features of an atom are from those of the training data.

The features after the last interaction are all that the readout of a network sees of an atom. Their
invariants v are the scalars, and the norm over its components of each channel of every other irrep, so that
they are the same in every orientation. The distance is that of Mahalanobis,

    d² = (v - mean)^T C^-1 (v - mean),

with mean and covariance of the training atoms of the element. It is given in units of what 99 of 100 atoms of
the element do not exceed that were held out of training: training points themselves are closer than new ones.
An atom is outside the domain if it is farther than `domain.FAR` such units.

Directions of small variance tell more than those of large ones, which a principal-component analysis would
keep, so the covariance is kept whole. `benchmarks/domain` compares definitions, and measures how well this
one finds large errors.
"""

import base64
import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.config.settings import from_dict
from equivar_jax.kernels.whole_network import Familiar

HELD_OUT = 0.99
"""Share of the held-out atoms of an element whose distance is below 1."""
ENOUGH = 100
"""Held-out atoms of an element from which it has a unit of its own; others take that of all elements."""
MOST_NUMBERS = 60_000
"""Numbers of covariances that are stored at most, in half precision; with more elements all share one."""
RIDGE = 1e-4
"""Added to a covariance, relative to its mean variance."""
SMALLEST = 1e-6
"""Added to a covariance, relative to the mean square of all features: symmetry makes many variances zero."""


class LastFeatures(NamedTuple):
    """Features of atoms after the last interaction of a network."""

    dims: tuple[int, ...]
    """Number of components of each irrep; the first is 0e."""
    species: Int[np.ndarray, " atoms"]
    """Atomic numbers."""
    array: Float[np.ndarray, "atoms components channels"]

    @property
    def invariants(self) -> Float[np.ndarray, "atoms invariants"]:
        """Scalars, then the norms of the channels of every other irrep."""
        scalars, *others = np.split(self.array.astype(np.float64), np.cumsum(self.dims)[:-1], axis=1)
        return np.concatenate(
            [scalars[:, 0], *(np.sqrt(np.square(part).sum(axis=1)) for part in others)], axis=1
        )


class Tables(NamedTuple):
    """The numbers of a `FeatureDomain`."""

    means: Float[np.ndarray, "elements invariants"]
    scales: Float[np.ndarray, " elements"]
    """By which the norm of the whitened invariants is multiplied."""
    factors: Float[np.ndarray, "matrices invariants invariants"]
    """Lower triangular L with L^T L = C^-1; one for each element, or one for all."""


@dataclass(frozen=True)
class FeatureDomain:
    """The last features of the training part of one network; JSON holds it."""

    dims: tuple[int, ...]
    """Number of components of each irrep of the features; the first is 0e."""
    channels: int
    elements: tuple[int, ...]
    """Atomic numbers, in rising order."""
    matrices: int
    """1 if all elements share one covariance, else the number of elements."""
    numbers: str = field(repr=False)
    """Means and scales in single precision, then the lower triangles of the factors in half precision, all
    little endian, in base64."""

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> "FeatureDomain":
        """Make it again of what JSON has made of it; `where` is for the message of an `InputError`."""
        tuples: dict[str, Any] = {
            name: tuple(values[name]) for name in ("dims", "elements") if name in values
        }
        return from_dict(cls, {**values, **tuples}, where)

    @functools.cached_property
    def tables(self) -> Tables:
        """The numbers as arrays."""
        size, elements = self.channels * len(self.dims), len(self.elements)
        stored, single = base64.b64decode(self.numbers), 4 * elements * (size + 1)
        means, scales = np.split(np.frombuffer(stored[:single], "<f4"), [elements * size])
        rows, columns = np.tril_indices(size)
        factors = np.zeros((self.matrices, size, size), np.float32)
        factors[:, rows, columns] = np.frombuffer(stored[single:], "<f2").reshape(self.matrices, -1)
        return Tables(means.reshape(elements, size), scales, factors)

    def written_down(self, species: int, dtype: np.dtype) -> Familiar:
        """Write it down for the C++ functions.

        Args:
            species: Rows of the tables of the network, indexed by atomic number.
            dtype: Precision of the network.
        """
        sizes = (len(self.dims), len(self.elements), self.matrices)
        integers = np.concatenate([sizes, self.dims, self.rows(species)]).astype(np.int32)
        weights = np.concatenate([array.ravel() for array in self.tables]).astype(dtype)
        return Familiar(integers, weights)

    def rows(self, species: int) -> Int[np.ndarray, " species"]:
        """Return the row of each atomic number in the tables; -1 where there is none."""
        found = np.full(species, -1)
        found[list(self.elements)] = np.arange(len(self.elements))
        return found

    def distances(self, features: LastFeatures) -> Float[np.ndarray, " atoms"]:
        """Compute the distance of each atom; infinite if its element was not in the training part.

        What predicts computes the same in C++ (`kernels/cpp/familiarity.h`) or by JAX
        (`prediction/distances.py`).
        """
        found = np.sqrt(np.square(self.whiten(features)).sum(axis=1))
        return np.where(np.isin(features.species, self.elements), found, np.inf)

    def whiten(self, features: LastFeatures) -> Float[np.ndarray, "atoms invariants"]:
        """Return `scale L (v - mean)` of each atom, whose norm is its distance; 0 of an unseen element."""
        invariants = features.invariants
        found = np.zeros_like(invariants)
        for place, element in enumerate(self.elements):
            own = features.species == element
            factor = self.tables.factors[place if self.matrices > 1 else 0].astype(np.float64)
            found[own] = self.tables.scales[place] * ((invariants[own] - self.tables.means[place]) @ factor.T)
        return found


def feature_domain(training: LastFeatures, held_out: LastFeatures) -> FeatureDomain:
    """Measure the domain of a network.

    Args:
        training: Features of atoms that it was trained on.
        held_out: Features of atoms that it was not trained on, which say what distance is usual.
    """
    elements = tuple(np.unique(training.species).tolist())
    invariants = training.invariants
    each = [invariants[training.species == element] for element in elements]
    means = np.stack([own.mean(axis=0) for own in each]).astype(np.float32)
    moments = [(own - mean).T @ (own - mean) for own, mean in zip(each, means, strict=True)]
    size, pooled = invariants.shape[1], sum(moments) / len(invariants)
    covariances = [pooled]
    if len(elements) * size * (size + 1) // 2 <= MOST_NUMBERS:
        # Few atoms say little of a covariance: as many as it has rows are borrowed from all elements.
        covariances = [
            (moment + size * pooled) / (len(own) + size) for own, moment in zip(each, moments, strict=True)
        ]
    smallest = SMALLEST * float(np.mean(np.square(invariants)))
    factors = np.stack([_inverse_root(covariance, smallest) for covariance in covariances])
    # In the unit of the training part, which keeps the numbers of half precision small.
    unscaled = _pack(training.dims, elements, means, np.full(len(elements), size**-0.5), factors)
    scales = size**-0.5 / _units(unscaled, held_out)
    return _pack(training.dims, elements, means, scales, factors)


def _inverse_root(
    covariance: Float[np.ndarray, "invariants invariants"], smallest: float
) -> Float[np.ndarray, "invariants invariants"]:
    """Return the lower triangular L with L^T L = C^-1, for the covariance with its ridge."""
    size = len(covariance)
    ridge = RIDGE * np.trace(covariance) / size + smallest or 1.0  # 1 if there are no features but zeros
    return np.linalg.inv(np.linalg.cholesky(covariance + ridge * np.eye(size)))


def _units(domain: FeatureDomain, held_out: LastFeatures) -> Float[np.ndarray, " elements"]:
    """Return what distance is usual for each element; at least that of the training part, which is 1."""
    distances = domain.distances(held_out)
    known = distances[np.isfinite(distances)]
    general = float(np.quantile(known, HELD_OUT)) if len(known) else 1.0
    found = []
    for element in domain.elements:
        own = distances[held_out.species == element]
        found.append(float(np.quantile(own, HELD_OUT)) if len(own) >= ENOUGH else general)
    return np.maximum(found, 1.0)


def _pack(
    dims: Sequence[int],
    elements: Sequence[int],
    means: Float[np.ndarray, "elements invariants"],
    scales: Float[np.ndarray, " elements"],
    factors: Float[np.ndarray, "matrices invariants invariants"],
) -> FeatureDomain:
    """Make a domain of its numbers."""
    largest = np.finfo(np.float16).max  # of a feature of tiny variance, which the ridge leaves rarely
    triangles = np.clip(factors[(slice(None), *np.tril_indices(factors.shape[-1]))], -largest, largest)
    stored = (
        np.concatenate([means.ravel(), scales]).astype("<f4").tobytes() + triangles.astype("<f2").tobytes()
    )
    channels = means.shape[1] // len(dims)
    return FeatureDomain(
        tuple(dims), channels, tuple(elements), len(factors), base64.b64encode(stored).decode()
    )
