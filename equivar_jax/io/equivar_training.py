"""Label of the equivar training files: extended XYZ with the tensors in the comment line.

The entry `target="_JSON [[...], ...]"` is a list of nine numbers an atom, in e; `id` names the structure and
stays in `atoms.info["id"]`. **The index order is documented nowhere**, so the user has to say it: the rows
are [field, displacement] with the first index "field", and [displacement, field] with "displacement".
"""

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.labels import attach_label
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import source

TARGET = "target"


class UnknownIndexOrderError(InputError):
    """Tensors whose index order neither the format nor the user states; no frame of the file can be used."""


def has_target(atoms: Atoms, options: ReadOptions) -> bool:
    """Whether the comment line holds the label: a list of rows, or what the key names."""
    if options.key is not None:
        return options.key == TARGET and TARGET in atoms.info
    value = atoms.info.get(TARGET)
    if isinstance(value, np.ndarray):
        return value.shape[1:] in ((9,), (3, 3))
    return isinstance(value, list) and any(isinstance(row, list) for row in value)


def label_from_target(atoms: Atoms, options: ReadOptions) -> Atoms:
    """A copy of `atoms` whose label is the entry `target`, which leaves `atoms.info`.

    Args:
        atoms: a frame with `atoms.info["target"]`.
        options: `first_index` must be given.

    Returns:
        The structure with tensors [atom, field, displacement] in e, shape (N, 3, 3).

    Raises:
        UnknownIndexOrderError: no first index was given.
        InputError: the entry does not hold nine finite numbers an atom.
    """
    if options.first_index is None:
        raise UnknownIndexOrderError(
            f"{source(atoms)}: the index order of the tensors in 'target' is not documented; say what their "
            "first index is by --data.first_index field or --data.first_index displacement"
        )
    result = attach_label(atoms, atoms.info[TARGET], options.first_index)
    del result.info[TARGET]
    return result
