"""The crystals of phonondb with forces, and DFPT's charges and eps_inf of the same calculation.

phonopy makes force constants of the forces, and these are kept in the cache: that takes half a second a
crystal. phonopy's primitive cell, its order of atoms and its axes are kept. The first index of the charges is
the field, as phonopy has it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from equivar_jax.cache import cache_directory, code_version, content_key
from equivar_jax.errors import InputError
from equivar_jax.response.phonons.gamma_input import Phonons, read_phonons
from equivar_jax.structures import EPSILON, SOURCE

FOLDER = "phonondb-forces"
"""Below the folder that EQUIVAR_DATA names."""
_SUFFIX = ".yaml.xz"
_CODE = ("response/phonons/gamma_input.py", "response/phonons/phonopy_crystal.py", "io/phonopy_yaml.py")
"""What decides the content of a cache entry, beside the file."""


class Crystal(NamedTuple):
    """A crystal with its forces."""

    name: str
    phonons: Phonons
    """With the charges of DFPT, and eps_inf in the info of the atoms."""


def read_crystals(folder: Path, limit: int | None = None) -> Iterator[Crystal]:
    """Read the crystals of a folder of phonopy's YAML files, in the order of their names.

    Args:
        folder: The folder.
        limit: How many crystals to read at most.

    Raises:
        InputError: there is no such file, or one of them cannot be read.
    """
    paths = sorted(folder.glob(f"*{_SUFFIX}"))[:limit]
    if not paths:
        raise InputError(f"{folder}: no *{_SUFFIX} in it; set EQUIVAR_DATA to the folder that has {FOLDER}")
    for path in paths:
        yield Crystal(path.name.removesuffix(_SUFFIX), _read_cached(path))


def _read_cached(path: Path) -> Phonons:
    """Read the phonons of a file from the cache, or from the file, and keep them."""
    kept = cache_directory() / f"phonons-{content_key([path])[:16]}-{code_version(*_CODE)[:16]}.npz"
    if not kept.is_file():
        found = read_phonons(path)
        kept.parent.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(".part.npz")
        np.savez(
            partial,
            numbers=found.atoms.numbers,
            masses=found.atoms.get_masses(),
            cell=found.atoms.cell.array,
            positions=found.atoms.positions,
            epsilon_inf=found.atoms.info[EPSILON],
            charges=found.charges,
            force_constants=found.force_constants,
        )
        partial.replace(kept)
    with np.load(kept) as saved:
        atoms = Atoms(
            numbers=saved["numbers"],
            masses=saved["masses"],
            cell=saved["cell"],
            positions=saved["positions"],
            pbc=True,
            info={SOURCE: path.name, EPSILON: saved["epsilon_inf"]},
        )
        return Phonons(atoms, saved["force_constants"], saved["charges"])
