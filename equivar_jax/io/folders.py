"""Find the files that a path names: a file, a folder's structure files, or the matches of a pattern."""

import glob
import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from equivar_jax.errors import InputError
from equivar_jax.io.files import COMPRESSION_SUFFIXES, is_locked_folder, require_file
from equivar_jax.io.formats import FORMATS, recognise_format

# Format -> formats that it supersedes: of the same run, and of the same folder.
_OF_THE_RUN = {
    "vasprun": ("outcar", "vaspout", "bare_structure"),
    "vaspout": ("outcar", "bare_structure"),
    "outcar": ("bare_structure",),
    "anaddb": ("ddb", "ddb_netcdf", "abinit_output"),
    "ddb": ("ddb_netcdf",),
}
_OF_THE_FOLDER = {
    "born": ("phonopy_yaml", "bare_structure"),
    "ph_output": ("bare_structure",),
    "dynamical_matrix": ("bare_structure",),
    "q2r_constants": ("bare_structure",),
    "q_matrix_xml": ("bare_structure",),
    "anaddb": ("bare_structure",),
    "ddb": ("bare_structure",),
    "ddb_netcdf": ("bare_structure",),
    "abinit_output": ("bare_structure",),
    "gpaw_charges": ("bare_structure",),
    "elk_charges": ("elk_part", "bare_structure"),
    "elk_part": ("bare_structure",),
}
# Parts of a file name that say which file of a run it is, but not which run.
_ROLES = {
    "vasprun",
    "vaspout",
    "xml",
    "h5",
    "outcar",
    "poscar",
    "contcar",
    "xdatcar",
    "vasp",
    "anaddb",
    "nc",
    "ddb",
    "out",
    "abo",
}


def means_several(path: Path) -> bool:
    """Return whether a path is a folder or a pattern.

    A file that exists is a file, even if its name contains the characters of a pattern.
    """
    return os.path.isdir(path) or (glob.has_magic(str(path)) and not os.path.lexists(path))  # noqa: PTH112


def structure_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files that a path names, sorted.

    A folder names the files below it whose format is recognised by name or content, except hidden ones. A
    pattern (`runs/*/OUTCAR`, `data/**/*.extxyz`) names those that match. If a folder holds several files of
    one calculation, only the most informative one is taken:

    - `vasprun.xml` instead of `vaspout.h5`, this instead of `OUTCAR`, and any of them instead of the
      structures without labels `POSCAR`, `CONTCAR` and `XDATCAR`, if the rest of the name is the same
      (`a.OUTCAR.gz`, `a.POSCAR`);
    - `anaddb.nc` instead of `DDB`, `DDB.nc` and `.abo` with the same rest of the name (`run_anaddb.nc`,
      `run_DDB`), and `DDB` instead of `DDB.nc`;
    - `BORN` instead of phonopy's YAML files; and `BORN` and files of ph.x, q2r.x, Abinit, GPAW and Elk that
      have charges instead of every structure without labels in their folder, because they belong to one of
      these.

    Args:
        path: a file, a folder or a pattern with `*`, `?`, `[...]` and `**`. If something of exactly this name
            exists, it is that file or folder and not a pattern.

    Returns:
        The file itself, whatever its format, or the files of the folder or pattern in the order of their
        paths. They include folders that may not be read and broken links with a known name, so that the
        reader reports them.

    Raises:
        InputError: the file does not exist, or the folder or pattern has no structure files.
    """
    path = Path(path)
    if not means_several(path):
        require_file(path)
        return [path]
    is_folder = os.path.isdir(path)  # noqa: PTH112
    # `Path.glob` accepts no pattern with a leading slash and does not follow links.
    found = _walk(path) if is_folder else map(Path, glob.iglob(str(path), recursive=True))  # noqa: PTH207
    files = _drop_superseded(_recognise_files(found))
    if not files:
        where = "in this folder" if is_folder else "match this pattern"
        known = ", ".join(form.title for form in FORMATS)
        raise InputError(f"{path}: no structure files {where}; files that can be read are {known}")
    return files


def files_that_decide(path: str | os.PathLike[str]) -> list[Path]:
    """Return the files whose content decides which structures a path gives, for the key of a cache.

    These are the files of `structure_files`. If one of them may take its structure from another file of its
    folder (`BORN`, outputs of ph.x, ...), every file of that folder is added.

    Raises:
        InputError: see `structure_files`.
    """
    deciding = set()
    for file in structure_files(path):
        deciding.add(file)
        form = recognise_format(file)
        if form is not None and form.name in _OF_THE_FOLDER:
            deciding |= {other for other in file.parent.iterdir() if _is_readable_file(other)}
    return sorted(deciding)


def _is_readable_file(path: Path) -> bool:
    """Return whether a path is a file that may be read."""
    return path.is_file() and os.access(path, os.R_OK)


def _walk(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder that is not hidden, following links.

    Folders that may not be read are yielded, too.
    """
    seen: set[str] = set()
    locked: list[OSError] = []
    for place, folders, names in os.walk(folder, followlinks=True, onerror=locked.append):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else [name for name in folders if not name.startswith(".")]
        if real not in seen:
            yield from (Path(place, name) for name in names if not name.startswith("."))
        seen.add(real)
    yield from (Path(error.filename) for error in locked)


def _recognise_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Return file -> name of its format, without anything that is not a file of a known format."""
    found: dict[Path, str] = {}
    for path in sorted(set(paths)):
        if not _may_be_data(path):
            continue
        if is_locked_folder(path):
            found[path] = ""
        elif form := recognise_format(path):
            found[path] = form.name
    return found


def _may_be_data(path: Path) -> bool:
    """Return whether a path is a regular file, or one about which only a reader can say what is wrong."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    return (stat.S_ISREG(mode) and path.suffix != ".part") or is_locked_folder(path)


def _drop_superseded(found: dict[Path, str]) -> list[Path]:
    """Return the files that remain when each calculation is read only once."""
    superseded: dict[Path, set[tuple[str, tuple[str, ...] | None]]] = defaultdict(set)
    for path, form in found.items():
        superseded[path.parent] |= {(other, _run_name(path)) for other in _OF_THE_RUN.get(form, ())}
        superseded[path.parent] |= {(other, None) for other in _OF_THE_FOLDER.get(form, ())}
    return [
        path
        for path, form in found.items()
        if not {(form, _run_name(path)), (form, None)} & superseded[path.parent]
    ]


def _run_name(path: Path) -> tuple[str, ...]:
    """Return the parts of a file name that tell runs apart, without the parts that all runs share."""
    name = path.name.lower()
    while name.endswith(COMPRESSION_SUFFIXES):
        name = name[: name.rindex(".")]
    return tuple(part for part in re.split(r"[\s._-]+", name) if part not in _ROLES)
