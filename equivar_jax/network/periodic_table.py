"""Where the embedding of the elements may start: relatives in the periodic table alike."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

_NOBLE = (0, 2, 10, 18, 36, 54, 86, 118)


def period_and_group(number: int) -> tuple[int, int]:
    """Period 1 to 7 and group 1 to 18 of an element; 0 for lanthanides and actinides, which have no group.

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
    key: Array, shape: tuple[int, int], dtype: jnp.dtype = jnp.float32
) -> Float[Array, "species embedding"]:
    """Initial embedding: a vector of the period, one of the group, and one of the element, of equal size.

    Args:
        key: Of the random numbers.
        shape: Rows by atomic number (row 0 is padding), and length of a vector.
        dtype: Of the result.

    Returns:
        Values of unit variance; those of two elements of one group or period are correlated by a third.
    """
    rows, width = shape
    places = np.array([(0, 0)] + [period_and_group(min(number, 118)) for number in range(1, rows)])
    of_period, of_group, own = (
        jax.random.normal(k, (count, width), dtype)
        for k, count in zip(jax.random.split(key, 3), (8, 19, rows), strict=True)
    )
    return (of_period[places[:, 0]] + of_group[places[:, 1]] + own) / 3**0.5
