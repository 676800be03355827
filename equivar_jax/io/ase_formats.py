"""Reader of structures without labels through `ase.io`: CIF, POSCAR and every other format ASE knows."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import ase.io
import numpy as np
from ase import Atoms
from ase.io.formats import UnknownFileTypeError, ioformats, match_magic

from equivar_jax.errors import InputError
from equivar_jax.io.ase_checks import Meaning
from equivar_jax.io.files import base_name, excerpt, format_suffix, plain_file
from equivar_jax.io.isotopes import poscar_with_hydrogen, set_masses
from equivar_jax.io.labels import remove_label
from equivar_jax.io.options import ReadOptions, refuse_first_index, refuse_key
from equivar_jax.io.other_engines import describe_engine
from equivar_jax.structures import SOURCE, check_structure

# ASE's names of the formats whose files in a folder are taken for structures. Other formats that ASE can
# read use suffixes that all sorts of files have (`.in`, `.out`, `.log`, `.dat`, ...); the user must name such
# files one by one.
_STRUCTURES = {
    "abinit-in", "abinit-out", "aims-output", "castep-castep", "cif", "espresso-in",
    "espresso-out", "lammps-dump-text", "proteindatabank", "vasp", "vasp-xdatcar", "xsf",
}  # fmt: skip
_SUFFIXES = {".cif", ".pdb", ".castep", ".xsf", ".vasp", ".poscar", ".pwi", ".pwo"}


def recognises_bare_structure(path: Path, head: bytes) -> bool:
    """Return whether a file is surely one of ASE's structure formats, judged by its name or content."""
    name = base_name(path)
    if any(form.match_name(name) for key, form in ioformats.items() if key in _STRUCTURES):
        return True
    if format_suffix(path) in _SUFFIXES:
        return True
    try:
        return match_magic(head).name in _STRUCTURES
    except UnknownFileTypeError:
        return False


def read_bare_structure(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the frames of a structure file that ASE knows, without labels.

    Born effective charges that ASE may find in such a file are removed, because their index order is known
    only where a reader of this package has established it for the format.

    Args:
        path: the file, plain or compressed. ASE recognises the format by the name or the content.
        options: must be empty, because there are no labels to choose or to order.

    Yields:
        The structures in the order of the file, each with `atoms.info["source"]`, and an `InputError` in the
        place of each that cannot be used.

    Raises:
        InputError: an option was given, or ASE cannot read the file to its end.
    """
    refuse_key(path, options)
    refuse_first_index(path, options)
    count = 0
    with plain_file(path) as plain, _readable_by_ase(path, plain) as (readable, masses):
        meaning = Meaning(path, readable)
        for atoms in _read_frames(path, readable):
            atoms.info[SOURCE] = f"{path}, frame {count}"
            count += 1
            try:
                check_structure(set_masses(meaning.correct(atoms), masses))
            except InputError as error:
                yield error
            else:
                yield remove_label(atoms)
    if count == 0:
        raise InputError(f"{path}: no structures in the file; {describe_engine(path) or 'write it again'}")


@contextmanager
def _readable_by_ase(path: Path, plain: Path) -> Iterator[tuple[Path, np.ndarray | None]]:
    """Provide the file in a form that ASE reads: isotopes of hydrogen in a POSCAR or XDATCAR are hydrogen.

    Yields:
        The file, and the masses of its atoms where they are such isotopes (see `isotopes`).

    Raises:
        InputError: the file announces more atoms than it has bytes (ASE would take gigabytes of memory).
    """
    by_name = any(ioformats[form].match_name(plain.name) for form in ("vasp", "vasp-xdatcar"))
    if not by_name and format_suffix(plain) not in (".vasp", ".poscar"):
        yield plain, None
        return
    with plain.open("rb") as lines:
        for words in (line.split() for line in islice(lines, 5, 7)):
            atoms = sum(map(int, words)) if all(map(bytes.isdigit, words)) else 0
            if atoms > plain.stat().st_size:
                raise InputError(
                    f"{path}: the file announces {atoms} atoms, more than it has bytes; repair the counts"
                )
    with poscar_with_hydrogen(plain) as found:
        yield found


def _read_frames(path: Path, plain: Path) -> Iterator[Atoms]:
    """Yield the frames that ASE reads from the plain file; errors name `path`."""
    # "@" in a file name is part of the name here, not ASE's frame selection.
    frames = ase.io.iread(str(plain), index=":", do_not_split_by_at_sign=True)
    while True:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # parsers warn of settings that do not change the structure
                atoms = next(frames)
        except StopIteration:
            return
        except UnknownFileTypeError:
            unknown = (
                "not a structure file that ASE can read, nor another known format; give it its usual suffix, "
                "or convert it to extended XYZ or CIF"
            )
            raise InputError(f"{path}: {describe_engine(path) or unknown}") from None
        except Exception as error:
            # ASE's several dozen parsers have no common exception: what a damaged file raises depends on the
            # line of the parser that met it (KeyError, IndexError, AssertionError, ...).
            known = describe_engine(path)
            raise InputError(
                f"{path}: not a structure file that ASE can read ({type(error).__name__}: "
                f"{excerpt(str(error), 120)}); {known or 'check the content and the suffix'}"
            ) from None
        yield atoms
