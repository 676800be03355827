"""Reading and writing structures with Born effective charges.

Every tensor that leaves a reader or enters a writer has index order [atom, field direction, displacement
direction] and the unit e; see `equivar_jax.structures`. One file a format; a format is added by a line in the
tables below.
"""

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.ase_formats import read_with_ase
from equivar_jax.io.csv import write_csv
from equivar_jax.io.extxyz import BEC_KEYS, read_extxyz
from equivar_jax.io.extxyz_writer import write_extxyz
from equivar_jax.io.files import format_suffix, require_file

__all__ = [
    "BEC_KEYS",
    "check_output",
    "read_extxyz",
    "read_structures",
    "write_csv",
    "write_extxyz",
    "write_structures",
]

_READERS: dict[str, Callable[[Path, str | None], list[Atoms]]] = {
    ".extxyz": read_extxyz,
    ".xyz": read_extxyz,
}
_WRITERS: dict[str, Callable[[Path, Iterable[Atoms]], None]] = {
    ".csv": write_csv,
    ".extxyz": write_extxyz,
    ".xyz": write_extxyz,
}


def read_structures(path: str | os.PathLike[str], key: str | None = None) -> list[Atoms]:
    """Read every structure of a file.

    Extended XYZ (`.extxyz`, `.xyz`, also compressed) brings its labels with it; every other structure file
    that `ase.io.read` knows (CIF, POSCAR, ...) is read without labels.

    Args:
        path: the file.
        key: the extended XYZ column that holds the Born effective charges; by default the one of `BEC_KEYS`
            that is there.

    Returns:
        The structures in the order of the file. `atoms.info["source"]` of each says "<path>, frame <k>", k
        from 0. A label, where there is one, is at `structures.born_effective_charges(atoms)`: float64, shape
        (N, 3, 3), [atom, field, displacement], in e.

    Raises:
        InputError: the file cannot be used; one line says where, why, and how to mend it.
    """
    path = Path(path)
    require_file(path)
    read = _READERS.get(format_suffix(path), read_with_ase)
    return read(path, key)


def write_structures(path: str | os.PathLike[str], structures: Atoms | Iterable[Atoms]) -> None:
    """Write structures with their Born effective charges, in the format that the suffix names.

    Args:
        path: the file to write, `.extxyz` or `.xyz` (see `write_extxyz`) or `.csv` (see `write_csv`), with
            `.gz` after it for a gzipped one. It appears only when it is complete.
        structures: one structure or several.

    Raises:
        InputError: another suffix, nothing to write, or a structure that the format cannot hold.
    """
    path = Path(path)
    _writer(path)(path, [structures] if isinstance(structures, Atoms) else structures)


def check_output(path: str | os.PathLike[str]) -> None:
    """Refuse before a long calculation what `write_structures` would refuse after it.

    Args:
        path: the file to write.

    Raises:
        InputError: another suffix, a folder of this name, or no folder to write it into.
    """
    path = Path(path)
    _writer(path)
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: cannot be written; name a file in a folder that is there and can be written to"
        )


def _writer(path: Path) -> Callable[[Path, Iterable[Atoms]], None]:
    """What writes a file of this name."""
    write = _WRITERS.get(format_suffix(path))
    if write is None or path.suffix.lower() in (".bz2", ".xz"):
        possible = ", ".join(sorted(_WRITERS))
        raise InputError(
            f"{path}: cannot write a file of this name; use one of {possible} (or these with .gz)"
        )
    return write
