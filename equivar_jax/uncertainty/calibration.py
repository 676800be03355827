"""Calibration: the spread of a committee becomes a standard deviation by a few numbers.

The numbers are fitted to errors on validation data. The standard deviation of a component Z is
`sigma = scale * (sqrt(spread² + (relative Z)²) + floor) * (1 + growth d) * factor` in e.

- The spread is that of the members, pooled with the spread of the other components of the atom, since the
  standard deviation of three numbers is itself uncertain by a half. See `residuals.pool_spread`; its shares
  are fixed, and were chosen on the data that calibrate the weights of the package.
- The relative part is there since, over many compositions, large charges have larger errors than small ones.
  For one material it would hide the spread, and is zero or nearly so: of a few values the likelihood of the
  errors chooses.
- The scale is needed because members that were trained on the same data make similar errors, so that their
  spread is too small by a factor.
- The floor stands for errors that all members share: noise of the labels, what the architecture cannot
  express, and regions where all of them extrapolate alike. With the spread alone, a component on which a few
  members agree by chance would be called certain.
- The growth with the distance d of an atom from the training data (see `features`): among validation data,
  too, atoms that are farther out have larger errors than their spread tells, and beyond these data the line
  goes on. Of a few values the likelihood chooses, zero among them; it is zero if no distance is known.
- The factor is of the element, where the validation data have enough of it, and one else. In BaTiO3, titanium
  is harder than its spread tells, and barium easier.

So few numbers leave little room for overfitting; two-fold validation checks this.

The fit (see `fits`) puts at least 68.27 % of the errors within one sigma and at least 95.45 % within two, of
all and of every element that has a factor, and no more than needed: where large errors are more frequent than
in a normal distribution, two sigma holds and one is generous. The floor brings both shares together as nearly
as the form allows. Components that are zero by the symmetry of the crystal are left out: every network gets
them right, and they are many.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from ase.data import chemical_symbols
from jaxtyping import Float, Int

from equivar_jax.errors import InputError
from equivar_jax.uncertainty.fits import (
    WITHIN_ONE,
    WITHIN_TWO,
    Fit,
    coverage,
    errors_in_sigmas,
    fit_all,
)
from equivar_jax.uncertainty.residuals import Residuals

WORTHLESS = 0.2
"""Rank correlation of sigma and error below which an uncertainty says nothing of which atoms are wrong."""
RELATIVE = 0.02
"""The relative part in checkpoints of earlier versions, which did not fit it."""


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
    growth: float = 0.0
    """By what sigma grows with the distance of an atom from the training data."""
    elements: dict[str, float] = field(default_factory=dict)
    """Factors of sigma by element; of others it is one."""

    @property
    def is_worthless(self) -> bool:
        """Whether sigma hardly tells atoms with large errors from others."""
        return self.spearman < WORTHLESS

    def sigma(
        self,
        spread: Float[np.ndarray, "*any"],
        tensors: Float[np.ndarray, "*any"],
        species: Int[np.ndarray, " atoms"] | None = None,
        distances: Float[np.ndarray, " atoms"] | None = None,
    ) -> Float[np.ndarray, "*any"]:
        """Return the standard deviation of each component, in e.

        Args:
            spread: Pooled spread of the component, in e; [atom, 3, 3] where species or distances are given.
            tensors: The component itself, in e.
            species: Atomic numbers; without them all elements have the factor one.
            distances: Of the atoms from the training data; without them all count as at distance 1.
        """
        factors = np.asarray(self.fit.factors(species, distances))
        return factors.reshape(factors.shape + (1, 1) * factors.ndim) * self.fit.base(spread, tensors)

    def sigma_of(self, residuals: Residuals) -> Float[np.ndarray, "atoms 3 3"]:
        """Return the standard deviation of each component of labelled data, in e."""
        return self.sigma(residuals.spread, residuals.tensors, residuals.species, residuals.distances)

    @property
    def fit(self) -> Fit:
        """The numbers of the formula of the module, with elements by atomic number."""
        elements = {chemical_symbols.index(symbol): factor for symbol, factor in self.elements.items()}
        return Fit(self.scale, self.floor, self.relative, self.growth, elements)

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
        factors = ", ".join(f"{symbol} {factor:.2f}" for symbol, factor in self.elements.items())
        lines.append(
            f"sigma = {self.scale:.3g} (spread + {self.floor:.3g}{unit})"
            + f" (1 + {self.growth:g} distance from the training data)" * (self.growth > 0)
            + f", {self.components:,} components"
            + f"; the spread with {100 * self.relative:g} % of the component" * (self.relative > 0)
            + f"; times the factor of the element: {factors}" * bool(factors)
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


def calibrate(residuals: Residuals) -> Calibration:
    """Fit the numbers of the module, and count the errors within one and two sigma.

    Raises:
        InputError: All components are zero by symmetry, so that there is nothing to fit.
    """
    if not residuals.counted.any():
        raise InputError(
            "the validation data have no components to calibrate on: all are zero by symmetry; "
            "give other data"
        )
    components = residuals.select(residuals.counted)
    fitted = fit_all(components)
    ratios = errors_in_sigmas(components.errors, fitted.sigma_of(components))
    held_out = two_fold_ratios(residuals)
    found = Calibration(
        fitted.scale,
        fitted.floor,
        coverage(ratios, 1),
        coverage(ratios, 2),
        0.0,
        len(ratios),
        two_fold_one=None if held_out is None else coverage(held_out, 1),
        two_fold_two=None if held_out is None else coverage(held_out, 2),
        relative=fitted.relative,
        growth=fitted.growth,
        elements={chemical_symbols[number]: factor for number, factor in fitted.elements.items()},
    )
    return replace(found, spearman=_rank_correlation(residuals, found.sigma_of(residuals)))


def summarise_coverage(residuals: Residuals, calibration: Calibration) -> CoverageSummary | None:
    """Summarise how well a calibration describes the errors on other data.

    Returns:
        The summary; None if all components are zero by symmetry.
    """
    counted = residuals.counted
    if not counted.any():
        return None
    sigma = calibration.sigma_of(residuals)
    ratios = errors_in_sigmas(residuals.errors[counted], sigma[counted])
    correlation = _rank_correlation(residuals, sigma)
    return CoverageSummary(coverage(ratios, 1), coverage(ratios, 2), correlation, len(ratios))


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
        components = residuals.select(measured)
        sigma = fit_all(residuals.select(fitted)).sigma_of(components)
        ratios.append(errors_in_sigmas(components.errors, sigma))
    return np.concatenate(ratios)


def _rank_correlation(residuals: Residuals, sigmas: Float[np.ndarray, "atoms 3 3"]) -> float:
    """Compute the rank correlation over atoms of mean sigma and mean error; 0 if one of them is constant."""
    from scipy.stats import spearmanr  # takes half a second, and predictions do not need it

    sigma = sigmas.mean(axis=(1, 2))
    errors = np.abs(residuals.errors).mean(axis=(1, 2))
    if np.ptp(sigma) == 0 or np.ptp(errors) == 0:
        return 0.0
    return float(spearmanr(sigma, errors).statistic)
