"""From the spread of a committee to a standard deviation: two numbers, fitted to errors on validation data.

Of each component, `sigma = scale * (spread + floor)` in e. The spread is that of the members, steadied by
what they say of the whole atom, since the standard deviation of three numbers is itself uncertain by a half;
and it is two per cent of the component at least, since large charges are in error by more than small ones
(see `pooled`; these shares are fixed, and were chosen on the data that calibrate the weights of the package).
The scale is there because members that were trained on the same data err together, so that their
spread is too small by a factor. The floor is there for what all members share: noise of the labels, what the
architecture cannot express, and regions where all of them extrapolate alike; with the spread alone, a
component on which few members agree by chance would be called certain. Two numbers cannot be fitted to much
else than this, which two-fold validation checks.

Fitted are the 68.27 % of errors within one sigma, exactly, and the 95.45 % within two, as nearly as the form
allows. Components that are zero by the symmetry of the crystal, for every network, are left out: they are
easily right, and many.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import erf

from equivar_jax.errors import InputError

WITHIN_ONE, WITHIN_TWO = (float(erf(k / np.sqrt(2.0))) for k in (1, 2))
"""Fractions of a normal distribution: 0.6827, 0.9545."""
BY_SYMMETRY = 1e-5
"""Spreads and components below this, in e, are rounding about zero."""
OWN_SHARE = 0.5
"""Of a component's variance in what is pooled; the other half is the mean over its atom."""
AGREEMENT = 0.1
"""Three members agree so well, in units of the atom's spread, in one of a hundred components by chance."""
RELATIVE = 0.02
"""The spread is at least this fraction of the component; by the likelihood of errors on held-out data."""
_FLOORS = np.concatenate([[0.0], np.geomspace(0.01, 10.0, 31)])  # times the median spread


@dataclass(frozen=True)
class Calibration:
    """How spreads become standard deviations, and how well they do."""

    scale: float
    floor: float
    """In e."""
    within_one: float
    """Fraction of the errors that were fitted within one sigma."""
    within_two: float
    spearman: float
    """Rank correlation over atoms of mean sigma and mean error."""
    components: int
    """That were fitted."""
    two_fold_one: float | None = None
    """`within_one`, fitted on one half of the structures and counted on the other; None: too few."""
    two_fold_two: float | None = None

    def sigma(self, spread: Float[np.ndarray, "*any"]) -> Float[np.ndarray, "*any"]:
        """Standard deviation of each component in e."""
        return self.scale * (spread + self.floor)

    def table(self) -> str:
        """The numbers as text."""
        lines = ["                fitted   two-fold  expected"]
        rows = (
            (1, self.within_one, self.two_fold_one, WITHIN_ONE),
            (2, self.within_two, self.two_fold_two, WITHIN_TWO),
        )
        for k, fitted, held_out, expected in rows:
            held = "-" if held_out is None else f"{100 * held_out:.1f} %"
            lines.append(f"within {k} sigma {100 * fitted:6.1f} %  {held:>8}  {100 * expected:6.1f} %")
        lines.append(f"Spearman correlation of sigma and error, by atom: {self.spearman:.2f}")
        lines.append(
            f"sigma = {self.scale:.3g} (spread + {self.floor:.3g} e), {self.components:,} components"
        )
        return "\n".join(lines)


@dataclass(frozen=True)
class CoverageSummary:
    """How good the uncertainties of a committee are on labelled data."""

    within_one: float
    """Fraction of the errors within one sigma."""
    within_two: float
    spearman: float
    """Rank correlation over atoms of mean sigma and mean error."""
    components: int

    def __str__(self) -> str:
        return (
            f"Uncertainty: {100 * self.within_one:.1f} % of the errors within sigma, "
            f"{100 * self.within_two:.1f} % within 2 sigma (expected {100 * WITHIN_ONE:.1f} and "
            f"{100 * WITHIN_TWO:.1f} %); Spearman correlation of sigma and error, by atom: "
            f"{self.spearman:.2f}"
        )


def pooled(
    spread: Float[np.ndarray, "*any 3 3"], tensors: Float[np.ndarray, "*any 3 3"]
) -> Float[np.ndarray, "*any 3 3"]:
    """Standard deviations over few members, steadied by the atom's other components and the component itself.

    `s'² = s² / 2 + min(m, 10 s)² / 2 + (0.02 Z)²`, where m² is the mean of s² over the nine components. The
    `min` keeps zero where the members agree by symmetry, and is continuous as a crystal is distorted.

    Args:
        spread: s of each component, in e.
        tensors: Z, the mean of the members, in e.
    """
    of_atom = np.sqrt(np.mean(spread**2, axis=(-2, -1), keepdims=True))
    shared = np.minimum(of_atom, spread / AGREEMENT)
    return np.sqrt(OWN_SHARE * spread**2 + (1 - OWN_SHARE) * shared**2 + (RELATIVE * tensors) ** 2)


