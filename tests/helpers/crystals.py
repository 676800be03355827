"""Labelled crystals and files of them."""

import re

import numpy as np
from ase import Atoms

from equivar_jax.io import write_structures
from equivar_jax.structures import with_born_effective_charges


def labelled_crystal(seed=0, scale=1.0):
    """Three atoms without any symmetry; their tensors are far from symmetric and sum to zero."""
    rng = np.random.default_rng(seed)
    places = [[0.05, 0.02, 0.1], [0.5, 0.45, 0.4], [0.2, 0.6, 0.8]]
    cell = np.array([[4.1, 0.0, 0.0], [0.3, 4.4, 0.0], [-0.2, 0.5, 5.3]]) * scale
    atoms = Atoms("MgOTi", cell=cell, scaled_positions=places, pbc=True)
    atoms.positions += rng.normal(scale=0.05, size=(3, 3))
    tensors = np.array([2.0, -2.0, 0.0])[:, None, None] * np.eye(3) + rng.normal(scale=0.7, size=(3, 3, 3))
    return with_born_effective_charges(atoms, tensors - tensors.mean(axis=0))


def assert_no_absolute_path(folder):
    """No text of a checkpoint that is handed on says where it was made."""
    texts = [path for path in folder.rglob("*") if path.is_file() and path.suffix in ("", ".txt", ".json")]
    texts = [path for path in texts if path.parent.name != "d"]  # chunks of arrays
    assert {"metadata", "_METADATA", "commit_success.txt"} <= {path.name for path in texts}
    for path in texts:
        assert not re.search(rb"(^|[\s\"'])/\w", path.read_bytes()), path


def titanate(repeat=1, seed=0):
    """Cubic CaTiO3, rattled, in a supercell of `repeat` cells along x; its elements are all trained on."""
    cell = Atoms(
        "CaTiO3",
        cell=[3.9] * 3,
        pbc=True,
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
    )
    atoms = cell.repeat((repeat, 1, 1))
    atoms.rattle(0.05, seed=seed)
    return atoms


def written(path, structures, **infos):
    for k, atoms in enumerate(structures):
        atoms.info.update({name: values[k] for name, values in infos.items()})
    write_structures(path, structures)
    return str(path)


def random_structure(seed):
    """Eight atoms in a skewed cell, neighbours from none to many; never two at the same place."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid([0, 0.5], [0, 0.5], [0, 0.5]), -1).reshape(-1, 3)
    cell = np.diag(rng.uniform(4.0, 6.0, 3)) + rng.uniform(-0.8, 0.8, (3, 3))
    atoms = Atoms(numbers=rng.choice([3, 8, 15, 22, 56], 8), scaled_positions=grid, cell=cell, pbc=True)
    atoms.positions += rng.uniform(-0.4, 0.4, (8, 3))
    return atoms
