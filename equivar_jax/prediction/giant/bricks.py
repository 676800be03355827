"""Division of the atoms of one structure by space: bricks of equal numbers, along the axes of its cell."""

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int


def divide(atoms: Atoms, parts: int) -> Int[np.ndarray, " atoms"]:
    """Divide the atoms of a structure into bricks, by cutting the longest one in two again and again.

    Cuts are planes along two axes of the cell, so that a brick is a range of fractional coordinates, and few
    atoms are near the surface of one. Numbers of atoms differ by one at most for each cut.

    Args:
        atoms: The structure. Directions without a cell vector are cut, too.
        parts: Number of bricks; some are empty if there are fewer atoms.

    Returns:
        int32 (N,): the brick of each atom, from 0 to `parts` - 1.
    """
    fractions, lengths = _fractions(atoms)
    owner = np.zeros(len(atoms), np.int32)
    _cut(fractions, lengths, np.arange(len(atoms)), (0, parts), owner)
    return owner


def _fractions(atoms: Atoms) -> tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, " 3"]]:
    """Compute fractional coordinates, wrapped where that is allowed, and the heights of the cell in Å."""
    cell = atoms.cell.complete().array
    fractions = np.linalg.solve(cell.T, atoms.positions.T).T
    fractions[:, atoms.pbc] %= 1.0
    return fractions, 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def _cut(
    fractions: Float[np.ndarray, "atoms 3"],
    lengths: Float[np.ndarray, " 3"],
    members: Int[np.ndarray, " members"],
    bricks: tuple[int, int],
    owner: Int[np.ndarray, " atoms"],
) -> None:
    """Write the brick of some atoms, which are to be divided among the bricks of a range."""
    first, last = bricks
    if last - first == 1 or len(members) == 0:
        owner[members] = first
        return
    middle = (first + last) // 2
    inside = fractions[members]
    axis = int(np.argmax(np.ptp(inside, axis=0) * lengths))
    # A share that goes with the number of bricks on either side, so that any number of them is balanced.
    share = round(len(members) * (middle - first) / (last - first))
    order = np.argpartition(inside[:, axis], min(share, len(members) - 1))
    del inside
    _cut(fractions, lengths, members[order[:share]], (first, middle), owner)
    _cut(fractions, lengths, members[order[share:]], (middle, last), owner)
