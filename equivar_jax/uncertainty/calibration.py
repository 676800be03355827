"""Calibration: the spread of a committee becomes a standard deviation by three numbers.

The numbers are fitted to errors on validation data. The standard deviation of a component Z is
`sigma = scale * (sqrt(spread² + (relative Z)²) + floor)` in e.

- The spread is that of the members, pooled with the spread of the other components of the atom, since the
  standard deviation of three numbers is itself uncertain by a half. See `pool_spread`; its shares are fixed,
  and were chosen on the data that calibrate the weights of the package.
- The relative part is there since, over many compositions, large charges have larger errors than small ones.
  For one material it would hide the spread, and is zero or nearly so: of a few values the likelihood of the
  errors chooses.
- The scale is needed because members that were trained on the same data make similar errors, so that their
  spread is too small by a factor.
- The floor stands for errors that all members share: noise of the labels, what the architecture cannot
  express, and regions where all of them extrapolate alike. With the spread alone, a component on which a few
  members agree by chance would be called certain.

Three numbers leave little room for overfitting; two-fold validation checks this.

The fit puts 68.27 % of the errors within one sigma, exactly, and 95.45 % within two, as nearly as the form
allows. Components that are zero by the symmetry of the crystal are left out: every network gets them right,
and they are many.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from equivar_jax.errors import InputError

WITHIN_ONE, WITHIN_TWO = (math.erf(k / math.sqrt(2.0)) for k in (1, 2))
"""Fractions of a normal distribution within one and two standard deviations: 0.6827 and 0.9545."""
BY_SYMMETRY = 1e-5
"""Spreads and components below this, in e, are zero by symmetry; they differ from zero by rounding only."""
OWN_SHARE = 0.5
"""Share of the component's own variance in the pooled one; the rest is the mean over its atom."""
AGREEMENT = 0.1
"""Spread of a component, relative to that of its atom, below which less of the atom's is pooled.

By chance, three members agree so well in one of a hundred components.
"""
WORTHLESS = 0.2
"""Rank correlation of sigma and error below which an uncertainty says nothing of which atoms are wrong."""
RELATIVE = 0.02
"""The relative part in checkpoints of earlier versions, which did not fit it."""
RELATIVES = (0.0, 0.002, 0.005, 0.01, 0.02, 0.05)
"""Relative parts to try."""
_FLOORS = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 31)])  # floors to try, times the median spread


