"""Plan of the exchange: which rows each device sends to which other, in rounds that JAX can run.

A round is a permutation of some devices (`jax.lax.ppermute`): each sends to one other at most, and receives
from one. All devices run the same program, so what is sent in a round has one size for all. Pairs that
exchange much are put into rounds together, and pairs that exchange nothing are in none: devices with
neighbours on few sides hold few rows that are padding.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

Pairs = tuple[tuple[int, int], ...]
"""Senders and receivers of one round."""


class Exchange(NamedTuple):
    """Rounds of an exchange."""

    rounds: tuple[Pairs, ...]
    sizes: tuple[int, ...]
    """Rows that each device sends in each round, with padding."""

    @property
    def rows(self) -> int:
        """Rows that each device receives in all, with padding."""
        return sum(self.sizes)

    def starts(self) -> list[int]:
        """Return the first of the rows of each round, counted from that of the first round."""
        return [sum(self.sizes[:k]) for k in range(len(self.sizes))]


def plan_rounds(counts: Int[np.ndarray, "senders receivers"]) -> Exchange:
    """Put all pairs of devices that exchange something into rounds, those that exchange most first.

    Args:
        counts: Rows that each device has to send to each other one.
    """
    senders, receivers = np.nonzero(counts)
    order = np.argsort(-counts[senders, receivers], kind="stable")
    rounds: list[list[tuple[int, int]]] = []
    sizes: list[int] = []
    for sender, receiver in zip(senders[order].tolist(), receivers[order].tolist(), strict=True):
        for pairs in rounds:
            if all(sender != other and receiver != another for other, another in pairs):
                pairs.append((sender, receiver))
                break
        else:
            rounds.append([(sender, receiver)])
            sizes.append(int(counts[sender, receiver]))
    return Exchange(tuple(map(tuple, rounds)), tuple(sizes))


def count_rows(
    halos: Sequence[Int[np.ndarray, " _halo"]], owner: Int[np.ndarray, " atoms"]
) -> Int[np.ndarray, "senders receivers"]:
    """Count the atoms that each device needs of each other one.

    Args:
        halos: The atoms that each device needs and does not own.
        owner: The device of each atom.
    """
    found = [np.bincount(owner[halo], minlength=len(halos)) for halo in halos]
    return np.stack(found, axis=1)
