"""Frames of a perovskite with labels of the demonstration model, and a config small enough to teach with."""

import numpy as np
from ase import Atoms

from equivar_jax.datasets.demonstration.polarisable_ion import born_effective_charges
from equivar_jax.structures import with_born_effective_charges

IDEAL = Atoms(
    "CaTiO3",
    cell=[3.9, 3.9, 4.0],
    pbc=True,
    scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.52), (0, 0.5, 0.48), (0.5, 0, 0.48), (0.5, 0.5, 0.98)],
)
"""A polar, tetragonal cell."""

QUICK_CONFIG = """
from equivar_jax.config import Config, ModelConfig, TrainConfig

def get_config():
    model = ModelConfig(
        cutoff=3.0, channels=2, interactions=1, edge_hidden=2, radial_functions=4, embedding=4,
        envelope=True, node_products=True, self_connection=True,
    )
    return Config(model=model, train=TrainConfig(batch_size=1, learning_rate=0.05, schedule="constant"))
"""
"""A config file whose networks compile fast; without a schedule their program is that of any length."""


def thermal_frames(count, seed=0, spread=0.05):
    """Frames of one cell with normal displacements and labels."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        atoms = IDEAL.copy()
        atoms.positions += rng.normal(scale=spread, size=(5, 3))
        frames.append(with_born_effective_charges(atoms, born_effective_charges(atoms)))
    return frames
