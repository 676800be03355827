"""Training and validation parts."""

from collections.abc import Hashable, Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Int

from equivar_jax.errors import InputError
from equivar_jax.structures import source


def group_labels(structures: Sequence[Atoms], key: str | None) -> list[Hashable]:
    """What must stay on one side of the split: `atoms.info[key]`, or each structure for itself.

    Raises:
        InputError: a structure has no such key.
    """
    if key is None:
        return list(range(len(structures)))
    for atoms in structures:
        if key not in atoms.info:
            there = ", ".join(sorted(map(str, atoms.info))) or "none"
            raise InputError(f"{source(atoms)}: no {key!r} in its info ({there}); change --data.group_key")
    return [str(atoms.info[key]) for atoms in structures]


def random_split(
    groups: Sequence[Hashable], validation_fraction: float, seed: int
) -> tuple[Int[np.ndarray, " training"], Int[np.ndarray, " validation"]]:
    """Shuffle the groups and give the first ones to validation until its share is reached.

    Args:
        groups: Label of each structure; equal labels stay together.
        validation_fraction: Share of structures to validate on.
        seed: Of the shuffle.

    Returns:
        Indices of the training and of the validation structures, rising.

    Raises:
        InputError: one part would be empty.
    """
    if len(groups) == 0:
        raise InputError("no structures to divide into training and validation; give some")
    names, member_of = np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)
    sizes = np.bincount(member_of, minlength=len(names))
    order = np.random.default_rng(seed).permutation(len(names))
    wanted = round(validation_fraction * len(groups))
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    in_validation = np.zeros(len(names), bool)
    in_validation[order[before < wanted]] = True
    chosen = in_validation[member_of]
    training, validation = np.flatnonzero(~chosen), np.flatnonzero(chosen)
    for part, name in ((training, "training"), (validation, "validation")):
        if len(part) == 0:
            raise InputError(
                f"the {name} part is empty: {len(groups)} structures in {len(names)} groups with "
                f"--data.validation_fraction {validation_fraction}; give more structures or another fraction"
            )
    return training, validation