@dataclass(frozen=True)
class Calibration:
    """The fitted scale, floor and relative part, and how well they describe the errors."""

    scale: float
    """Factor of spread plus floor."""
    floor: float
    """Added to each spread, in e."""
    within_one: float
    """Fraction of the fitted errors within one sigma."""
    within_two: float
    """Fraction of the fitted errors within two sigma."""
    spearman: float
    """Rank correlation over atoms of mean sigma and mean error."""
    components: int
    """Number of components that were fitted."""
    two_fold_one: float | None = None
    """`within_one` with the fit on one half of the structures and the count on the other, and the reverse;
    None if there are too few structures."""
    two_fold_two: float | None = None
    """The same for `within_two`."""
    relative: float = RELATIVE
    """Part of a component that is added to its spread as independent errors are."""

    @property
    def is_worthless(self) -> bool:
        """Whether sigma hardly tells atoms with large errors from others."""
        return self.spearman < WORTHLESS

    def sigma(
        self, spread: Float[np.ndarray, "*any"], tensors: Float[np.ndarray, "*any"]
    ) -> Float[np.ndarray, "*any"]:
        """Return the standard deviation of each component, in e.

        Args:
            spread: Pooled spread of the component, in e.
            tensors: The component itself, in e.
        """
        return Fit(self.scale, self.floor, self.relative).sigma(spread, tensors)

    def table(self, unit: str = " e", whose: str = "atom") -> str:
        """Format the numbers as text.

        Args:
            unit: Of the tensors, with a space before it.
            whose: What has a tensor.
        """
        lines = ["                fitted   two-fold  expected"]
        rows = (
            (1, self.within_one, self.two_fold_one, WITHIN_ONE),
            (2, self.within_two, self.two_fold_two, WITHIN_TWO),
        )
        for k, fitted, held_out, expected in rows:
            held = "-" if held_out is None else f"{100 * held_out:.1f} %"
            lines.append(f"within {k} sigma {100 * fitted:6.1f} %  {held:>8}  {100 * expected:6.1f} %")
        lines.append(f"Spearman correlation of sigma and error, by {whose}: {self.spearman:.2f}")
        lines.append(
            f"sigma = {self.scale:.3g} (spread + {self.floor:.3g}{unit}), {self.components:,} components"
            + f"; the spread with {100 * self.relative:g} % of the component" * (self.relative > 0)
        )
        if self.is_worthless:
            lines.append(
                f"THIS UNCERTAINTY IS WORTHLESS: a correlation below {WORTHLESS} means that sigma does not "
                f"tell {whose}s with large errors from others; train longer, or calibrate on more or more "
                "varied data; the distance from the training data does not depend on it"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class CoverageSummary:
    """How good the uncertainties of a committee are on labelled data."""

    within_one: float
    """Fraction of the errors within one sigma."""
    within_two: float
    """Fraction of the errors within two sigma."""
    spearman: float
    """Rank correlation over atoms of mean sigma and mean error."""
    components: int
    """Number of components that were counted."""

    def __str__(self) -> str:
        return (
            f"Uncertainty: {100 * self.within_one:.1f} % of the errors within sigma, "
            f"{100 * self.within_two:.1f} % within 2 sigma (expected {100 * WITHIN_ONE:.1f} and "
            f"{100 * WITHIN_TWO:.1f} %); Spearman correlation of sigma and error, by atom: "
            f"{self.spearman:.2f}"
        )


def pool_spread(spread: Float[np.ndarray, "*any 3 3"]) -> Float[np.ndarray, "*any 3 3"]:
    """Pool the spread of a component with that of its atom.

    `s'² = s² / 2 + min(m, 10 s)² / 2`, where m² is the mean of s² over the nine components. The `min` keeps
    the spread zero where the members agree by symmetry, and it is continuous as a crystal is distorted.

    Args:
        spread: Standard deviation s of each component over the members, in e.

    Returns:
        The pooled spread s', in e.
    """
    of_atom = np.sqrt(np.mean(spread**2, axis=(-2, -1), keepdims=True))
    shared = np.minimum(of_atom, spread / AGREEMENT)
    return np.sqrt(OWN_SHARE * spread**2 + (1 - OWN_SHARE) * shared**2)


class Residuals(NamedTuple):
    """Errors and spreads of a committee on labelled data."""

    errors: Float[np.ndarray, "atoms 3 3"]
    """Prediction minus reference, in e."""
    spread: Float[np.ndarray, "atoms 3 3"]
    """Spread from `pool_spread`, in e."""
    counted: Bool[np.ndarray, "atoms 3 3"]
    """False for components that are zero by symmetry."""
    structure: Int[np.ndarray, " atoms"]
    """Number of the structure that an atom belongs to."""
    tensors: Float[np.ndarray, "atoms 3 3"]
    """Prediction, in e."""


class Fit(NamedTuple):
    """What is fitted: see the module."""

    scale: float
    floor: float
    relative: float

    def sigma(
        self, spread: Float[np.ndarray, "*any"], tensors: Float[np.ndarray, "*any"]
    ) -> Float[np.ndarray, "*any"]:
        """Return the standard deviation of components, in e."""
        return self.scale * (np.hypot(spread, self.relative * tensors) + self.floor)


def calibrate(residuals: Residuals) -> Calibration:
    """Fit scale, floor and relative part, and count the errors within one and two sigma.

    Raises:
        InputError: All components are zero by symmetry, so that there is nothing to fit.
    """
    errors, spread, tensors = (
        array[residuals.counted] for array in (residuals.errors, residuals.spread, residuals.tensors)
    )
    if not len(errors):
        raise InputError(
            "the validation data have no components to calibrate on: all are zero by symmetry; "
            "give other data"
        )
    fitted = fit_all(errors, spread, tensors)
    ratios = errors_in_sigmas(errors, fitted.sigma(spread, tensors))
    held_out = two_fold_ratios(residuals)
    return Calibration(
        fitted.scale,
        fitted.floor,
        coverage(ratios, 1),
        coverage(ratios, 2),
        _rank_correlation(residuals, fitted.sigma(residuals.spread, residuals.tensors)),
        len(errors),
        two_fold_one=None if held_out is None else coverage(held_out, 1),
        two_fold_two=None if held_out is None else coverage(held_out, 2),
        relative=fitted.relative,
    )


def summarise_coverage(residuals: Residuals, calibration: Calibration) -> CoverageSummary | None:
    """Summarise how well a calibration describes the errors on other data.

    Returns:
        The summary; None if all components are zero by symmetry.
    """
    counted = residuals.counted
    if not counted.any():
        return None
    sigma = calibration.sigma(residuals.spread, residuals.tensors)
    ratios = errors_in_sigmas(residuals.errors[counted], sigma[counted])
    correlation = _rank_correlation(residuals, sigma)
    return CoverageSummary(coverage(ratios, 1), coverage(ratios, 2), correlation, len(ratios))


def fit_all(
    errors: Float[np.ndarray, " components"],
    spread: Float[np.ndarray, " components"],
    tensors: Float[np.ndarray, " components"],
) -> Fit:
    """Fit scale, floor and relative part; the last by the likelihood of the errors, were they normal."""
    found = []
    for relative in RELATIVES:
        scale, floor = fit(errors, np.hypot(spread, relative * tensors))
        fitted = Fit(scale, floor, relative)
        sigma = fitted.sigma(spread, tensors)
        ratios = errors_in_sigmas(errors, sigma)
        surprise = np.mean(np.log(sigma, out=np.zeros_like(sigma), where=sigma > 0) + ratios**2 / 2)
        found.append((surprise, fitted))
    return min(found, key=lambda entry: entry[0])[1]  # of equals the smallest relative part


def fit(
    errors: Float[np.ndarray, " components"], spread: Float[np.ndarray, " components"]
) -> tuple[float, float]:
    """Fit the scale and the floor in e (see the module) to errors and spreads in e."""
    errors = np.abs(errors)
    positive = next((some for x in (spread, errors) if len(some := x[x > 0])), np.ones(1))
    found = []
    for floor in (np.median(positive) * _FLOORS).tolist():
        ratios = errors_in_sigmas(errors, spread + floor)
        scale = float(np.quantile(ratios, WITHIN_ONE, method="inverted_cdf"))
        if np.isfinite(scale):  # it is infinite if there is no floor and too many spreads are zero
            found.append((abs(coverage(ratios, 2 * scale) - WITHIN_TWO), scale, floor))
    _, scale, floor = min(found, key=lambda entry: entry[0])  # of equals the lowest floor
    return scale, floor


def two_fold_ratios(residuals: Residuals) -> Float[np.ndarray, " components"] | None:
    """Compute errors in units of sigma, with sigma fitted on the other half of the structures.

    Returns:
        |error| / sigma of the components of both halves; None if a half has no components to fit, as with
        fewer than two structures.
    """
    structures = np.unique(residuals.structure)
    if len(structures) < 2:
        return None
    first = np.random.default_rng(0).permutation(structures)[::2]
    counted = residuals.counted
    in_first = np.broadcast_to(np.isin(residuals.structure, first)[:, None, None], counted.shape)
    halves = [counted & in_first, counted & ~in_first]
    if not all(half.any() for half in halves):
        return None
    ratios = []
    for fitted, measured in (halves, halves[::-1]):
        errors, spread, tensors = residuals.errors, residuals.spread, residuals.tensors
        found = fit_all(errors[fitted], spread[fitted], tensors[fitted])
        sigma = found.sigma(spread[measured], tensors[measured])
        ratios.append(errors_in_sigmas(errors[measured], sigma))
    return np.concatenate(ratios)


def errors_in_sigmas(
    errors: Float[np.ndarray, " components"], sigma: Float[np.ndarray, " components"]
) -> Float[np.ndarray, " components"]:
    """Return |error| / sigma: 0 if the error is zero, and infinity if only sigma is zero."""
    errors = np.abs(errors)
    return np.divide(errors, sigma, out=np.where(errors > 0, np.inf, 0.0), where=sigma > 0)


def coverage(ratios: Float[np.ndarray, " components"], k: int | float) -> float:
    """Return the fraction of errors within k sigma, for errors in units of sigma."""
    return float(np.mean(ratios <= k))


def _rank_correlation(residuals: Residuals, sigmas: Float[np.ndarray, "atoms 3 3"]) -> float:
    """Compute the rank correlation over atoms of mean sigma and mean error; 0 if one of them is constant."""
    from scipy.stats import spearmanr  # takes half a second, and predictions do not need it

    sigma = sigmas.mean(axis=(1, 2))
    errors = np.abs(residuals.errors).mean(axis=(1, 2))
    if np.ptp(sigma) == 0 or np.ptp(errors) == 0:
        return 0.0
    return float(spearmanr(sigma, errors).statistic)