class Residuals(NamedTuple):
    """What a committee gets wrong on labelled data."""

    errors: Float[np.ndarray, "atoms 3 3"]
    """Predicted less reference, in e."""
    spread: Float[np.ndarray, "atoms 3 3"]
    """As `pooled` gives it, in e."""
    counted: Bool[np.ndarray, "atoms 3 3"]
    """False for components that are zero by symmetry."""
    structure: Int[np.ndarray, " atoms"]
    """To which an atom belongs."""


def calibrate(residuals: Residuals) -> Calibration:
    """Fit scale and floor, and count what they cover.

    Raises:
        InputError: nothing to fit.
    """
    errors, spread = np.abs(residuals.errors[residuals.counted]), residuals.spread[residuals.counted]
    if not len(errors):
        raise InputError("no components to calibrate on: all are zero by symmetry; give other data")
    scale, floor = fit(errors, spread)
    ratios = in_sigmas(errors, scale * (spread + floor))
    held_out = two_fold(residuals)
    return Calibration(
        scale,
        floor,
        coverage(ratios, 1),
        coverage(ratios, 2),
        _rank_correlation(residuals, scale, floor),
        len(errors),
        *(None if held_out is None else coverage(held_out, k) for k in (1, 2)),
    )


def covered(residuals: Residuals, calibration: Calibration) -> CoverageSummary | None:
    """What an earlier calibration covers of other data; None if all components are zero by symmetry."""
    counted = residuals.counted
    if not counted.any():
        return None
    ratios = in_sigmas(residuals.errors[counted], calibration.sigma(residuals.spread[counted]))
    correlation = _rank_correlation(residuals, calibration.scale, calibration.floor)
    return CoverageSummary(coverage(ratios, 1), coverage(ratios, 2), correlation, len(ratios))


def fit(
    errors: Float[np.ndarray, " components"], spread: Float[np.ndarray, " components"]
) -> tuple[float, float]:
    """Scale and floor (see the module)."""
    errors = np.abs(errors)
    positive = next((some for x in (spread, errors) if len(some := x[x > 0])), np.ones(1))
    found = []
    for floor in (np.median(positive) * _FLOORS).tolist():
        ratios = in_sigmas(errors, spread + floor)
        scale = float(np.quantile(ratios, WITHIN_ONE, method="inverted_cdf"))
        if np.isfinite(scale):  # without a floor, a spread of zero covers no error at all
            found.append((abs(coverage(ratios, 2 * scale) - WITHIN_TWO), scale, floor))
    _, scale, floor = min(found, key=lambda entry: entry[0])  # of equals the lowest floor
    return scale, floor


def two_fold(residuals: Residuals) -> Float[np.ndarray, " components"] | None:
    """Errors over sigma with sigma fitted on the other half of the structures; None of fewer than two."""
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
        scale, floor = fit(residuals.errors[fitted], residuals.spread[fitted])
        ratios.append(in_sigmas(residuals.errors[measured], scale * (residuals.spread[measured] + floor)))
    return np.concatenate(ratios)


def in_sigmas(
    errors: Float[np.ndarray, " components"], sigma: Float[np.ndarray, " components"]
) -> Float[np.ndarray, " components"]:
    """|error| / sigma; no error is zero whatever sigma, an error without sigma infinite."""
    errors = np.abs(errors)
    return np.divide(errors, sigma, out=np.where(errors > 0, np.inf, 0.0), where=sigma > 0)


def coverage(ratios: Float[np.ndarray, " components"], k: int | float) -> float:
    """Fraction of errors within k sigma."""
    return float(np.mean(ratios <= k))


def _rank_correlation(residuals: Residuals, scale: float, floor: float) -> float:
    """Over atoms, of mean sigma and mean error; 0 where one of them is the same for all."""
    from scipy.stats import spearmanr  # takes half a second, and predictions do not need it

    sigma = scale * (residuals.spread + floor).mean(axis=(1, 2))
    errors = np.abs(residuals.errors).mean(axis=(1, 2))
    if np.ptp(sigma) == 0 or np.ptp(errors) == 0:
        return 0.0
    return float(spearmanr(sigma, errors).statistic)
