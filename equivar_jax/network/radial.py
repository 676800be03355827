"""Radial basis and smooth cutoff of an edge."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def gaussian_basis(
    distances: Float[Array, "*edges"], cutoff: float, functions: int
) -> Float[Array, "*edges functions"]:
    """Compute the Gaussians `exp(-(r - mu_g)^2 / (2 dmu^2))` with mu = linspace(0, cutoff, functions).

    The width dmu is the spacing of the centres (Kutana et al., Sci. Rep. 15, 2025).

    Args:
        distances: Edge lengths r in Å.
        cutoff: Last centre in Å.
        functions: Number of Gaussians, at least 2.

    Returns:
        Values between 0 and 1; their squares sum to sqrt(pi) for r well inside the grid.
    """
    width = cutoff / (functions - 1)
    centres = jnp.linspace(0.0, cutoff, functions, dtype=distances.dtype)
    return jnp.exp(-0.5 * ((distances[..., None] - centres) / width) ** 2)


def cosine_envelope(distances: Float[Array, "*edges"], cutoff: float) -> Float[Array, "*edges"]:
    """Compute `0.5 (1 + cos(pi r / cutoff))` for r < cutoff, else 0, which ends the neighbourhood smoothly.

    Args:
        distances: Edge lengths r in Å.
        cutoff: Distance where the envelope and its slope vanish, in Å.

    Returns:
        Factors from 1 (r = 0) to 0 (r >= cutoff).
    """
    inside = 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.minimum(distances / cutoff, 1.0)))
    return inside.astype(distances.dtype)
