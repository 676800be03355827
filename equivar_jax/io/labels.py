"""Put the label that a file holds into its standard place, and take it from there for writing."""

from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.config.schema import FirstIndex
from equivar_jax.errors import InputError
from equivar_jax.structures import BEC, source, with_born_effective_charges


def attach_label(atoms: Atoms, stored: Any, first_index: FirstIndex | None) -> Atoms:
    """Return a copy of `atoms` with the label that a file holds; the other results are kept.

    Args:
        atoms: the structure; a result `born_effective_charges` that it already has is replaced.
        stored: real numbers in e, of shape (N, 3, 3), or (N, 9) with the nine of an atom row by row.
        first_index: meaning of the first of the two Cartesian indices; None means the field.

    Returns:
        The structure with float64 tensors of shape (N, 3, 3), [atom, field, displacement], in e.

    Raises:
        InputError: `stored` is not an array of finite real numbers of one of the two shapes.
    """
    try:
        array = np.asarray(stored)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
    if array.dtype.kind not in "iuf" or array.shape not in ((len(atoms), 9), (len(atoms), 3, 3)):
        found = f"numbers of shape {array.shape}" if array.dtype.kind in "iuf" else "no array of real numbers"
        raise InputError(
            f"{source(atoms)}: its Born effective charges are {found}, expected ({len(atoms)}, 3, 3) or "
            f"({len(atoms)}, 9); store one tensor an atom"
        )
    tensors = array.astype(np.float64).reshape(-1, 3, 3)
    if first_index == "displacement":
        tensors = np.ascontiguousarray(tensors.transpose(0, 2, 1))
    results = {} if atoms.calc is None else dict(atoms.calc.results)
    result = with_born_effective_charges(atoms, tensors)
    assert result.calc is not None  # the calculator carries the label
    result.calc.results = {**results, BEC: result.calc.results[BEC]}
    return result


def prepare_label(atoms: Atoms, tensors: Any) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the label of a structure as float64, ready to be written.

    Raises:
        InputError: the shape is not (N, 3, 3), or numbers are not finite, so a reader would refuse it.
    """
    if np.shape(tensors) != (len(atoms), 3, 3):
        raise InputError(
            f"{source(atoms)}: {BEC} has shape {np.shape(tensors)}, expected ({len(atoms)}, 3, 3); "
            "attach it through equivar_jax.structures.with_born_effective_charges"
        )
    tensors = np.asarray(tensors, dtype=np.float64)
    with_born_effective_charges(atoms, tensors)  # raises if a number is not finite
    return tensors


def remove_label(atoms: Atoms) -> Atoms:
    """Remove Born effective charges from the results of `atoms`, because they are not the chosen label.

    Returns:
        The same structure.
    """
    if atoms.calc is not None:
        atoms.calc.results.pop(BEC, None)
    return atoms
