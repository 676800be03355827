"""Spherical harmonics of edges, to degree 2."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def spherical_harmonics(vectors: Float[Array, "*edges 3"]) -> Float[Array, "*edges 9"]:
    """Compute the real spherical harmonics of degrees 0, 1 and 2 of the directions of vectors.

    Order and signs are those of e3nn; the squares of the 2l + 1 harmonics of degree l sum to 2l + 1 (its
    normalisation "component"). Only elementwise operations are used, which no GPU rounds to TF32.

    Args:
        vectors: Vectors of any length. One of length zero has no direction: its harmonics of degrees 1 and 2
            are zero, and all derivatives are finite.

    Returns:
        1; √3 (x, y, z); √15 (xz, xy), √5 (y² - (x² + z²) / 2), √15 yz, √15/2 (z² - x²), for x² + y² + z² = 1.
    """
    square = jnp.sum(vectors**2, axis=-1, keepdims=True)
    x, y, z = jnp.moveaxis(vectors / jnp.sqrt(jnp.where(square == 0.0, 1.0, square)), -1, 0)
    second = (x * z, x * y, (y**2 - (x**2 + z**2) / 2) / 3**0.5, y * z, (z**2 - x**2) / 2)
    degrees = (jnp.ones_like(x), *(3**0.5 * part for part in (x, y, z)), *(15**0.5 * part for part in second))
    return jnp.stack(degrees, axis=-1)
