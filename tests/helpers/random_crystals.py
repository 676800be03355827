"""Crystals without symmetry, of random but sound springs and Born charges, and their thermal motion."""

import numpy as np
from ase import Atoms, units

from equivar_jax.response.optics.spectra import DipoleRates
from equivar_jax.structures import with_born_effective_charges

TEMPERATURE = 300.0


def random_crystal(seed=0, symbols="MgOTi", pbc=True):
    """Atoms, stable force constants (rows sum to zero) and Born charges far from symmetric (sum zero)."""
    rng = np.random.default_rng(seed)
    cell = np.array([[4.1, 0.0, 0.0], [0.3, 4.4, 0.0], [-0.2, 0.5, 5.3]])
    size = len(Atoms(symbols))
    atoms = Atoms(symbols, cell=cell, scaled_positions=rng.uniform(size=(size, 3)), pbc=pbc)
    rest = np.eye(3 * size) - np.tile(np.eye(3), (size, size)) / size
    root = rng.normal(scale=1.5, size=(3 * size, 3 * size)) + 3.0 * np.eye(3 * size)
    matrix = rest @ root @ root.T @ rest
    charges = rng.normal(size=(size, 3, 3))
    return atoms, blocks(matrix, size), charges - charges.mean(axis=0)


def blocks(matrix, atoms):
    """[atom, atom, direction, direction] of a matrix over coordinates."""
    return matrix.reshape(atoms, 3, atoms, 3).transpose(0, 2, 1, 3)


def matrix_of(constants):
    """The inverse of `blocks`."""
    return constants.transpose(0, 2, 1, 3).reshape(3 * len(constants), -1)


def diatomic(spring=30.0, charge=0.5):
    """A molecule of two charged atoms with a spring along x: one vibration, `omega² = spring / mu`."""
    atoms = Atoms("CO", positions=[(0, 0, 0), (1.13, 0, 0)])
    constants = np.zeros((2, 2, 3, 3))
    constants[:, :, 0, 0] = spring * np.array([[1, -1], [-1, 1]])
    return atoms, constants, np.array([1.0, -1.0])[:, None, None] * charge * np.eye(3)


def thermal(modes, steps, timestep, seed=0):
    """Every mode with energy k T: displacements and velocities (steps, atoms, 3); the time step in fs."""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, len(modes.squares))
    angles = np.arange(steps)[:, None] * timestep * units.fs * modes.frequencies + phases
    amplitudes = np.sqrt(2 * units.kB * TEMPERATURE)
    patterns = modes.eigenvectors / np.sqrt(modes.masses)[:, None]
    moved = np.tensordot(amplitudes / modes.frequencies * np.cos(angles), patterns, 1)
    return moved, np.tensordot(-amplitudes * np.sin(angles), patterns, 1)


def frames_of(atoms, charges, moved, velocities=None):
    """Frames of a trajectory with labels, and with velocities if they are given."""
    frames = []
    for step, displacements in enumerate(moved):
        frame = with_born_effective_charges(atoms, charges)
        frame.positions += displacements
        if velocities is not None:
            frame.set_velocities(velocities[step])
        frames.append(frame)
    return frames


def rates_of(charges, velocities, timestep):
    """Of the dipole, the time step in fs."""
    return DipoleRates(np.einsum("iab,tib->ta", charges, velocities), timestep * units.fs)


def integral(wavenumbers, values, low=0.0, high=np.inf):
    """Of a spectrum, between two wavenumbers."""
    chosen = (wavenumbers >= low) & (wavenumbers <= high)
    return np.trapezoid(values[chosen], wavenumbers[chosen])
