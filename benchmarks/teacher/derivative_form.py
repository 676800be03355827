"""First weights of networks whose tensors are derivatives of a polarisation."""

from collections.abc import Sequence

from equivar_jax.config.schema import ModelConfig
from equivar_jax.graphs.batch import Batch, Sample
from equivar_jax.network.initial_weights import scale_to_unit_variance, start_polarisation
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.training.steps import draw_weights


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
