"""Crystals whose labels are the exact tensors of the demonstration model, and ways to spoil them."""

import functools

import numpy as np
from ase import Atoms
from ase.spacegroup import crystal

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.datasets.demonstration import polarisable_ion
from equivar_jax.structures import SOURCE, born_effective_charges, with_born_effective_charges

CONFIG = HygieneConfig(rare_element=0)


def named(atoms: Atoms, name: str) -> Atoms:
    atoms.info[SOURCE] = name
    return atoms


def labelled(atoms: Atoms, name: str) -> Atoms:
    return named(with_born_effective_charges(atoms, polarisable_ion.born_effective_charges(atoms)), name)


def relabelled(atoms: Atoms, tensors: np.ndarray, name: str) -> Atoms:
    return named(with_born_effective_charges(atoms, tensors), name)


def transposed(atoms: Atoms, name: str = "transposed") -> Atoms:
    return relabelled(atoms, born_effective_charges(atoms).transpose(0, 2, 1), name)


def turned(atoms: Atoms, rotation: np.ndarray, name: str) -> Atoms:
    """The crystal and its tensors, rotated or reflected together."""
    cell, positions = atoms.cell.array @ rotation.T, atoms.positions @ rotation.T
    moved = Atoms(atoms.numbers, positions=positions, cell=cell, pbc=atoms.pbc)
    return relabelled(moved, rotation @ born_effective_charges(atoms) @ rotation.T, name)


def _pnma() -> Atoms:
    atoms = crystal(
        ["Ca", "Ti", "O", "O"],
        [(0.036, 0.25, 0.993), (0, 0, 0.5), (0.484, 0.25, 0.071), (0.289, 0.037, 0.711)],
        spacegroup=62,
        cellpar=[5.44, 7.64, 5.38, 90, 90, 90],
    )
    return Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell, pbc=True)


@functools.cache
def perovskite() -> Atoms:
    """CaTiO3, Pnma, 20 atoms; tensors with an antisymmetric part."""
    return labelled(_pnma(), "perovskite")


@functools.cache
def distorted(seed: int = 2) -> Atoms:
    """The same without any symmetry."""
    atoms = _pnma()
    atoms.rattle(0.05, seed=seed)
    return labelled(atoms, f"distorted {seed}")
