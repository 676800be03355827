"""Read and write structures with Born effective charges.

Every tensor that a reader gives or a writer takes has the index order [atom, field direction, displacement
direction] and the unit e; see `equivar_jax.structures`. Each format has its own module. The table
`formats.FORMATS` lists the readers, the table `_WRITERS` below lists the writers.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path

from ase import Atoms

from equivar_jax.config.schema import FirstIndex
from equivar_jax.errors import InputError
from equivar_jax.io.files import OUTPUT_NAMES, base_name, format_suffix, output_suffix
from equivar_jax.io.folders import files_that_decide, means_several, structure_files
from equivar_jax.io.formats import read_file
from equivar_jax.io.options import ReadOptions

__all__ = [
    "check_output",
    "files_that_decide",
    "read_structures",
    "scan_structures",
    "structure_files",
    "write_structures",
]

# Suffix -> module of this package, function, and whether it compresses where the name ends in .gz or .zst.
_WRITERS = {
    ".csv": ("csv", "write_csv", True),
    ".extxyz": ("extxyz_writer", "write_extxyz", True),
    ".xyz": ("extxyz_writer", "write_extxyz", True),
    ".traj": ("ase_writers", "write_trajectory", False),
    ".db": ("ase_writers", "write_database", False),
    ".born": ("phonopy_born_writer", "write_born", False),
    ".bec": ("tensor_rows_writer", "write_bec", False),
    ".borninfo": ("tensor_rows_writer", "write_borninfo", False),
    ".lotosplitting": ("tensor_rows_writer", "write_lotosplitting", False),
    ".control": ("shengbte_writer", "write_control", False),
}
_COMPRESSED = (".gz", ".zst")
_WITH_DEVIATIONS = (".csv", ".extxyz", ".xyz")


def read_structures(
    path: str | os.PathLike[str], key: str | None = None, first_index: FirstIndex | None = None
) -> list[Atoms]:
    """Read every structure of a file, of a folder's files, or of the files that a pattern matches.

    The format is recognised by name and content, also inside compressed files (gzip, bzip2, xz, zstd).
    `formats.FORMATS` lists the formats that hold labels. Every other structure file that `ase.io.read` knows
    (CIF, POSCAR, ...) is read without labels.

    Args:
        path: a file, a folder or a pattern; see `structure_files`.
        key: name of the extended XYZ column or of the ASE database entry that holds the Born effective
            charges. By default the usual names are looked for. A structure that lacks the key has no label.
        first_index: "field" or "displacement": the meaning of the first index of a stored tensor. It is for
            formats that leave the order open (extended XYZ; there the default is "field") and for phonopy's
            BORN and YAML files, because abipy writes a BORN with the displacement first. Formats that state
            the order themselves refuse it.

    Returns:
        The structures in the order of the files. `atoms.info["source"]` of each is "<path>, frame <k>", with
        k counted from 0. A label, if there is one, is found by `structures.born_effective_charges(atoms)`:
        float64, shape (N, 3, 3), [atom, field, displacement], in e.

    Raises:
        InputError: a file or a frame cannot be used. The message is one line that says where, why, and how to
            fix it.
    """
    structures = []
    for found in scan_structures(path, key, first_index):
        if isinstance(found, InputError):
            raise found
        structures.append(found)
    return structures


def scan_structures(
    path: str | os.PathLike[str],
    key: str | None = None,
    first_index: FirstIndex | None = None,
    wanted: Callable[[int], bool] | None = None,
) -> Iterator[Atoms | InputError]:
    """Yield structures one by one, with an `InputError` in the place of each that cannot be used.

    Args:
        path: a file, a folder or a pattern; see `structure_files`.
        key: see `read_structures`.
        first_index: see `read_structures`.
        wanted: tells by its number, counted from 0 in each file, whether a frame is wanted. Formats that can
            pass over the others (see `options.ReadOptions`) yield an `options.NotWantedError` in their place.

    Yields:
        Structures as `read_structures` returns them, and an `InputError` in the place of each frame that
        cannot be used. In a folder or pattern, a file that cannot be read, or not to its end, also yields one
        `InputError`, and the next file follows. Structures that were yielded before an error remain valid.

    Raises:
        InputError: the path is a single file that cannot be read to its end, or there are no files.
    """
    path, options = Path(path), ReadOptions(key, first_index, wanted)
    if not means_several(path):
        yield from read_file(path, options)
        return
    for file in structure_files(path):
        try:
            yield from read_file(file, options)
        except InputError as error:
            yield error


def write_structures(path: str | os.PathLike[str], structures: Atoms | Iterable[Atoms]) -> None:
    """Write structures with their Born effective charges, in the format that the file name says.

    The file appears under its name only when it is complete.

    Args:
        path: the file to write: `.extxyz` or `.xyz` (see `write_extxyz`), `.csv` (see `write_csv`), each
            compressed if `.gz` or `.zst` follows, `.traj` or `.db` (see `ase_writers`), or, for one
            structure, `BORN` or `.born` (see `write_born`), i-PI's `BEC`, TDEP's `infile.lotosplitting`,
            ALAMODE's `BORNINFO` (see `tensor_rows_writer`) or ShengBTE's `CONTROL` (see `shengbte_writer`).
        structures: one structure or several.

    Raises:
        InputError: the name belongs to no format that can be written, there is nothing to write, or the
            format cannot hold one of the structures.
    """
    path = Path(path)
    _find_writer(path)(path, [structures] if isinstance(structures, Atoms) else structures)


def check_output(path: str | os.PathLike[str], uncertainty: bool = False, distance: bool = False) -> None:
    """Check before a long calculation that `write_structures` will accept the output file.

    Args:
        path: the file to write.
        uncertainty: whether standard deviations are to be written, too.
        distance: whether distances from the training data are to be written, too.

    Raises:
        InputError: the name belongs to no format that can be written, the path is a folder, its folder does
            not exist or cannot be written to, or the format has no place for what is
            wanted.
    """
    path = Path(path)
    _find_writer(path)
    for is_wanted, what, option in (
        (uncertainty, "standard deviations", "--uncertainty"),
        (distance, "distances from the training data", "--distance"),
    ):
        if is_wanted and format_suffix(path) not in _WITH_DEVIATIONS:
            raise InputError(
                f"{path}: no place for {what}; name a file {' or '.join(_WITH_DEVIATIONS)}, or "
                f"leave out {option}"
            )
    if path.is_dir() or not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(
            f"{path}: cannot be written; name a file in a folder that is there and can be written to"
        )


def _find_writer(path: Path) -> Callable[[Path, Iterable[Atoms]], None]:
    """Return the function that writes a file of this name."""
    suffix = output_suffix(path)
    compression = path.suffix.lower() if base_name(path) != path.name else ""
    if suffix not in _WRITERS or (compression and not (_WRITERS[suffix][2] and compression in _COMPRESSED)):
        compressible = ", ".join(sorted(name for name, (*_, packs) in _WRITERS.items() if packs))
        named = set(OUTPUT_NAMES.values())
        others = ", ".join(sorted(s for s, (*_, packs) in _WRITERS.items() if not packs and s not in named))
        raise InputError(
            f"{path}: cannot write a file of this name; use one of {compressible} (or these with "
            f"{' or '.join(_COMPRESSED)}), {others} or {', '.join(OUTPUT_NAMES)}"
        )
    module, function, _ = _WRITERS[suffix]
    return getattr(import_module(f"equivar_jax.io.{module}"), function)
