"""The embedded demonstration set: crystals labelled by a polarisable-ion model (not DFT)."""

from equivar_jax.datasets.demonstration.dataset import demonstration_set

__all__ = [
    "demonstration_set",
]
