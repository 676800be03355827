"""What a network can give beside tensors, by its settings; what it cannot is refused here."""

from equivar_jax.config.schema import ModelConfig
from equivar_jax.errors import InputError


def require_readout(config: ModelConfig) -> None:
    """Refuse a network that has no readout for the electronic dielectric tensor.

    Raises:
        InputError: it has none.
    """
    if not config.dielectric:
        raise InputError(
            "the model has no readout for the electronic dielectric tensor; train one with "
            "--model.dielectric True on structures with info['epsilon_inf']"
        )


def require_polarisation(config: ModelConfig) -> None:
    """Refuse a network that has no polarisation.

    Raises:
        InputError: the network gives tensors directly, or its polarisation jumps.
    """
    if (reason := why_no_polarisation(config)) is not None:
        raise InputError(reason)


def why_no_polarisation(config: ModelConfig) -> str | None:
    """Return the reason for which the polarisation of a network cannot be used; None if it can."""
    if config.form != "polarisation":
        return (
            "the model gives tensors directly, which are derivatives of no polarisation: their integral "
            "depends on the path; integrate along yours (equivar response polarisation), or train a model "
            "with --model.form polarisation"
        )
    if not config.envelope:
        return (
            "the model has no envelope: its polarisation jumps whenever an atom crosses the cutoff, which "
            "its tensors do not tell; train a model with --model.envelope True"
        )
    return None
