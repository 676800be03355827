"""Reader of the label in equivar training files: extended XYZ with the tensors in the comment line.

The entry `target="_JSON [[...], ...]"` is a list with nine numbers for each atom, in e. The entry `id` names
the structure and stays in `atoms.info["id"]`. **The index order is documented nowhere**, so the user has to
state it: the nine numbers are [field, displacement] if the first index is "field", and [displacement, field]
if it is "displacement".
"""

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.labels import attach_label
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import source

TARGET = "target"


class UnknownIndexOrderError(InputError):
    """The index order of tensors is stated neither by the format nor by the user; no frame can be used."""


def has_target(atoms: Atoms, options: ReadOptions) -> bool:
    """Return whether the comment line holds the label: a list of rows, or the entry that the key names."""
    if options.key is not None:
        return options.key == TARGET and TARGET in atoms.info
    value = atoms.info.get(TARGET)
    if isinstance(value, np.ndarray):
        return value.shape[1:] in ((9,), (3, 3))
    return isinstance(value, list) and any(isinstance(row, list) for row in value)


def label_from_target(atoms: Atoms, options: ReadOptions) -> Atoms:
    """Return a copy of `atoms` labelled with the entry `target`, which is removed from `atoms.info`.

    Args:
        atoms: a frame with `atoms.info["target"]`.
        options: `first_index` must be given.

    Returns:
        The structure with tensors [atom, field, displacement] in e, shape (N, 3, 3).

    Raises:
        UnknownIndexOrderError: no first index was given.
        InputError: the entry does not hold nine finite numbers for each atom.
    """
    if options.first_index is None:
        raise UnknownIndexOrderError(
            f"{source(atoms)}: the index order of the tensors in 'target' is not documented; say what their "
            "first index is by --data.first_index field or --data.first_index displacement"
        )
    result = attach_label(atoms, atoms.info[TARGET], options.first_index)
    del result.info[TARGET]
    return result
