"""The frames of a path of a crystal, and the displacements of its atoms, followed from cell to cell."""

import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.prediction.polarisation import LARGEST_SHARE, SAME_CELL, nearest_images
from equivar_jax.structures import check_structure, source

LARGEST_STEP = LARGEST_SHARE
"""Largest step as a fraction of a cell vector; up to it, an atom has moved to its nearest image."""


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
    fractional = nearest_images(_fractional(after) - _fractional(before))
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


def check_frames(frames: Sequence[Atoms]) -> None:
    """Check that frames can have a polarisation and have the atoms of the first one.

    Raises:
        InputError: A frame cannot be used, is not periodic along three directions or has a net charge, or
            frames do not belong together.
    """
    for atoms in frames:
        _check_frame(atoms, frames[0])


def _check_frame(atoms: Atoms, first: Atoms) -> None:
    check_structure(atoms)
    if not atoms.pbc.all():
        raise InputError(
            f"{source(atoms)}: periodic along {atoms.pbc.sum()} directions; polarisation is that of a "
            "crystal, give a cell that is periodic along three; a molecule has ASE's property dipole "
            "(EquivarCalculator, with a network of the form polarisation)"
        )
    if atoms.info.get("charge", 0.0):
        raise InputError(
            f"{source(atoms)}: a net charge of {atoms.info['charge']} e; the polarisation of a charged cell "
            "depends on the origin, give a neutral one"
        )
    if not np.array_equal(atoms.numbers, first.numbers):
        raise InputError(f"{source(atoms)}: other atoms than in {source(first)}; give frames of one path")


def _fractional(atoms: Atoms) -> Float[np.ndarray, "atoms 3"]:
    """Return fractional coordinates that are not wrapped into the cell."""
    return np.linalg.solve(atoms.cell.array.T, atoms.positions.T).T
