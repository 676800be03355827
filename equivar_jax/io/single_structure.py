"""Checks for writers of files that hold the tensors of one structure."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.labels import prepare_label
from equivar_jax.structures import born_effective_charges, check_structure, source


def only_labelled(path: Path, structures: Iterable[Atoms], periodic: bool = True) -> Atoms:
    """Return the one structure of a file, which has tensors.

    Args:
        path: the file, for messages.
        structures: exactly one structure with Born effective charges.
        periodic: whether it must be periodic in all three directions.

    Raises:
        InputError: there is not exactly one, it has no tensors, or it is not periodic although it must be.
    """
    several = list(structures)
    if len(several) != 1:
        raise InputError(f"{path}: this file holds one structure, not {len(several)}; give exactly one")
    (atoms,) = several
    check_structure(atoms)
    if born_effective_charges(atoms) is None:
        raise InputError(f"{source(atoms)}: no Born effective charges to write to {path}; predict them first")
    if periodic and not atoms.pbc.all():
        raise InputError(
            f"{source(atoms)}: not periodic in all directions, as {path.name} needs it; set its cell and pbc"
        )
    return atoms


def tensors_of(atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the tensors of a structure that has them, [atom, field, displacement] in e, checked."""
    return prepare_label(atoms, born_effective_charges(atoms))
