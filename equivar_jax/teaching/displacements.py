"""Displacements of the atoms of a crystal in the frames of a trajectory."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.structures import source


def first_unlike(frames: Sequence[Atoms]) -> Atoms | None:
    """Return the first frame that has other atoms or another cell than the first of all, or None."""
    first = frames[0]
    for atoms in frames:
        if not np.array_equal(atoms.numbers, first.numbers) or not np.allclose(atoms.cell, first.cell):
            return atoms
    return None


def require_periodic(frames: Sequence[Atoms]) -> None:
    """Refuse frames that are not those of a crystal.

    Raises:
        InputError: a frame is not periodic in all directions.
    """
    for atoms in frames:
        if not atoms.pbc.all():
            raise InputError(f"{source(atoms)}: not periodic in all directions; give frames of a crystal")


def find_displacements(
    frames: Sequence[Atoms],
) -> tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, "frames atoms 3"]]:
    """Return the mean positions of a trajectory in Å, and the displacement of each frame from them.

    All frames have one periodic cell. Atoms are followed from frame to frame through the boundaries of the
    cell, and the drift of the crystal is taken out; no atom may move by half a cell from one frame to the
    next. Frames need not be in time order.

    Raises:
        InputError: A frame has other atoms or another cell than the first, or is not periodic.
    """
    if (other := first_unlike(frames)) is not None:
        raise InputError(
            f"{source(other)}: other atoms or another cell than in the first frame; split the file"
        )
    require_periodic(frames)
    scaled = np.array([atoms.get_scaled_positions(wrap=False) for atoms in frames])
    steps = np.diff(scaled, axis=0, prepend=scaled[:1])
    steps -= np.round(steps)
    paths = np.cumsum(steps, axis=0)
    paths -= paths.mean(axis=1, keepdims=True)
    moved = paths @ frames[0].cell.array
    mean = moved.mean(axis=0)
    return frames[0].positions + mean, moved - mean
