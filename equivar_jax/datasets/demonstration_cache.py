"""Keeps a labelled set of periodic structures as one `.npz` file of concatenated arrays.

A file is written whole or not at all, a damaged one is noticed and not used, and a directory that cannot be
written to costs a warning and nothing else.
"""

import tempfile
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.cache import CACHE_VARIABLE
from equivar_jax.datasets import crystals
from equivar_jax.structures import BEC, with_born_effective_charges


def write(path: Path, key: str, structures: list[Atoms]) -> None:
    """Store a set; whole or not at all, so that a reader or a second writer never sees half a file."""
    arrays: dict[str, Any] = {
        "key": np.array(key),
        "sizes": np.array([len(atoms) for atoms in structures]),
        "numbers": np.concatenate([atoms.numbers for atoms in structures]),
        "positions": np.concatenate([atoms.positions for atoms in structures]),
        "cells": np.stack([atoms.cell.array for atoms in structures]),
        "tensors": np.concatenate([_tensors(atoms) for atoms in structures]),
        "groups": np.array([atoms.info[crystals.GROUP] for atoms in structures]),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".partial", delete=False) as partial:
            try:
                np.savez(partial, **arrays)
                partial.close()
                Path(partial.name).replace(path)
            except BaseException:
                Path(partial.name).unlink(missing_ok=True)
                raise
    except OSError as error:
        warnings.warn(
            f"demonstration set not cached ({error}); it is generated anew each time: "
            f"set {CACHE_VARIABLE} to a writable directory",
            RuntimeWarning,
            stacklevel=3,
        )


def read(path: Path, key: str) -> list[Atoms] | None:
    """A stored set, or None if there is none that can be trusted (the zip format checks each byte by CRC)."""
    if not path.is_file():
        return None
    try:
        # numpy leaves a damaged file open if it is given the path.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
        if str(stored["key"]) != key:
            raise ValueError("it belongs to another set")
        ends = np.cumsum(stored["sizes"])[:-1]
        numbers, positions, tensors = (
            np.split(stored[name], ends) for name in ("numbers", "positions", "tensors")
        )
        pieces = zip(numbers, positions, stored["cells"], tensors, stored["groups"], strict=True)
        return [_restored(*piece) for piece in pieces]
    # zipfile answers damaged headers with RuntimeError (a password, an unknown compression).
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        warnings.warn(
            f"cached demonstration set {path} is damaged ({error}); generating it again",
            RuntimeWarning,
            stacklevel=3,
        )
        return None


def _restored(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray, tensors: np.ndarray, group: np.str_
) -> Atoms:
    """A labelled structure from its stored parts."""
    atoms = Atoms(numbers, positions=positions, cell=cell, pbc=True, info={crystals.GROUP: str(group)})
    return with_born_effective_charges(atoms, tensors)


def _tensors(atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
    """The label of a structure that has one, [atom, field, displacement], e."""
    assert atoms.calc is not None
    return atoms.calc.results[BEC]
