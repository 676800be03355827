"""Which files a path means: a file, the structure files of a folder, or those that a pattern matches."""

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

# Format -> formats whose files in the same folder hold nothing more.
_OF_THE_RUN = {
    "vasprun": ("outcar", "bare_structure"),
    "outcar": ("bare_structure",),
    "anaddb": ("ddb",),
}
_OF_THE_FOLDER = {
    "born": ("phonopy_yaml", "bare_structure"),
    "ph_output": ("bare_structure",),
    "dynamical_matrix": ("bare_structure",),
    "anaddb": ("bare_structure",),
    "ddb": ("bare_structure",),
}
# Parts of a file name that say which file of a run it is, and not which run.
_ROLES = {"vasprun", "xml", "outcar", "poscar", "contcar", "xdatcar", "vasp", "anaddb", "nc", "ddb", "out"}


def means_several(path: Path) -> bool:
    """Whether a path is a folder or a pattern; a file whose name has the signs of a pattern is a file."""
    return os.path.isdir(path) or (glob.has_magic(str(path)) and not os.path.lexists(path))  # noqa: PTH112


def structure_files(path: str | os.PathLike[str]) -> list[Path]:
    """The files that a path means, sorted.

    A folder means the files below it whose format is known by name or content, hidden ones left out; a
    pattern (`runs/*/OUTCAR`, `data/**/*.extxyz`) means those that match. Of several files of one calculation
    in a folder, the one that says most is taken:

    - `vasprun.xml` instead of `OUTCAR`, and either instead of the bare structures `POSCAR`, `CONTCAR` and
      `XDATCAR`, where the rest of the name is the same (`a.OUTCAR.gz`, `a.POSCAR`);
    - `anaddb.nc` instead of the `DDB` with the same rest of the name (`run_anaddb.nc`, `run_DDB`);
    - `BORN` instead of phonopy's YAML files, and `BORN`, outputs of ph.x, dynamical matrices, `anaddb.nc` and
      `DDB` instead of every bare structure of their folder, one of which they belong to.

    Args:
        path: a file, a folder or a pattern with `*`, `?`, `[...]` and `**`. A name with such signs that is
            there is that file or folder.

    Returns:
        A file by itself, whatever its format; else the files in the order of their paths. A folder below that
        may not be read, or a broken link of a known name, is among them, for the reader to complain about.

    Raises:
        InputError: no such file, or a folder or pattern without structure files.
    """
    path = Path(path)
    if not means_several(path):
        require_file(path)
        return [path]
    is_folder = os.path.isdir(path)  # noqa: PTH112
    # `Path.glob` takes no pattern with a leading slash, and follows no links.
    found = _walk(path) if is_folder else map(Path, glob.iglob(str(path), recursive=True))  # noqa: PTH207
    files = _drop_superseded(_recognise_files(found))
    if not files:
        where = "in this folder" if is_folder else "match this pattern"
        known = ", ".join(form.title for form in FORMATS)
        raise InputError(f"{path}: no structure files {where}; files that can be read are {known}")
    return files


def files_that_decide(path: str | os.PathLike[str]) -> list[Path]:
    """The files on whose content the structures of a path depend: for the key of a cache.

    Those of `structure_files`, and beside a file whose structure may stand in another one of its folder
    (`BORN`, outputs of ph.x, ...) every file of that folder.

    Raises:
        InputError: as `structure_files`.
    """
    deciding = set()
    for file in structure_files(path):
        deciding.add(file)
        form = recognise_format(file)
        if form is not None and form.name in _OF_THE_FOLDER:
            deciding |= {other for other in file.parent.iterdir() if _is_readable_file(other)}
    return sorted(deciding)


def _is_readable_file(path: Path) -> bool:
    return path.is_file() and os.access(path, os.R_OK)


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below a folder that is not hidden, and the folders that may not be read; links followed."""
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
    """File -> name of its format; other things than files of a known format are left out."""
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
    """Whether a path is a regular file, or something of which only a reader can say why it cannot be read."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return True
    return (stat.S_ISREG(mode) and path.suffix != ".part") or is_locked_folder(path)


def _drop_superseded(found: dict[Path, str]) -> list[Path]:
    """The files that remain when each calculation is read once."""
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
    """What a file name says about the run: its parts without those that are common to runs."""
    name = path.name.lower()
    while name.endswith(COMPRESSION_SUFFIXES):
        name = name[: name.rindex(".")]
    return tuple(part for part in re.split(r"[\s._-]+", name) if part not in _ROLES)
