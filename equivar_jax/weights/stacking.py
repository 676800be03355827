"""Stacking of the weights of several networks in one tree, whose leaves have a leading axis of members."""

from collections.abc import Sequence

import jax
import numpy as np


def stack_weights(weights: Sequence[dict]) -> dict:
    """Stack the weights of several networks to those of a committee, in NumPy."""
    return jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves]), *weights)


def member_of(weights: dict, number: int) -> dict:
    """Return the weights of one member of a committee."""
    return jax.tree.map(lambda leaf: leaf[number], weights)
