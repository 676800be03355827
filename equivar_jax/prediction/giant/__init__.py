"""One structure of any size on many devices, each with a brick of it."""

from equivar_jax.prediction.giant.networks import NetworksOnDevices

__all__ = ["NetworksOnDevices"]
