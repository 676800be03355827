"""The dipole of a cell, from a network in the form of a polarisation."""

from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError

if TYPE_CHECKING:
    from equivar_jax.prediction.predictor import Predictor


def require_polarisation(predictor: "Predictor") -> None:
    """Refuse a network that has no polarisation.

    Raises:
        InputError: the network gives tensors directly.
    """
    if predictor.config.form != "polarisation":
        raise InputError(
            "the model gives tensors directly, which are the derivative of no polarisation; train a model "
            "with --model.form polarisation"
        )


def atomic_charges(predictor: "Predictor", atoms: Atoms) -> Float[np.ndarray, "members atoms"]:
    """Return the charges q of the atoms in e by each network; they sum up to the net charge.

    Args:
        predictor: A network in the form of a polarisation, or a committee.
        atoms: A structure; its positions do not matter.
    """
    require_polarisation(predictor)
    table = np.asarray(predictor.weights["params"]["element_charge"], np.float64)
    charges = table.reshape(-1, table.shape[-1])[:, atoms.numbers]
    excess = charges.sum(axis=1, keepdims=True) - atoms.info.get("charge", 0.0)
    return charges - excess / len(atoms)
