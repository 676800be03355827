"""Two states of a material: one to train on, the other to be wrong about."""

from typing import NamedTuple

import numpy as np
from ase import Atoms

from benchmarks.real_data.parts import FILES, data_folder
from benchmarks.real_data.states import QUARTZ_AT_300_K
from equivar_jax.io import read_structures
from equivar_jax.teaching import find_displacements

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
    _, moved = find_displacements(frames)
    order = np.argsort(np.mean(moved**2, axis=(1, 2)), kind="stable")
    half = len(frames) // 2
    parts = (sorted(order[:half].tolist()), sorted(order[half:].tolist()))
    return States(*([frames[k] for k in part] for part in parts))
