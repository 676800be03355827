"""A crystal without symmetry whose tensors come from the dipole alone, so that their index order is known."""

import functools

import numpy as np
from ase import Atoms

from equivar_jax.datasets.demonstration.polarisable_ion import cell_dipole


@functools.cache
def _measured() -> tuple[Atoms, np.ndarray]:
    rng = np.random.default_rng(7)
    places = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    cell = 3.95 * np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    atoms = Atoms("PbTiO3", scaled_positions=places, cell=cell, pbc=True)
    atoms.positions += 0.08 * rng.normal(size=(5, 3))
    tensors = np.zeros((5, 3, 3))
    for atom, displacement in np.ndindex(5, 3):
        ends = []
        for step in (1e-3, -1e-3):
            moved = atoms.copy()
            moved.positions[atom, displacement] += step
            ends.append(cell_dipole(moved))
        tensors[atom, :, displacement] = (ends[0] - ends[1]) / 2e-3  # the field's index is the dipole's
    assert np.abs(tensors - tensors.transpose(0, 2, 1)).max() > 0.1
    return atoms, tensors


def crystal_and_tensors() -> tuple[Atoms, np.ndarray]:
    """Five atoms, and d(dipole a)/d(position b) in e by finite differences: [atom, field, displacement]."""
    atoms, tensors = _measured()
    return atoms.copy(), tensors.copy()
