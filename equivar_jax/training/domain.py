"""What a run remembers of its training part, for warnings: elements, distances, densities, last features."""

from collections.abc import Sequence

import numpy as np

from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.graph_table import SampleTable
from equivar_jax.network.last_features import feature_dims, last_features
from equivar_jax.training.plan import Plan
from equivar_jax.uncertainty.domain import Domain, domain_of
from equivar_jax.uncertainty.features import FeatureDomain, LastFeatures, feature_domain

MOST_ATOMS = 20_000
"""Atoms of each part whose features are measured, about; of larger parts structures are chosen evenly."""


def measure_domain(plan: Plan) -> Domain:
    """Measure the domain of the training part of a run."""
    return domain_of(plan.dataset.training, plan.config.model.cutoff)


def measure_features(plan: Plan, params: dict) -> FeatureDomain | None:
    """Measure what the features of a network are like on the training part of its run.

    Args:
        plan: Of the run; its validation part says what distance is usual for atoms that are new.
        params: Weights of the network.

    Returns:
        The features; None if some are not finite, so that the network is of no use.
    """
    parts = (_choose(part) for part in (plan.dataset.training, plan.dataset.validation))
    training, held_out = (_features(plan, params, samples) for samples in parts)
    if not (np.isfinite(training.array).all() and np.isfinite(held_out.array).all()):
        return None
    return feature_domain(training, held_out)


def _choose(part: SampleTable) -> list[Sample]:
    """Choose structures evenly, up to about `MOST_ATOMS` atoms."""
    share = min(1.0, MOST_ATOMS / int(part.sizes.atoms.sum()))
    chosen = np.unique(np.linspace(0, len(part) - 1, max(1, round(share * len(part)))).astype(int))
    return [part[k] for k in chosen.tolist()]


def _features(plan: Plan, params: dict, samples: Sequence[Sample]) -> LastFeatures:
    config = plan.config.model
    species = np.concatenate([np.asarray(sample.graph.nodes["species"]) for sample in samples])
    array = last_features(config, params, samples, plan.budgets)
    return LastFeatures(feature_dims(config), species, array)
