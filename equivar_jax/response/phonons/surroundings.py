"""Vacuum in a periodic cell: molecules, whose rotations are no vibrations, and slabs and wires."""

import dataclasses
import itertools
import warnings

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from jaxtyping import Float
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.gamma_input import Phonons
from equivar_jax.structures import source

_VACUUM = 6.0
"""Empty layers thicker than this, in Å, are no gap between the layers of a crystal (3.3 in graphite)."""


class VacuumWarning(UserWarning):
    """Warns that a response per volume depends on how much vacuum a cell has."""


def vacuum_layers(atoms: Atoms) -> Float[np.ndarray, "3"]:
    """Return the thickness in Å of the thickest empty layer across each lattice vector.

    Empty means without the centre of an atom; the layer lies parallel to the other two vectors.
    """
    heights = atoms.get_volume() / np.linalg.norm(
        np.cross(atoms.cell.array[[1, 2, 0]], atoms.cell.array[[2, 0, 1]]), axis=1
    )
    fractions = np.sort(atoms.get_scaled_positions(), axis=0)
    gaps = np.diff(fractions, axis=0, append=fractions[:1] + 1.0)
    return gaps.max(axis=0) * heights


def describe_vacuum(atoms: Atoms) -> str:
    """Say how much vacuum is in a cell, and what stands in it; nothing of a crystal without any."""
    layers = vacuum_layers(atoms)
    empty = np.flatnonzero(layers > _VACUUM)
    if not empty.size:
        return ""
    found = ", ".join(f"{layers[axis]:.1f} Å across {'abc'[axis]}" for axis in empty)
    return f"{found} of vacuum, so {('a slab', 'a wire', 'a molecule')[len(empty) - 1]}"


def warn_of_vacuum(atoms: Atoms, what: str) -> None:
    """Warn if a cell, periodic in three directions, has vacuum in it.

    Args:
        atoms: The structure.
        what: What depends on the vacuum, for the message.
    """
    if found := describe_vacuum(atoms):
        warnings.warn(
            f"{source(atoms)}: {found}: {what} are those of this cell as a crystal in "
            "three dimensions and depend on the vacuum; alone in space, its LO and TO meet at Gamma",
            VacuumWarning,
            stacklevel=2,
        )


def molecule_in_box(phonons: Phonons) -> Phonons:
    """Take a periodic cell for a box with one molecule in it, whose rotations `gamma_modes` then leaves out.

    The molecule is put together from whichever images of its atoms the cell has.

    Raises:
        InputError: The atoms are as near to their images as to each other.
    """
    return dataclasses.replace(phonons, atoms=_whole(phonons.atoms))


def is_molecule_in_box(atoms: Atoms) -> bool:
    """Return whether the atoms of a cell are nearer to each other than to their images."""
    try:
        _whole(atoms)
    except InputError:
        return False
    return True


def _whole(atoms: Atoms) -> Atoms:
    """Return the atoms as one molecule that is not periodic."""
    size = len(atoms)
    first, second = np.triu_indices(size, 1)
    bonds, lengths = find_mic(atoms.positions[second] - atoms.positions[first], atoms.cell, atoms.pbc)
    vectors, distances = np.zeros((size, size, 3)), np.zeros((size, size))
    vectors[first, second], vectors[second, first] = bonds, -bonds
    distances[first, second] = lengths
    # The shortest bonds that hold the molecule together, and the way along them from the first atom.
    tree = minimum_spanning_tree(distances)
    order, previous = breadth_first_order(tree, 0, directed=False)
    whole = atoms.copy()
    for atom in order[1:]:
        whole.positions[atom] = whole.positions[previous[atom]] + vectors[previous[atom], atom]
    steps = [[-1, 0, 1] if periodic else [0] for periodic in atoms.pbc]
    shifts = np.array(list(itertools.product(*steps)))
    images = shifts[shifts.any(axis=1)] @ atoms.cell.array
    apart = whole.positions[:, None] - whole.positions
    if len(images):
        nearest = np.linalg.norm(apart[:, :, None] + images, axis=-1).min()
        longest = float(tree.max()) if tree.nnz else 0.0
        if nearest <= max(longest, 1.0):
            raise InputError(
                f"{source(atoms)}: not a molecule in a box: the next image is {nearest:.2f} Å away, and the "
                f"longest bond has {longest:.2f} Å; leave out --molecule"
            )
    whole.pbc = False
    return whole
