"""First weights of networks whose tensors are derivatives of a polarisation."""

import dataclasses
from collections.abc import Sequence

from equivar_jax.config.schema import ModelConfig
from equivar_jax.graphs.batch import Batch, Sample
from equivar_jax.network.initial_weights import scale_to_unit_variance, start_polarisation
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.training.steps import draw_weights


def in_derivative_form(config: ModelConfig) -> ModelConfig:
    """Return the settings of the same network with that readout, which has charges of elements of its own."""
    return dataclasses.replace(config, form="polarisation", element_shift=False)


def draw_first_weights(config: ModelConfig, seed: int, typical: Batch, samples: Sequence[Sample]) -> dict:
    """Draw weights that give unit variance, and tensors with the mean and the spread of the labels.

    Args:
        config: The network, in the form of a polarisation.
        seed: Of the random numbers.
        typical: One structure on which variances are measured.
        samples: The training part.
    """
    network = Polarisation(config)
    params = scale_to_unit_variance(network, draw_weights(config, seed), typical.graph)
    return start_polarisation(network, params, samples, typical)
