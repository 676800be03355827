"""Two states of a material: one to train on, the other to be wrong about."""

from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from benchmarks.real_data.parts import FILES, data_folder
from equivar_jax.io import read_structures

QUARTZ_AT_300_K = 101
"""The first frames of SiO2-300K; the others are of 600 K."""
MATERIALS = ("SiO2-300K", "BaTiO3-300K")


class States(NamedTuple):
    """The frames of a material, divided by state."""

    known: list[Atoms]
    """Quartz at 300 K; of BaTiO3 the frames that are calmer, by displacement from the mean positions."""
    other: list[Atoms]
    """Quartz at 600 K; the wilder half of BaTiO3."""


def divide(name: str) -> States:
    """Read the frames of a material and divide them by state."""
    frames = list(read_structures(data_folder() / FILES[name]))
    if name == "SiO2-300K":
        return States(frames[:QUARTZ_AT_300_K], frames[QUARTZ_AT_300_K:])
    frames = frames[1:]  # the first is the ideal crystal
    order = np.argsort(mean_square_displacements(frames), kind="stable")
    half = len(frames) // 2
    parts = (sorted(order[:half].tolist()), sorted(order[half:].tolist()))
    return States(*([frames[k] for k in part] for part in parts))


def mean_square_displacements(frames: list[Atoms]) -> Float[np.ndarray, " frames"]:
    """Return the mean square displacement of each frame from the mean positions in Å², without drift."""
    scaled = np.array([atoms.get_scaled_positions(wrap=False) for atoms in frames])
    moved = scaled - scaled[0]
    moved -= np.round(moved)
    moved -= moved.mean(axis=0)
    positions = np.einsum("fia,fab->fib", moved, np.array([atoms.cell.array for atoms in frames]))
    positions -= positions.mean(axis=1, keepdims=True)
    return np.square(positions).sum(axis=2).mean(axis=1)
