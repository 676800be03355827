"""New frames of a trajectory, mixed from pairs of its frames."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.structures import source


def find_displacements(
    frames: Sequence[Atoms],
) -> tuple[Float[np.ndarray, "atoms 3"], Float[np.ndarray, "frames atoms 3"]]:
    """Return the mean positions of a trajectory in Å, and the displacement of each frame from them.

    All frames have one periodic cell. Atoms are followed from frame to frame through the boundaries of the
    cell, and the drift of the crystal is taken out; no atom may move by half a cell in a step.

    Raises:
        InputError: A frame has other atoms or another cell than the first, or is not periodic.
    """
    for atoms in frames:
        if not np.array_equal(atoms.numbers, frames[0].numbers) or not np.allclose(
            atoms.cell, frames[0].cell
        ):
            raise InputError(
                f"{source(atoms)}: other atoms or another cell than in the first frame; split the file"
            )
        if not atoms.pbc.all():
            raise InputError(f"{source(atoms)}: not periodic in all directions; mix frames of a crystal")
    scaled = np.array([atoms.get_scaled_positions(wrap=False) for atoms in frames])
    steps = np.diff(scaled, axis=0, prepend=scaled[:1])
    steps -= np.round(steps)
    paths = np.cumsum(steps, axis=0)
    paths -= paths.mean(axis=1, keepdims=True)
    moved = paths @ frames[0].cell.array
    mean = moved.mean(axis=0)
    return frames[0].positions + mean, moved - mean


def mix_frames(frames: Sequence[Atoms], count: int, seed: int = 0) -> list[Atoms]:
    """Make frames `mean + cos(t) u_a + sin(t) u_b` of random pairs of frames a, b and angles t.

    Angles are between 0 and 90 degrees. If displacements u are normally distributed, as in a harmonic
    crystal, and frames are so far apart that they are independent, the new displacements have the same
    distribution, correlations between atoms included. A straight average of two frames would have smaller
    displacements.

    Args:
        frames: Two or more frames of the same atoms in the same cell.
        count: Number of frames to make.
        seed: The seed of pairs and angles.

    Returns:
        Structures without labels.

    Raises:
        InputError: There are fewer than two frames, or `find_displacements` refuses them.
    """
    if len(frames) < 2:
        raise InputError(f"mixing takes two frames or more, not {len(frames)}; give more")
    rng = np.random.default_rng(seed)
    mean, moved = find_displacements(frames)
    made = []
    for _ in range(count):
        first, second = rng.choice(len(frames), 2, replace=False)
        angle = rng.uniform(0.0, np.pi / 2)
        positions = mean + np.cos(angle) * moved[first] + np.sin(angle) * moved[second]
        made.append(Atoms(frames[0].numbers, positions, cell=frames[0].cell, pbc=frames[0].pbc))
    return made
