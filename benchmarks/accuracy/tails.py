"""Errors of single atoms: means of components say nothing of one atom that is far off."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import labels_of

PERCENTILE = 99


def summarise_atoms(
    predicted: Float[np.ndarray, "atoms 3 3"], reference: Float[np.ndarray, "atoms 3 3"]
) -> dict[str, float]:
    """Summarise the errors of atoms, in e.

    The error of an atom is the root of the mean of d² over its nine components, d = predicted - reference;
    `largest_component` alone is of single components.

    Args:
        predicted: Tensors [atom, field, displacement] in e.
        reference: The same from the data.

    Returns:
        The 99th percentile of the errors of atoms, the largest, and the largest |d|.
    """
    difference = np.asarray(predicted, np.float64) - reference
    errors = np.sqrt(np.mean(difference**2, axis=(1, 2)))
    return {
        f"percentile_{PERCENTILE}": float(np.percentile(errors, PERCENTILE)),
        "largest": float(errors.max()),
        "largest_component": float(np.abs(difference).max()),
    }


def evaluate_atoms(predictor: Predictor, structures: Sequence[Atoms]) -> dict[str, float]:
    """Summarise the errors of all atoms of labelled structures, in e, by `summarise_atoms`."""
    predicted = predictor.predict(list(structures), allow_unseen=True)
    return summarise_atoms(np.concatenate(predicted), np.concatenate([*map(labels_of, structures)]))
