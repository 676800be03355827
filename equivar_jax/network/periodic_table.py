"""An initial embedding of the elements in which relatives in the periodic table are alike."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.network.features import unit_normal

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


def period_and_group(number: int) -> tuple[int, int]:
    """Return the period, 1 to 7, and the group, 1 to 18, of an element.

    Lanthanides and actinides have no group; theirs is 0.

    Args:
        number: Atomic number, 1 to 118.
    """
    period = next(k for k, last in enumerate(_NOBLE) if number <= last)
    place, length = number - _NOBLE[period - 1], _NOBLE[period] - _NOBLE[period - 1]
    if number == 2:
        return period, 18
    if place <= 2:
        return period, place
    if length == 32 and place <= 16:
        return period, 0
    return period, 18 - (length - place)


def periodic_table(
    key: Array, shape: tuple[int, int], dtype: np.dtype | type = jnp.float32
) -> Float[Array, "species embedding"]:
    """Draw an initial embedding: each element gets the sum of three random vectors of equal size.

    One vector belongs to its period, one to its group, and one to the element alone.

    Args:
        key: Random key.
        shape: Number of rows, one for each atomic number (row 0 is padding), and length of a vector.
        dtype: Type of the result.

    Returns:
        Values of unit variance; those of two elements of the same group or period have a correlation of 1/3.
    """
    rows, width = shape
    places = np.array([(0, 0)] + [period_and_group(min(number, 118)) for number in range(1, rows)])
    of_period, of_group, own = (
        unit_normal(k, (count, width), dtype)
        for k, count in zip(jax.random.split(key, 3), (8, 19, rows), strict=True)
    )
    return (of_period[places[:, 0]] + of_group[places[:, 1]] + own) / 3**0.5
