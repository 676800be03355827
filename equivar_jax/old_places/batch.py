"""Moved to `equivar_jax.graphs`; see `equivar_jax.forwarded`."""

from equivar_jax.forwarded import forward

__getattr__ = forward(__name__)
