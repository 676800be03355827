"""Weights of several networks in one tree, each leaf with a leading axis of members, and back."""

from collections.abc import Sequence

import jax
import numpy as np


def stack_weights(weights: Sequence[dict]) -> dict:
    """The weights of several networks as those of a committee, in NumPy."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *weights)


def member_of(weights: dict, number: int) -> dict:
    """The weights of one member of a committee."""
    return jax.tree.map(lambda leaf: leaf[number], weights)
