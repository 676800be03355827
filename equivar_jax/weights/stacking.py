"""Stacking of the weights of several networks in one tree, whose leaves have a leading axis of members."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np


def stack_weights(weights: Sequence[dict]) -> dict:
    """Stack the weights of several networks to those of a committee, in NumPy."""
    first = weights[0]
    return {
        name: stack_weights([one[name] for one in weights])
        if isinstance(first[name], dict)
        else np.stack([np.asarray(one[name]) for one in weights])
        for name in first
    }


def member_of(weights: dict, number: int) -> dict:
    """Return the weights of one member of a committee."""
    return map_weights(lambda leaf: leaf[number], weights)


def map_weights(function: Callable[[Any], Any], weights: dict) -> dict:
    """Apply a function to every array of nested dictionaries; `jax.tree.map` without JAX."""
    return {
        name: map_weights(function, value) if isinstance(value, dict) else function(value)
        for name, value in weights.items()
    }


def leaves_of(weights: dict) -> Iterator[Any]:
    """Yield the arrays of nested dictionaries, in the order of their names."""
    for name in sorted(weights):
        value = weights[name]
        if isinstance(value, dict):
            yield from leaves_of(value)
        else:
            yield value
