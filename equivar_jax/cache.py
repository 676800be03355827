"""The cache folder, which keeps what takes time to make again, and the keys of its entries.

It holds generated data, converted data sets, graphs and compiled programs.
"""

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterable
from importlib import metadata, resources
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "EQUIVAR_CACHE"
"""Name of the environment variable that names the cache folder."""


def cache_directory(cache_dir: Path | None = None) -> Path:
    """Return the cache folder.

    It is the argument if there is one, else the folder that the environment variable EQUIVAR_CACHE names,
    else a folder in the user's cache.
    """
    if cache_dir is not None:
        return Path(cache_dir)
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("equivar_jax"))


@functools.cache
def code_version(*names: str) -> str:
    """Return a digest of source files of this package and of the versions of the libraries that make data.

    As part of the key of a cache entry it makes entries written by other code invalid.

    Args:
        *names: Files or folders of the package ("graphs/graph.py", "io").

    Raises:
        FileNotFoundError: A file or folder does not exist. A key without it would not change with the code.
    """
    digest = hashlib.sha256()
    package = Path(str(resources.files("equivar_jax")))
    for name in names:
        place = package / name
        paths = [place] if place.is_file() else sorted(place.rglob("*.py"))
        if not paths:
            raise FileNotFoundError(
                f"{place}: no source files here, though the key of a cache needs them; correct the name"
            )
        for path in paths:
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    for library in ("ase", "matscipy", "numpy", "phonopy", "spglib"):
        digest.update(f"{library} {metadata.version(library)}".encode())
    return digest.hexdigest()


def content_key(paths: Iterable[Path]) -> str:
    """Return a digest of the names and contents of files; of an unreadable file only the name counts."""
    digest = hashlib.sha256()
    for path in paths:
        content = "unreadable"
        with contextlib.suppress(OSError), path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path}\0{content}\0".encode())
    return digest.hexdigest()
