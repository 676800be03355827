"""Reader of structure files without labels, through `ase.io.read`: CIF, POSCAR, trajectories and the rest."""

from pathlib import Path

import ase.io
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.files import excerpt
from equivar_jax.structures import BEC, SOURCE, check_structure


def read_with_ase(path: Path, key: str | None = None) -> list[Atoms]:
    """Read every frame of a structure file that ASE knows, without labels.

    Born effective charges that ASE may find in such a file are removed: the index order of each format has to
    be established by a reader of its own.

    Args:
        path: the file; ASE tells the format from the name or the content.
        key: must be None, since only extended XYZ has columns to choose from.

    Returns:
        The structures in the order of the file, each with `atoms.info["source"]`.

    Raises:
        InputError: a key was given, ASE cannot read the file, or a structure is unusable.
    """
    if key is not None:
        raise InputError(
            f"{path}: key {key!r} chooses a column of an extended XYZ file (.extxyz, .xyz), and this is "
            "another format; leave out the key or convert the labels to extended XYZ"
        )
    try:
        # "@" in a file name is part of the name here, not ASE's frame selection.
        frames = ase.io.read(path, index=":", do_not_split_by_at_sign=True)
    except Exception as error:
        # ASE's several dozen parsers have no common exception: what a damaged file raises depends on the line
        # of the parser that met it (KeyError, IndexError, AssertionError, ...).
        raise InputError(
            f"{path}: not a structure file that ASE can read ({type(error).__name__}: "
            f"{excerpt(str(error), 120)}); check the content and the suffix"
        ) from None
    frames = [frames] if isinstance(frames, Atoms) else list(frames)
    if not frames:
        raise InputError(f"{path}: no structures in the file; write it again")
    for index, atoms in enumerate(frames):
        atoms.info[SOURCE] = f"{path}, frame {index}"
        if atoms.calc is not None:
            atoms.calc.results.pop(BEC, None)
        check_structure(atoms)
    return frames
