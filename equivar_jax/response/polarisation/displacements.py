"""Displacements of the atoms of a crystal along a path, followed from cell to cell."""

import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.structures import source

LARGEST_STEP = 0.25
"""Largest step as a fraction of a cell vector; up to it, an atom has moved to its nearest image."""
SAME_CELL = 1e-6
"""In Å: cell vectors that differ by less are those of one cell, written with rounding."""


def fractional_step(
    before: Atoms, after: Atoms, largest_step: float = LARGEST_STEP
) -> Float[np.ndarray, "atoms 3"]:
    """Compute how far the atoms move in one short step, in fractional coordinates.

    Displacements are those of the nearest images, so atoms may be wrapped into the cell in between. They are
    taken relative to the mean of all atoms: a rigid translation does not count.

    Args:
        before: Start of the step.
        after: End of the step.
        largest_step: How far an atom may move, as a fraction of each cell vector.

    Raises:
        InputError: An atom moves farther.
    """
    fractional = _fractional(after) - _fractional(before)
    # Relative to one atom first, so that even a rigid translation by half a cell does not change images.
    fractional -= fractional[0]
    fractional -= np.round(fractional)
    fractional -= fractional.mean(axis=0)
    farthest = np.abs(fractional).max(axis=1)
    if farthest.max() > largest_step:
        atom = int(np.argmax(farthest))
        raise InputError(
            f"{source(after)}: atom {atom} moves by {farthest[atom]:.2f} of a cell vector since the frame "
            f"before, more than {largest_step}; give a path with more frames"
        )
    return fractional


def displacements_along(
    frames: Sequence[Atoms], largest_step: float = LARGEST_STEP
) -> Float[np.ndarray, "frames atoms 3"]:
    """Compute the displacements since the first frame in Å, not wrapped and without rigid translations.

    Args:
        frames: The path, in one cell (see `changed_cell`).
        largest_step: As for `fractional_step`.

    Raises:
        InputError: An atom moves too far in one step.
    """
    steps = [fractional_step(*pair, largest_step) for pair in itertools.pairwise(frames)]
    fractional = np.cumsum([np.zeros((len(frames[0]), 3)), *steps], axis=0)
    return fractional @ frames[0].cell.array


def changed_cell(frames: Sequence[Atoms]) -> Atoms | None:
    """Return the first frame whose cell differs from that of the first, or None."""
    first = frames[0].cell.array
    return next((atoms for atoms in frames if np.abs(atoms.cell.array - first).max() > SAME_CELL), None)


def _fractional(atoms: Atoms) -> Float[np.ndarray, "atoms 3"]:
    """Return fractional coordinates that are not wrapped into the cell."""
    return np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
