"""Data sets: the embedded demonstration set."""

from equivar_jax.datasets.demonstration import demonstration_set

__all__ = ["demonstration_set"]
