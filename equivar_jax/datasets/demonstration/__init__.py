"""The embedded demonstration set: crystals labelled by a polarisable-ion model, not by DFT."""

from equivar_jax.datasets.demonstration.dataset import demonstration_set

__all__ = [
    "demonstration_set",
]
