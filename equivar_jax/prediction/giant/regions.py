"""The part of a structure that each device works on: own atoms, rows of other atoms that it reads, and edges.

The table of features of a device has the rows of its own atoms, some of padding, and then those of the halo:
the atoms of other devices that its own atoms have as neighbours, in the order in which they are received.
Everything here is NumPy, and every process makes the same of it.
"""

import math
from typing import NamedTuple

import jraph
import numpy as np
from jaxtyping import Int

from equivar_jax.graphs.graph import AnyGraph, neighbour_counts
from equivar_jax.prediction.giant.exchange import Exchange, count_rows, plan_rounds
from equivar_jax.prediction.pieces import Piece, graph_of_piece, round_up


class Regions(NamedTuple):
    """A structure divided among devices; all devices have arrays of one shape."""

    graph: AnyGraph
    own: list[Int[np.ndarray, " _own"]]
    """The atoms of each device, in rising order."""
    halos: list[Int[np.ndarray, " _halo"]]
    """The atoms of other devices that each one reads, in rising order."""
    halo_rows: list[Int[np.ndarray, " _halo"]]
    """The row of each of them in the table of the device."""
    send: Int[np.ndarray, "devices rows"]
    """Rows that each device sends, one round after the other; padding sends row 0, which nobody reads."""
    exchange: Exchange
    counts: Int[np.ndarray, " atoms"]
    """Neighbours of each atom."""
    first_edges: Int[np.ndarray, " atoms"]
    nodes: int
    """Own atoms in one piece, with padding."""
    pieces: int
    """Pieces of each device."""
    capacity: int
    """Edges of a piece, with padding."""
    width: int
    """Slots for the neighbours of each atom, if the kernel needs them."""

    @property
    def own_rows(self) -> int:
        """Rows for own atoms in the table of a device, with padding."""
        return self.nodes * self.pieces

    @property
    def rows(self) -> int:
        """Rows of the table of a device."""
        return self.own_rows + self.exchange.rows

    def species(self, device: int) -> Int[np.ndarray, " rows"]:
        """Return the atomic numbers of the rows of a device; zero for padding."""
        known = self.graph.nodes["species"]
        found = np.zeros(self.rows, np.int32)
        found[: len(self.own[device])] = known[self.own[device]]
        found[self.halo_rows[device]] = known[self.halos[device]]
        return found

    def atoms_of(self, device: int, piece: int) -> Int[np.ndarray, " _atoms"]:
        """Return the atoms of one piece of a device, without padding."""
        return self.own[device][piece * self.nodes : (piece + 1) * self.nodes]

    def graph_of(self, device: int, piece: int, dtype: np.dtype) -> jraph.GraphsTuple:
        """Build the padded graph of the edges that the atoms of one piece of a device receive.

        Senders and receivers are rows of the table of the device; atomic numbers are left out.
        """
        atoms, start = self.atoms_of(device, piece), piece * self.nodes
        counts = self.counts[atoms]
        total = int(counts.sum())
        # The edges of each atom lie together: the first one, and the place among them.
        place = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
        edges = np.repeat(self.first_edges[atoms], counts) + place
        local = self.graph._replace(
            edges={"vectors": self.graph.edges["vectors"][edges]},
            senders=self.rows_of(device, self.graph.senders[edges]),
            receivers=np.repeat(np.arange(start, start + len(atoms), dtype=np.int32), counts),
        )
        padded = np.pad(counts, (0, self.nodes - len(atoms)))
        whole = Piece(start, slice(0, total), padded, self.capacity, self.width)
        return graph_of_piece(local, whole, np.zeros(0, np.int32), dtype)

    def rows_of(self, device: int, atoms: Int[np.ndarray, " _atoms"]) -> Int[np.ndarray, " _atoms"]:
        """Return the rows of own atoms and of atoms of the halo in the table of a device."""
        own, halo = self.own[device], self.halos[device]
        row = np.searchsorted(own, atoms)
        is_own = own.take(row, mode="clip") == atoms if len(own) else np.zeros(len(atoms), bool)
        there = np.searchsorted(halo, atoms[~is_own])
        row[~is_own] = self.halo_rows[device][there]
        return row.astype(np.int32)


def divide_graph(
    graph: AnyGraph, owner: Int[np.ndarray, " atoms"], devices: int, nodes: int, slots: bool
) -> Regions:
    """Divide a graph among devices.

    Args:
        graph: One structure, its edges sorted by receiver.
        owner: The device of each atom.
        devices: Their number.
        nodes: Largest number of own atoms in one piece.
        slots: Whether the kernel needs slots for the neighbours of each node.
    """
    counts = neighbour_counts(graph)
    first = np.cumsum(counts) - counts
    order = np.argsort(owner, kind="stable")
    own = np.split(order, np.cumsum(np.bincount(owner, minlength=devices))[:-1])
    halos = [_halo(graph, counts, owner, device) for device in range(devices)]
    exchange = plan_rounds(count_rows(halos, owner))
    most = max(map(len, own))
    pieces = math.ceil(most / nodes)
    nodes = math.ceil(most / pieces)
    edges = [
        int(counts[atoms[start : start + nodes]].sum()) for atoms in own for start in range(0, most, nodes)
    ]
    regions = Regions(
        graph,
        own,
        halos,
        [np.zeros(len(halo), np.int64) for halo in halos],
        np.zeros((devices, exchange.rows), np.int32),
        exchange,
        counts,
        first,
        nodes,
        pieces,
        round_up(max(edges)),
        int(counts.max(initial=0)) if slots else 0,
    )
    _fill_in(regions, owner)
    return regions


def _halo(
    graph: AnyGraph, counts: Int[np.ndarray, " atoms"], owner: Int[np.ndarray, " atoms"], device: int
) -> Int[np.ndarray, " halo"]:
    """List the atoms of other devices that are neighbours of the atoms of a device."""
    is_read = np.zeros(len(owner), bool)
    is_read[graph.senders[np.repeat(owner == device, counts)]] = True
    return np.flatnonzero(is_read & (owner != device))


def _fill_in(regions: Regions, owner: Int[np.ndarray, " atoms"]) -> None:
    """Write down which rows are sent, and to which rows what is received goes."""
    for pairs, start in zip(regions.exchange.rounds, regions.exchange.starts(), strict=True):
        for sender, receiver in pairs:
            halo = regions.halos[receiver]
            is_sent = owner[halo] == sender
            rows = np.searchsorted(regions.own[sender], halo[is_sent])
            regions.send[sender, start : start + len(rows)] = rows
            regions.halo_rows[receiver][is_sent] = regions.own_rows + start + np.arange(len(rows))


def own_and_halo(regions: Regions) -> Int[np.ndarray, "devices 2"]:
    """Count the atoms of each device and those of its halo, without padding."""
    return np.array([[len(own), len(halo)] for own, halo in zip(regions.own, regions.halos, strict=True)])
