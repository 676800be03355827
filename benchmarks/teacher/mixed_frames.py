"""New frames of a trajectory, mixed from those that are there."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.structures import source


def displacements(
    frames: Sequence[Atoms],
) -> tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, "frames atoms 3"]]:
    """Mean positions of a trajectory of one periodic cell in Å, and how far each frame is from them.

    Atoms are followed from frame to frame through the boundaries of the cell, and the crystal's drift is
    taken out; no atom may move by half a cell in a step.

    Raises:
        InputError: a frame with other atoms or another cell than the first, or not periodic.
    """
    for atoms in frames:
        if not np.array_equal(atoms.numbers, frames[0].numbers) or not np.allclose(
            atoms.cell, frames[0].cell
        ):
            raise InputError(
                f"{source(atoms)}: other atoms or another cell than in the first frame; split the file"
            )
        if not atoms.pbc.all():
            raise InputError(f"{source(atoms)}: not periodic in all directions; a crystal's frames are mixed")
    scaled = np.array([atoms.get_scaled_positions(wrap=False) for atoms in frames])
    steps = np.diff(scaled, axis=0, prepend=scaled[:1])
    steps -= np.round(steps)
    paths = np.cumsum(steps, axis=0)
    paths -= paths.mean(axis=1, keepdims=True)
    moved = paths @ frames[0].cell.array
    mean = moved.mean(axis=0)
    return frames[0].positions + mean, moved - mean


def mixed_frames(frames: Sequence[Atoms], count: int, seed: int = 0) -> list[Atoms]:
    """`mean + cos(t) u_a + sin(t) u_b` of random pairs of frames a, b and angles t from 0 to 90 degrees.

    With displacements u of a normal distribution, as in a harmonic crystal, and frames so far apart that they
    are independent, these have the same distribution, correlations between atoms included; a straight average
    of two frames would have smaller ones.

    Args:
        frames: Two or more, of the same atoms in the same cell.
        count: How many to make.
        seed: Of pairs and angles.

    Returns:
        Structures without labels.

    Raises:
        InputError: what `displacements` refuses, or fewer than two frames.
    """
    if len(frames) < 2:
        raise InputError("mixing takes two frames or more")
    rng = np.random.default_rng(seed)
    mean, moved = displacements(frames)
    made = []
    for _ in range(count):
        first, second = rng.choice(len(frames), 2, replace=False)
        angle = rng.uniform(0.0, np.pi / 2)
        positions = mean + np.cos(angle) * moved[first] + np.sin(angle) * moved[second]
        made.append(Atoms(frames[0].numbers, positions, cell=frames[0].cell, pbc=frames[0].pbc))
    return made
