"""Writer of Born effective charges as a table: one line per atom, columns as in the published script."""

import csv
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.files import open_for_writing
from equivar_jax.structures import BEC_STD, DISTANCE, SOURCE, born_effective_charges, source

COMPONENTS = tuple(f"Z{field}{displacement}" for field in (1, 2, 3) for displacement in (1, 2, 3))
HEADER = ("id", *COMPONENTS, "structure", "atom", "element")
DEVIATIONS = tuple(name.replace("Z", "S") for name in COMPONENTS)
"""Columns that follow these if structures carry standard deviations."""


def write_csv(path: Path, structures: Iterable[Atoms]) -> None:
    """Write labels or predictions as comma-separated values.

    Columns: `id, Z11, Z12, Z13, Z21, ..., Z33, structure, atom, element`. In `Zab`, a is the direction of the
    electric field and b that of the displacement (1, 2, 3 for x, y, z). Values are in e, with all digits of
    the float64 number. `id` is `atoms.info["id"]`, else `atoms.info["source"]`, else the position in the
    list. An id may occur more than once in a data set; `structure` (counted from 0 in the order given) and
    `atom` (from 0) together name a line without ambiguity.

    Args:
        path: the file to write, compressed if its name ends in `.gz` or `.zst`.
        structures: structures with Born effective charges, [atom, field, displacement] in e.

    Raises:
        InputError: there are no structures, one has no Born effective charges, or the path cannot be written
            to.
    """
    with open_for_writing(Path(path)) as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(HEADER)
        index = -1
        for index, atoms in enumerate(structures):
            writer.writerows(csv_lines(atoms, index))
        if index < 0:
            raise InputError(f"{path}: no structures to write; give at least one")


def csv_lines(
    atoms: Atoms, index: int, uncertainty: bool = False, distance: bool = False
) -> Iterable[tuple[object, ...]]:
    """Yield the lines of one structure, with more columns at the end if they are asked for.

    Args:
        atoms: The structure, with tensors.
        index: Its number in the list.
        uncertainty: Add the standard deviations, `atoms.arrays[BEC_STD]`.
        distance: Add the distances from the training data, `atoms.arrays[DISTANCE]`.
    """
    tensors = born_effective_charges(atoms)
    if tensors is None:
        raise InputError(
            f"{source(atoms)}: no Born effective charges (structure {index} of the list), and a .csv file "
            "holds nothing else; predict them first or write .extxyz"
        )
    identifier = atoms.info.get("id", atoms.info.get(SOURCE, index))
    wanted = [name for name, is_wanted in ((BEC_STD, uncertainty), (DISTANCE, distance)) if is_wanted]
    more = np.hstack(
        [np.zeros((len(atoms), 0)), *(atoms.arrays[name].reshape(len(atoms), -1) for name in wanted)]
    )
    rows = zip(atoms.symbols, tensors.reshape(-1, 9).tolist(), more.tolist(), strict=True)
    for atom, (element, tensor, further) in enumerate(rows):
        yield (identifier, *map(repr, tensor), index, atom, element, *map(repr, further))
