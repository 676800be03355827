"""Scores of warnings: how many of the worst atoms carry one, and how many of the others."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import spearmanr

WORST = 0.01
"""Share of the atoms whose errors count as the worst."""
ALARMS = 0.05
"""Accepted share of the other atoms that are warned of."""
THRESHOLDS = (1.0, 1.2, 1.4, 1.6, 1.8)


def atom_errors(found: Float[np.ndarray, "atoms 3 3"], labels: Float[np.ndarray, "atoms 3 3"]) -> np.ndarray:
    """Return the error of each atom: the root of the mean square over its nine components, in e."""
    return np.sqrt(np.mean((found - labels) ** 2, axis=(1, 2)))


def worst_of(errors: Float[np.ndarray, " atoms"]) -> Bool[np.ndarray, " atoms"]:
    """Return which atoms have the worst errors."""
    return errors >= np.quantile(errors, 1 - WORST)


def score_warnings(warned: Bool[np.ndarray, " atoms"], worst: Bool[np.ndarray, " atoms"]) -> dict[str, float]:
    """Return the shares of the worst atoms and of the others that are warned of."""
    return {"detected": float(warned[worst].mean()), "false_alarms": float(warned[~worst].mean())}


def score_best(values: Float[np.ndarray, " atoms"], worst: Bool[np.ndarray, " atoms"]) -> float:
    """Return the share of the worst atoms found with the threshold that warns of 5 % of the others."""
    return float((values[worst] > np.quantile(values[~worst], 1 - ALARMS)).mean())


def score_distances(
    distances: Float[np.ndarray, " atoms"],
    held_out: Float[np.ndarray, " atoms"],
    errors: Float[np.ndarray, " atoms"],
) -> dict[str, Any]:
    """Score distances by errors.

    Args:
        distances: Of atoms of the other state.
        held_out: Of atoms of the known state that were held out.
        errors: Of the atoms of the other state.

    Returns:
        The shares at several thresholds, and of held-out atoms above each; the share of the worst atoms that
        is found with the threshold that warns of 5 % of the others, which no one knows beforehand, and that
        threshold; the rank correlation with the errors.
    """
    worst = worst_of(errors)
    best = float(np.quantile(distances[~worst], 1 - ALARMS))
    at = {
        f"{limit:g}": {
            **score_warnings(distances > limit, worst),
            "held_out": float((held_out > limit).mean()),
        }
        for limit in THRESHOLDS
    }
    return {
        "at": at,
        "detected_at_5_percent": score_best(distances, worst),
        "threshold_of_5_percent": best,
        "spearman": float(spearmanr(distances, errors).statistic),
    }


def mean_of(scores: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the means of the numbers of nested dictionaries that are alike."""
    first = scores[0]
    return {
        name: mean_of([one[name] for one in scores])
        if isinstance(first[name], dict)
        else round(float(np.mean([one[name] for one in scores])), 4)
        for name in first
    }
