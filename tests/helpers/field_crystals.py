"""Crystals of springs, and Born effective charges that are fixed or change with the positions."""

import numpy as np
from ase import units

from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs, rock_salt

CHARGE = 1.96
ALONG, ACROSS = 8.0, 1.5
STIFFNESS = 2 * ALONG + 4 * ACROSS  # of the optical mode of rock salt at Gamma, in eV/Å²


def random_tensors(atoms, seed=0):
    """Tensors without symmetry whose sum is zero."""
    tensors = np.random.default_rng(seed).normal(size=(len(atoms), 3, 3))
    return tensors - tensors.mean(axis=0)


def scalar_tensors(atoms):
    signs = np.where(atoms.numbers == 12, 1.0, -1.0)
    return CHARGE * signs[:, None, None] * np.eye(3)


def moving_tensors(atoms):
    """Tensors that change with the positions; their sum is zero."""
    tensors = random_tensors(atoms) * (1 + 0.5 * np.sin(3 * atoms.positions))[:, :, None]
    return tensors - tensors.mean(axis=0)


def springs(cubic=True, tensors=None):
    """Rock salt held by springs, and its calculator."""
    atoms = rock_salt(cubic=cubic)
    tensors = scalar_tensors(atoms) if tensors is None else tensors
    return atoms, HarmonicCrystal(atoms, nearest_neighbour_springs(atoms, ALONG, ACROSS), tensors)


def random_walk(atoms, steps, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        yield atoms


def heat(atoms):
    """Velocities of 300 K."""
    normal = np.random.default_rng(0).normal(size=(len(atoms), 3))
    atoms.set_velocities(normal * np.sqrt(300 * units.kB / atoms.get_masses())[:, None])


def moving_tensors_of_cell(atoms):
    """Tensors that are the same for atoms in any image of the cell."""
    scaled = np.sin(2 * np.pi * atoms.get_scaled_positions())
    return random_tensors(atoms) + scaled[:, :, None] * np.eye(3)
