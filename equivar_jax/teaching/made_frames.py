"""New frames of a material, made from those that there are: mixed, stronger, with walls, rattled."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.config.teaching import TeachConfig
from equivar_jax.errors import InputError
from equivar_jax.structures import source
from equivar_jax.teaching.displacements import find_displacements, first_unlike
from equivar_jax.teaching.walls import across_a_wall, find_inversion, wall_angles

KINDS = ("mixed", "stronger", "walls", "rattled")
"""Kinds of made frames; each has a share in `TeachConfig`."""
MADE = "made"
"""Key of `atoms.info` for the kind of a made frame."""
RATTLE_SHARE = 1 / 3
"""Size of random displacements, in standard deviations of those in the frames."""
RATTLE = 0.05
"""Size of random displacements in Å where those in the frames are not known."""
SMALLEST = 0.01
"""Standard deviation in Å below which frames do not move, so that it says nothing of what to add."""

Displacements = Float[np.ndarray, "atoms 3"]


class MadeFrames(NamedTuple):
    """Frames without labels, each with its kind in `info["made"]`."""

    frames: list[Atoms]
    remarks: tuple[str, ...]
    """What the user should know of how they were made."""


def make_frames(frames: Sequence[Atoms], how: TeachConfig, seed: int) -> MadeFrames:
    """Make frames of all kinds by their shares; of unlike frames only rattled ones.

    With mean positions m, displacements u of frames drawn at random, and angles t:

    - mixed: `m + cos(t) u_a + sin(t) u_b`, as in `mix_frames`;
    - stronger: the same displacements times a factor between 1 and `how.amplitude`;
    - walls: t depends on the place (see `walls`);
    - rattled: a frame with normally distributed displacements added.

    Args:
        frames: Two or more frames.
        how: Shares, amplitude, size of displacements, number of frames.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    if (other := first_unlike(frames)) is not None:
        size = how.rattle or RATTLE
        what = (
            f"{source(other)} has other atoms or another cell than the first frame, so frames cannot be "
            f"mixed: all {how.frames:,} are rattled, by {size:.3g} Å"
        )
        return MadeFrames([_rattle(frames, size, rng) for _ in range(how.frames)], (what,))
    mean, moved = find_displacements(frames)
    thermal = float(np.sqrt(np.square(moved).mean()))
    size = how.rattle or (RATTLE_SHARE * thermal if thermal > SMALLEST else RATTLE)
    inversion = find_inversion(frames[0].numbers, mean, frames[0].cell.array)

    def wall() -> Displacements:
        first, second = rng.choice(len(moved), 2, replace=False)
        angles = wall_angles(mean, frames[0].cell.array, rng)
        return across_a_wall(angles, moved[first], moved[second], inversion)

    draw: dict[str, Callable[[], Displacements]] = {
        "mixed": lambda: _mix(moved, rng),
        "stronger": lambda: rng.uniform(1.0, how.amplitude) * _mix(moved, rng),
        "walls": wall,
    }
    made = []
    for kind, count in zip(KINDS, _counts(how), strict=True):
        for _ in range(count):
            made.append(
                _rattle(frames, size, rng)
                if kind == "rattled"
                else _frame(frames[0], mean + draw[kind](), kind)
            )
    image = (
        "no inversion maps it onto itself"
        if inversion is None
        else (
            f"the image of a frame under inversion, whose sites are up to "
            f"{np.linalg.norm(inversion.offset, axis=1).max():.2f} Å away"
        )
    )
    remarks = (
        f"displacements in the frames: {thermal:.3f} Å by coordinate; rattled by {size:.3g} Å",
        f"walls are between frames; {image}"
        if inversion is None
        else f"walls are between a frame and {image}",
    )
    return MadeFrames(made, remarks)


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
    return [_frame(frames[0], mean + _mix(moved, rng), "mixed") for _ in range(count)]


def _mix(moved: Float[np.ndarray, "frames atoms 3"], rng: np.random.Generator) -> Displacements:
    """Mix the displacements of two frames that are drawn at random."""
    first, second = rng.choice(len(moved), 2, replace=False)
    angle = rng.uniform(0.0, np.pi / 2)
    return np.cos(angle) * moved[first] + np.sin(angle) * moved[second]


def _rattle(frames: Sequence[Atoms], size: float, rng: np.random.Generator) -> Atoms:
    """Draw a frame and add normally distributed displacements of this standard deviation in Å."""
    atoms = frames[int(rng.integers(len(frames)))]
    return _frame(atoms, atoms.positions + rng.normal(scale=size, size=atoms.positions.shape), "rattled")


def _frame(like: Atoms, positions: Displacements, kind: str) -> Atoms:
    return Atoms(like.numbers, positions, cell=like.cell, pbc=like.pbc, info={MADE: kind})


def _counts(how: TeachConfig) -> list[int]:
    """Divide the number of frames by the shares of the kinds."""
    shares = np.array([getattr(how, kind) for kind in KINDS])
    ends = np.round(how.frames * np.cumsum(shares) / shares.sum()).astype(int)
    return np.diff(ends, prepend=0).tolist()
