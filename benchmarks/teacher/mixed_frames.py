"""New frames of a trajectory, mixed from pairs of its frames."""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from benchmarks.real_data.displacements import find_displacements
from equivar_jax.errors import InputError


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
