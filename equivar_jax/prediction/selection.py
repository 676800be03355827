"""Which structures a calculation would teach most: those with uncertain atoms that are unlike each other.

Let the error of an atom of element z be linear in its features after the last interaction, which are all
that the readout sees, with coefficients of unit variance. Features phi = (1, w) have as w the whitened
invariants of `uncertainty.features`, whose norm is the distance from the training data. What calculations of
a set S of structures have taught is then

    A_z = 1 + sum_{structures of S} sum_{atoms a of z} phi_a phi_a^T,

and what another would teach is the mean over its atoms of sigma_a² phi_a^T A_z^-1 phi_a: the squared
uncertainty of an atom times the share of its direction that is not known yet. Structures are taken one after
the other, each the one that teaches most after those before it (greedy D-optimal design, weighed by sigma),
so two that are alike are not both taken.
"""

import heapq
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equivar_jax.errors import InputError
from equivar_jax.graphs.packing import GraphSizes, plan_budgets
from equivar_jax.network.last_features import feature_dims, last_features
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.prediction.windows import split_into_windows
from equivar_jax.uncertainty.domain import without_domain_warnings
from equivar_jax.uncertainty.features import LastFeatures
from equivar_jax.weights.stacking import member_of


class Candidate(NamedTuple):
    """What is known of a structure without a calculation."""

    species: Int[np.ndarray, " atoms"]
    sigma: Float[np.ndarray, " atoms"]
    """Mean standard deviation of an atom in e; 1 of a single network, which does not know it."""
    features: Float[np.ndarray, "atoms features"]
    """(1, w): the norm of w is the distance from the training data."""


class Choice(NamedTuple):
    """A structure that is worth a calculation."""

    number: int
    """Of the structure among the candidates, from 0."""
    gain: float
    """What it teaches after those before it; without uncertainties in other units."""
    novelty: float
    """Mean of phi^T A^-1 phi over its atoms: how much of them those before it have not shown."""


def describe_candidates(model: Predictor, structures: Sequence[Atoms]) -> list[Candidate]:
    """Predict structures and measure their features.

    Args:
        model: A committee, or a single network, that knows the features of its training data.
        structures: The structures.

    Raises:
        InputError: a structure cannot be used, it has an element that the model has never seen, or an earlier
            version wrote the model.
    """
    model.check_knows_features()
    found = []
    uncertain = model.metadata.calibration is not None
    for window in split_into_windows(structures):
        sigmas = [np.ones(len(atoms)) for atoms in window]
        if uncertain:
            with without_domain_warnings():  # being outside the domain is what is looked for
                predicted = model.predict(list(window), uncertainty=True)
            sigmas = [sigma.mean(axis=(1, 2)) for _, sigma in predicted]
        features = whitened_features(model, window)
        found += [
            Candidate(atoms.numbers, sigma, np.column_stack([np.ones(len(own)), own]))
            for atoms, sigma, own in zip(window, sigmas, features, strict=True)
        ]
    return found


def whitened_features(
    model: Predictor, structures: Sequence[Atoms]
) -> list[Float[np.ndarray, "atoms invariants"]]:
    """Compute the whitened invariants of the first network, whose norm is the distance from training data."""
    config, domain = model.config, model.metadata.features[0]
    params = model.weights if model.members == 1 else member_of(model.weights, 0)
    samples = [model.prepare(atoms)[0] for atoms in structures]
    budgets = plan_budgets(GraphSizes.of(sample.graph for sample in samples), 1)
    array = last_features(config, params, samples, budgets)
    species = np.concatenate([atoms.numbers for atoms in structures])
    whitened = domain.whiten(LastFeatures(feature_dims(config), species, array))
    return np.split(whitened, np.cumsum([len(atoms) for atoms in structures])[:-1])


def choose_structures(candidates: Sequence[Candidate], count: int) -> list[Choice]:
    """Choose structures one after the other, each the one that teaches most after those before it.

    Args:
        candidates: All structures there are.
        count: How many to choose; all of them if there are fewer.

    Returns:
        The choices, the most telling one first. Equal ones come in the order of the candidates.

    Raises:
        InputError: the count is not positive.
    """
    if count < 1:
        raise InputError(f"{count} structures to choose; ask for one or more")
    known: dict[int, np.ndarray] = {}
    # What a structure teaches only falls as others are taken, so most need not be looked at again.
    heap = [(-_gain(candidate, known)[0], k) for k, candidate in enumerate(candidates)]
    heapq.heapify(heap)
    chosen: list[Choice] = []
    while heap and len(chosen) < count:
        _, index = heapq.heappop(heap)
        gain, novelty = _gain(candidates[index], known)
        if heap and (-gain, index) > heap[0]:
            heapq.heappush(heap, (-gain, index))
            continue
        chosen.append(Choice(index, gain, novelty))
        _learn(candidates[index], known)
    return chosen


def _gain(candidate: Candidate, known: dict[int, np.ndarray]) -> tuple[float, float]:
    """Return what a structure teaches, and its novelty.

    Args:
        candidate: The structure.
        known: A^-1 of each element; an element that is not there has 1.
    """
    unknown = np.empty(len(candidate.species))
    for element in np.unique(candidate.species).tolist():
        own = candidate.species == element
        features = candidate.features[own]
        seen = features @ known[element] if element in known else features
        unknown[own] = np.einsum("af,af->a", seen, features)
    return float(np.mean(np.square(candidate.sigma) * unknown)), float(unknown.mean())


def _learn(candidate: Candidate, known: dict[int, np.ndarray]) -> None:
    """Add the atoms of a structure to A, whose inverse follows from Woodbury's identity."""
    for element in np.unique(candidate.species).tolist():
        features = candidate.features[candidate.species == element]
        inverse = known.get(element, np.eye(features.shape[1]))
        projected = features @ inverse
        middle = np.eye(len(features)) + projected @ features.T
        known[element] = inverse - projected.T @ np.linalg.solve(middle, projected)
