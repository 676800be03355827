"""Standard deviations of what is computed from the tensors of a committee.

The whole calculation is done with the tensors of each member, and the spread of the answers is the standard
deviation. So nothing is assumed of how the errors of different components go together, nor of the form of the
calculation: members differ from each other as they differ from the truth, where they do not share an error.

Members that were trained on the same data are too near to each other. Before the calculation they are moved
away from their mean, all by one factor, so that their spread over the crystal has the size of the calibrated
standard deviations (see `equivar_jax.uncertainty.calibration`): the root of the mean square, over components
that symmetry does not make zero. Sum rule and symmetry stay.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equivar_jax.prediction.dielectric import NEGLIGIBLE
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.residuals import BY_SYMMETRY, pool_spread

_LEAST = 1.0
"""Smallest eigenvalue of an electronic dielectric tensor, that of vacuum."""

Answer = Callable[[Float[np.ndarray, "atoms 3 3"], Float[np.ndarray, "3 3"] | None], np.ndarray]
"""Computes numbers from charges in e, [atom, field, displacement], and eps_inf, which is None if unknown."""


@dataclasses.dataclass(frozen=True)
class Members:
    """What the members of a committee say of one crystal, moved away from their mean by the calibration."""

    charges: Float[np.ndarray, "members atoms 3 3"]
    """Born effective charges in e, [member, atom, field, displacement]."""
    epsilon_inf: Float[np.ndarray, "members 3 3"] | None
    """Electronic dielectric tensors, equal ones if the tensor was given; None if it is unknown."""
    factor: float
    """How many times as far apart the charges are as the members have them; 1 without a calibration."""
    calibrated: bool
    """Whether there is a calibration."""

    def sigma(self, answer: Answer) -> np.ndarray:
        """Compute the standard deviation of each number of an answer.

        Args:
            answer: The calculation; it returns an array of one shape for all members.

        Returns:
            The standard deviation over the members, n - 1 in the denominator, in the shape of the answer.
        """
        tensors = [None] * len(self.charges) if self.epsilon_inf is None else list(self.epsilon_inf)
        answers = [answer(charges, tensor) for charges, tensor in zip(self.charges, tensors, strict=True)]
        return np.asarray(np.std(answers, axis=0, ddof=1))

    def describe(self) -> str:
        """Say in words what stands behind ±."""
        scaled = (
            f"{self.factor:.3g} times as far apart by its calibration" if self.calibrated else "as they are"
        )
        return f"±: standard deviation over the {len(self.charges)} members of the committee, {scaled}"


def members_of(
    predictor: Predictor | None, atoms: Atoms, epsilon_inf: Float[np.ndarray, "3 3"] | None = None
) -> Members | None:
    """Predict the tensors of a crystal by each member of a committee. No warnings are emitted.

    Args:
        predictor: The model; None if the charges are not of a network.
        atoms: The crystal, whose elements the model knows.
        epsilon_inf: The electronic dielectric tensor, if it is known; else it is that of each member, if the
            networks have a readout for it.

    Returns:
        What the members say; None if there is no committee.
    """
    if predictor is None or predictor.members == 1:
        return None
    sample, _ = predictor.prepare(atoms, allow_unseen=True)
    alone, metadata = [predictor.member(number) for number in range(predictor.members)], predictor.metadata
    charges = np.stack([member.predict_samples([sample])[0].tensors for member in alone])
    (known,) = predictor.predict_samples([sample])
    factor = calibrated_factor(
        charges, metadata.calibration, BY_SYMMETRY, species=atoms.numbers, distances=known.distances
    )
    tensors = None
    if epsilon_inf is not None:
        tensors = np.broadcast_to(epsilon_inf, (len(alone), 3, 3))
    elif predictor.config.dielectric:
        own = predictor.dielectric_of_members([sample])[:, 0]
        zero = NEGLIGIBLE * float(np.trace(own.mean(axis=0))) / 3
        tensors = _raise_eigenvalues(
            move_apart(own, calibrated_factor(own, metadata.dielectric_calibration, zero))
        )
    return Members(move_apart(charges, factor), tensors, factor, metadata.calibration is not None)


def calibrated_factor(
    values: Float[np.ndarray, "members *any 3 3"],
    calibration: Calibration | None,
    zero: float,
    *,
    species: Int[np.ndarray, " atoms"] | None = None,
    distances: Float[np.ndarray, " atoms"] | None = None,
) -> float:
    """Compute how many times as large the spread of members is to be, to have the calibrated size.

    Args:
        values: Tensors of each member.
        calibration: That of such tensors; without one the spread stays.
        zero: Components whose mean and spread are below this are zero by symmetry.
        species: Atomic numbers, if these are tensors of atoms.
        distances: Of the atoms from the training data, if the model knows them.
    """
    mean, spread = values.mean(axis=0), values.std(axis=0, ddof=1)
    counted = (spread > zero) | (np.abs(mean) > zero)
    if calibration is None or not spread[counted].any():
        return 1.0
    sigma = calibration.sigma(pool_spread(spread), mean, species, distances)
    return float(np.sqrt(np.mean(sigma[counted] ** 2) / np.mean(spread[counted] ** 2)))


def move_apart(values: Float[np.ndarray, "members *any"], factor: float) -> Float[np.ndarray, "members *any"]:
    """Move the values of members away from their mean, so that their spread is `factor` times as large."""
    mean = values.mean(axis=0)
    return mean + factor * (values - mean)


def _raise_eigenvalues(tensors: Float[np.ndarray, "members 3 3"]) -> Float[np.ndarray, "members 3 3"]:
    """Raise eigenvalues that were moved below that of vacuum to it."""
    values, axes = np.linalg.eigh(tensors)
    return np.einsum("mak,mk,mbk->mab", axes, np.maximum(values, _LEAST), axes)
