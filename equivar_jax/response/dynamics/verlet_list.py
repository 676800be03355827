"""Neighbours of moving atoms inside a compiled program: a Verlet list with a skin, made from a cell list.

All arrays have fixed sizes, which `plan_list` measures on the first structure, so that a list can be renewed
inside `jax.lax.scan`. If pairs do not fit, the list says so in `overflow`; none is dropped silently.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from jaxtyping import Array, Bool, Float, Int
from matscipy.neighbours import neighbour_list

from equivar_jax.errors import InputError
from equivar_jax.structures import check_structure, source


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("cell",),
    meta_fields=("cutoff", "skin", "bins", "reach", "bin_capacity", "capacity"),
)
@dataclass(frozen=True)
class ListPlan:
    """The fixed sizes of a Verlet list, and the cell that it belongs to."""

    cell: Float[Array, "3 3"] | Float[np.ndarray, "3 3"]
    """Lattice vectors in Å, as rows; they do not change."""
    cutoff: float
    """Distance in Å up to which pairs are needed."""
    skin: float
    """In Å. Pairs up to cutoff + skin are listed, so none is missing until an atom has moved by skin / 2."""
    bins: tuple[int, int, int]
    """Number of bins of the cell list along each lattice vector."""
    reach: tuple[int, int, int]
    """How many bins away a neighbour can be, along each lattice vector."""
    bin_capacity: int
    """Number of atoms that a bin has room for."""
    capacity: int
    """Number of pairs within cutoff + skin that the list has room for."""


class PairList(NamedTuple):
    """Pairs of atoms within cutoff + skin, periodic images and self-images included, sorted by receiver."""

    senders: Int[Array, " pairs"]
    receivers: Int[Array, " pairs"]
    translations: Float[Array, "pairs 3"]
    """Lattice vector T of each pair in Å: the neighbour is at `x_sender + T`, where x is not wrapped."""
    is_pair: Bool[Array, " pairs"]
    """False for padding, which is at the end."""
    origin: Float[Array, "atoms 3"]
    """Positions in Å for which the list was made."""
    builds: Int[Array, ""]
    """How often the list has been made."""
    overflow: Bool[Array, ""]
    """Whether there ever was too little room, so that pairs are missing."""

    def vectors(self, positions: Float[Array, "atoms 3"]) -> Float[Array, "pairs 3"]:
        """Compute the vectors from receiver to sender in Å; (1, 0, 0) in padding."""
        found = positions[self.senders] + self.translations - positions[self.receivers]
        return jnp.where(self.is_pair[:, None], found, jnp.array([1.0, 0.0, 0.0], found.dtype))


class Edges(NamedTuple):
    """The pairs within a cutoff; those of atom i have numbers `first[i]` to `first[i] + counts[i] - 1`."""

    vectors: Float[Array, "edges 3"]
    """Vectors from receiver to sender in Å; of length one in padding, which is at the end."""
    senders: Int[Array, " edges"]
    receivers: Int[Array, " edges"]
    first: Int[Array, " atoms"]
    counts: Int[Array, " atoms"]
    overflow: Bool[Array, ""]
    """Whether there were more pairs than room, in total or for one atom."""


def plan_list(atoms: Atoms, cutoff: float, skin: float = 0.5, room: float = 1.3) -> ListPlan:
    """Choose the sizes of the list for a trajectory of a crystal.

    Args:
        atoms: A structure typical of the trajectory.
        cutoff: Distance in Å up to which pairs are needed.
        skin: Skin in Å. With a thicker skin the list is renewed less often and holds more pairs.
        room: Factor by which every number of pairs may grow above that of `atoms`.

    Raises:
        InputError: The structure is not periodic along three directions, or cutoff, skin or room are not
            possible.
    """
    check_structure(atoms)
    if not atoms.pbc.all():
        raise InputError(
            f"{source(atoms)}: periodic along {atoms.pbc.sum()} directions, dynamics needs three; "
            "set pbc to true, with vacuum around a slab or molecule"
        )
    if not (0 < cutoff < math.inf and 0 < skin < math.inf and 1 <= room < math.inf):
        raise InputError(
            f"cutoff {cutoff} Å, skin {skin} Å, room {room}: give positive lengths and a room of at least 1"
        )
    farthest = float(cutoff) + float(skin)
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    sizes = [_bin_sizes(atoms, heights, farthest, thinner, room) for thinner in (1, 2, 3)]
    bins, reach, bin_capacity = min(sizes, key=lambda size: size[2] * math.prod(2 * k + 1 for k in size[1]))
    return ListPlan(
        cell=atoms.cell.array.copy(),
        cutoff=float(cutoff),
        skin=float(skin),
        bins=bins,
        reach=reach,
        bin_capacity=bin_capacity,
        capacity=add_room(len(neighbour_list("i", atoms=atoms, cutoff=farthest)), room),
    )


def _bin_sizes(
    atoms: Atoms, heights: Float[np.ndarray, " 3"], farthest: float, thinner: int, room: float
) -> tuple[tuple[int, int, int], tuple[int, int, int], int]:
    """Compute number of bins, reach, and room in a bin, for bins that are `farthest / thinner` thick."""
    # A limit, since a large vacuum would have very many empty bins.
    most = max(1, math.ceil((8 * len(atoms)) ** (1 / 3)))
    bins = np.clip(np.floor(thinner * heights / farthest), 1, most).astype(int)
    home = np.floor(atoms.get_scaled_positions(wrap=True) * bins).astype(int) % bins
    occupation = np.bincount(np.ravel_multi_index(tuple(home.T), tuple(bins)))
    # Rounding must not hide a neighbour at exactly the farthest distance.
    reach = np.ceil(farthest * bins / heights + 1e-9)
    return _triple(bins), _triple(reach), add_room(int(occupation.max()), room)


def add_room(number: int, room: float) -> int:
    """Compute the size of an array for items that are `number` now and may become `room` times as many."""
    return math.ceil(room * number) + 2


def _triple(numbers: Sequence[float] | np.ndarray) -> tuple[int, int, int]:
    """Convert three numbers to integers."""
    first, second, third = (int(number) for number in numbers)
    return first, second, third


def build_list(plan: ListPlan, positions: Float[Array, "atoms 3"]) -> PairList:
    """Find every pair within cutoff + skin, in a time that is linear in the number of atoms.

    Atoms are sorted into bins, and the neighbours of an atom are in the bins around its own. Bins beyond the
    cell repeat those in it, and hold the images of their atoms, so that the cell may be of any size.

    Args:
        plan: The sizes.
        positions: Positions in Å, anywhere in space.
    """
    atoms, capacity = len(positions), plan.capacity
    cell = jnp.asarray(plan.cell, positions.dtype)
    fractional = positions @ jnp.linalg.inv(cell)
    turns = jnp.floor(fractional)
    wrapped = positions - turns @ cell
    bins = jnp.array(plan.bins, jnp.int32)
    home = jnp.clip(((fractional - turns) * bins).astype(jnp.int32), 0, bins - 1)
    table, full = _sort_into_bins(home, plan)

    around = jnp.array(list(np.ndindex(*(2 * k + 1 for k in plan.reach))), jnp.int32) - jnp.array(plan.reach)
    bin_of = home[:, None] + around.astype(jnp.int32)
    shifts = jnp.floor_divide(bin_of, bins)
    flat = _bin_number(bin_of - shifts * bins, plan.bins)
    candidates = table[flat]
    translations = shifts.astype(positions.dtype) @ cell
    offsets = translations - wrapped[:, None]
    # An empty place of a bin (index `atoms`) is infinitely far. One direction is summed after the other, so
    # that the inner loops run over candidates.
    places = jnp.concatenate([wrapped, jnp.full((1, 3), jnp.inf, wrapped.dtype)]).T
    square = sum((places[k][candidates] + offsets[:, :, None, k]) ** 2 for k in range(3))
    itself = (candidates == jnp.arange(atoms)[:, None, None]) & ~shifts.any(axis=-1)[:, :, None]
    near = (square <= (plan.cutoff + plan.skin) ** 2) & ~itself

    chosen, number = _compact(near.ravel(), capacity)
    is_pair = jnp.arange(capacity) < number
    receivers, block = jnp.divmod(chosen // plan.bin_capacity, len(around))
    senders = jnp.where(is_pair, candidates.ravel()[chosen], 0)
    translation = translations[receivers, block] + (turns[receivers] - turns[senders]) @ cell
    return PairList(
        senders=senders.astype(jnp.int32),
        receivers=receivers.astype(jnp.int32),
        translations=translation,
        is_pair=is_pair,
        origin=positions,
        builds=jnp.ones((), jnp.int32),
        overflow=full | (number > capacity),
    )


def _sort_into_bins(
    home: Int[Array, "atoms 3"], plan: ListPlan
) -> tuple[Int[Array, "bins capacity"], Bool[Array, ""]]:
    """List the atoms of every bin, and tell whether a bin had too little room.

    Unused places of a bin hold the number of atoms, which is no atom's index.
    """
    atoms, number_of_bins = len(home), math.prod(plan.bins)
    bin_of = _bin_number(home, plan.bins)
    order = jnp.argsort(bin_of).astype(jnp.int32)
    arranged = bin_of[order]
    rank = jnp.arange(atoms) - jnp.searchsorted(arranged, arranged)
    empty = jnp.full((number_of_bins, plan.bin_capacity), atoms, jnp.int32)
    return empty.at[arranged, rank].set(order, mode="drop"), rank.max() >= plan.bin_capacity


def _bin_number(indices: Int[Array, "*shape 3"], bins: tuple[int, int, int]) -> Int[Array, "*shape"]:
    """Return the numbers of bins, of whose three indices the last is the fastest."""
    return (indices[..., 0] * bins[1] + indices[..., 1]) * bins[2] + indices[..., 2]


def _compact(chosen: Bool[Array, " all"], capacity: int) -> tuple[Int[Array, " capacity"], Int[Array, ""]]:
    """Return the indices of the first `capacity` chosen elements in order, and the number of all chosen.

    The method is a binary search in the running count, which unlike a scatter needs no writes in arbitrary
    order.
    """
    running = jnp.cumsum(chosen, dtype=jnp.int32)
    places = jnp.searchsorted(running, jnp.arange(1, capacity + 1, dtype=jnp.int32))
    return jnp.minimum(places, len(chosen) - 1), running[-1]


def renew_list(plan: ListPlan, pairs: PairList, positions: Float[Array, "atoms 3"]) -> PairList:
    """Make the list anew if an atom has moved by more than half of the skin since it was made."""
    moved = jnp.max(jnp.sum((positions - pairs.origin) ** 2, axis=-1)) > (plan.skin / 2) ** 2

    def rebuild() -> PairList:
        made = build_list(plan, positions)
        return made._replace(builds=pairs.builds + 1, overflow=pairs.overflow | made.overflow)

    return jax.lax.cond(moved, rebuild, lambda: pairs)


def edges_within(
    pairs: PairList, positions: Float[Array, "atoms 3"], cutoff: float, capacity: int, degree: int
) -> Edges:
    """Select the pairs within the cutoff, without those in the skin.

    The edge functions of a network without an envelope do not vanish beyond its cutoff, so it must not get
    pairs in the skin.

    Args:
        pairs: A list that is valid at these positions.
        positions: Positions in Å.
        cutoff: Cutoff in Å, at most that of the list.
        capacity: Number of edges that there is room for.
        degree: Number of edges of one atom that there is room for.
    """
    vectors = pairs.vectors(positions)
    near = pairs.is_pair & (jnp.sum(vectors**2, axis=-1) <= cutoff**2)
    chosen, number = _compact(near, capacity)
    is_edge = jnp.arange(capacity) < number
    receivers = pairs.receivers[chosen]
    bounds = jnp.searchsorted(jnp.where(is_edge, receivers, len(positions)), jnp.arange(len(positions) + 1))
    first, counts = bounds[:-1].astype(jnp.int32), jnp.diff(bounds).astype(jnp.int32)
    return Edges(
        vectors=jnp.where(is_edge[:, None], vectors[chosen], jnp.array([1.0, 0.0, 0.0], vectors.dtype)),
        senders=jnp.where(is_edge, pairs.senders[chosen], 0),
        receivers=jnp.where(is_edge, receivers, 0),
        first=first,
        counts=counts,
        overflow=(number > capacity) | (counts.max() > degree),
    )
