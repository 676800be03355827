"""Fits of the numbers of a calibration to errors; see `calibration` for what they mean."""

import itertools
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

WITHIN_ONE, WITHIN_TWO = (math.erf(k / math.sqrt(2.0)) for k in (1, 2))
"""Fractions of a normal distribution within one and two standard deviations: 0.6827 and 0.9545."""
RELATIVES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Relative parts to try."""
GROWTHS = (0.0, 0.5, 1.0)
"""Growths with the distance to try. With larger ones sigma is nearly proportional to the distance, and where
all atoms are somewhat farther too many of them are warned of."""
MOST = 10_000
"""Components by which relative part and growth are chosen, about; of more, evenly spaced ones are taken."""
ENOUGH = 300
"""Components of an element from which it has a factor of its own."""
UNSEEN = 3.0
"""The distance that stands for an infinite one, that of an element that training did not have."""
_FLOORS = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 31)])  # floors to try, times the median spread


class Components(NamedTuple):
    """Components of tensors of which the error is known."""

    errors: Float[np.ndarray, " components"]
    """Prediction minus reference, in e."""
    spread: Float[np.ndarray, " components"]
    """Pooled spread, in e."""
    tensors: Float[np.ndarray, " components"]
    """Prediction, in e."""
    species: Int[np.ndarray, " components"] | None = None
    """Atomic number of the atom of each component; None if it is not known."""
    distances: Float[np.ndarray, " components"] | None = None
    """Distance of the atom of each component from the training data; None if it is not known."""

    def thin_out(self, most: int) -> "Components":
        """Return about so many of them at most, evenly spaced."""
        # Not by a multiple of nine, so that of many atoms every component is among them.
        step = max(1, len(self.errors) // most)
        step += step % 3 == 0
        species = None if self.species is None else self.species[::step]
        distances = None if self.distances is None else self.distances[::step]
        return Components(self.errors[::step], self.spread[::step], self.tensors[::step], species, distances)


class Fit(NamedTuple):
    """What is fitted: see `calibration`."""

    scale: float
    floor: float
    relative: float
    growth: float = 0.0
    elements: Mapping[int, float] = MappingProxyType({})
    """Factors by atomic number; of others it is one."""

    def base(
        self, spread: Float[np.ndarray, "*any"], tensors: Float[np.ndarray, "*any"]
    ) -> Float[np.ndarray, "*any"]:
        """Return the standard deviation of components for a factor of one, in e."""
        return self.scale * (np.hypot(spread, self.relative * tensors) + self.floor)

    def factors(
        self, species: Int[np.ndarray, "*any"] | None, distances: Float[np.ndarray, "*any"] | None
    ) -> Float[np.ndarray, "*any"] | float:
        """Return the factor of sigma that its element and its distance give an atom.

        Without species all factors of elements are one; without distances all atoms count as at distance 1.
        """
        factors = growth_factors(self.growth, distances)
        if species is None:
            return factors
        table = np.ones(1 + max(species.max(initial=0), *self.elements, 0))
        table[list(self.elements)] = list(self.elements.values())
        return factors * table[species]

    def sigma_of(self, components: Components) -> Float[np.ndarray, " components"]:
        """Return the standard deviation of components, in e."""
        factors = self.factors(components.species, components.distances)
        return factors * self.base(components.spread, components.tensors)


def growth_factors(
    growth: float, distances: Float[np.ndarray, "*any"] | None
) -> Float[np.ndarray, "*any"] | float:
    """Return `1 + growth d`, where `UNSEEN` stands for a distance d that is infinite, and 1 for none."""
    if distances is None:
        return 1.0 + growth
    return 1.0 + growth * np.where(np.isfinite(distances), distances, UNSEEN)


def fit_all(components: Components) -> Fit:
    """Fit all numbers; relative part and growth by the likelihood of the errors, were they normal."""
    some, found = components.thin_out(MOST), []
    growths = GROWTHS if components.distances is not None else GROWTHS[:1]
    for relative, growth in itertools.product(RELATIVES, growths):
        sigma = fit_factors(some, relative, growth).sigma_of(some)
        ratios = errors_in_sigmas(some.errors, sigma)
        surprise = np.mean(np.log(sigma, out=np.zeros_like(sigma), where=sigma > 0) + ratios**2 / 2)
        found.append((surprise, relative, growth))
    _, relative, growth = min(found)  # of equals the smallest numbers
    return fit_factors(components, relative, growth)


def fit_factors(components: Components, relative: float, growth: float) -> Fit:
    """Fit scale, floor and the factors of elements for a relative part and a growth.

    Elements with a factor, and all others together, each have the `smallest_scale` of their components.
    """
    errors = components.errors / growth_factors(growth, components.distances)
    spread = np.hypot(components.spread, relative * components.tensors)
    scale, floor = fit(errors, spread)
    if components.species is None or scale == 0:
        return Fit(scale, floor, relative, growth)
    # Elements that differ are no reason for a floor, so it is fitted anew to what their scales leave.
    scales = _scales(errors_in_sigmas(errors, spread + floor), components.species)
    _, floor = fit(errors / scales[components.species], spread)
    scales = _scales(errors_in_sigmas(errors, spread + floor), components.species)
    elements, counts = np.unique(components.species, return_counts=True)
    own = elements[counts >= ENOUGH]
    factors = (scales[own] / scales[-1]).tolist()
    return Fit(float(scales[-1]), floor, relative, growth, dict(zip(own.tolist(), factors, strict=True)))


def _scales(
    ratios: Float[np.ndarray, " components"], species: Int[np.ndarray, " components"]
) -> Float[np.ndarray, " species"]:
    """Return the scale of each atomic number, and at the end that of elements without one of their own.

    Args:
        ratios: Errors in units of sigma for a scale of one.
        species: Atomic numbers.
    """
    elements, counts = np.unique(species, return_counts=True)
    enough = elements[counts >= ENOUGH]
    others = ratios[~np.isin(species, enough)]
    scales = np.full(elements[-1] + 2, smallest_scale(others if len(others) >= ENOUGH else ratios))
    for element in enough:
        own = smallest_scale(ratios[species == element])
        scales[element] = own if own > 0 else scales[-1]
    return scales


def fit(
    errors: Float[np.ndarray, " components"], spread: Float[np.ndarray, " components"]
) -> tuple[float, float]:
    """Fit the scale and the floor in e (see `calibration`) to errors and spreads in e."""
    errors = np.abs(errors)
    positive = next((some for x in (spread, errors) if len(some := x[x > 0])), np.ones(1))
    found = []
    for floor in (np.median(positive) * _FLOORS).tolist():
        ratios = errors_in_sigmas(errors, spread + floor)
        one, two = _quantiles(ratios)
        if np.isfinite(two):  # it is infinite if there is no floor and too many spreads are zero
            found.append((abs(coverage(ratios, 2 * one) - WITHIN_TWO), max(one, two / 2), floor))
    _, scale, floor = min(found, key=lambda entry: entry[0])  # of equals the lowest floor
    return scale, floor


def smallest_scale(ratios: Float[np.ndarray, " components"]) -> float:
    """Return the smallest scale with 68.27 % of the errors within one sigma, and 95.45 % within two.

    Args:
        ratios: Errors in units of sigma for a scale of one.
    """
    one, two = _quantiles(ratios)
    return max(one, two / 2)


def _quantiles(ratios: Float[np.ndarray, " components"]) -> tuple[float, float]:
    """Return what 68.27 % and 95.45 % of the numbers do not exceed."""
    ranks = [math.ceil(share * len(ratios)) - 1 for share in (WITHIN_ONE, WITHIN_TWO)]
    one, two = np.partition(ratios, ranks)[ranks].tolist()
    return one, two


def errors_in_sigmas(
    errors: Float[np.ndarray, " components"], sigma: Float[np.ndarray, " components"]
) -> Float[np.ndarray, " components"]:
    """Return |error| / sigma: 0 if the error is zero, and infinity if only sigma is zero."""
    errors = np.abs(errors)
    return np.divide(errors, sigma, out=np.where(errors > 0, np.inf, 0.0), where=sigma > 0)


def coverage(ratios: Float[np.ndarray, "*any"], k: int | float) -> float:
    """Return the fraction of errors within k sigma, for errors in units of sigma."""
    return float(np.mean(ratios <= k))
