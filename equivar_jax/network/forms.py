"""The forms of the network: what it computes (`ModelConfig.form`)."""

from equivar_jax.config.schema import Form, ModelConfig
from equivar_jax.network.core import Core
from equivar_jax.network.model import Equivar
from equivar_jax.network.polarisation import Polarisation

FORMS: dict[Form, type[Core]] = {"direct": Equivar, "polarisation": Polarisation}


def make_network(config: ModelConfig) -> Core:
    """Make the network of a config as a Flax module; `apply(params, graph)` gives its tensors in e.

    Args:
        config: The network; `config.form` says which class it is.
    """
    return FORMS[config.form](config)
