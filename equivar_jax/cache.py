"""The folder of what would take time to make again: generated data and compiled programs."""

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterable
from importlib import metadata, resources
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "EQUIVAR_CACHE"


def cache_directory(cache_dir: Path | None = None) -> Path:
    """The argument, else what the environment variable EQUIVAR_CACHE names, else the user's cache."""
    if cache_dir is not None:
        return Path(cache_dir)
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path(platformdirs.user_cache_dir("equivar_jax"))


@functools.cache
def code_version(*names: str) -> str:
    """A digest of source files of this package and of the libraries that data pass through.

    Args:
        *names: Files or folders of the package ("graphs/graph.py", "io").

    Raises:
        FileNotFoundError: one of them is not there; a key without it would go stale in silence.
    """
    digest = hashlib.sha256()
    package = Path(str(resources.files("equivar_jax")))
    for name in names:
        place = package / name
        paths = [place] if place.is_file() else sorted(place.rglob("*.py"))
        if not paths:
            raise FileNotFoundError(f"{place}: no source files for the key of a cache; correct the name")
        for path in paths:
            digest.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    for library in ("ase", "matscipy", "numpy", "phonopy", "spglib"):
        digest.update(f"{library} {metadata.version(library)}".encode())
    return digest.hexdigest()


def content_key(paths: Iterable[Path]) -> str:
    """A digest of names and contents of files; one that cannot be read counts with its name."""
    digest = hashlib.sha256()
    for path in paths:
        content = "unreadable"
        with contextlib.suppress(OSError), path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path}\0{content}\0".encode())
    return digest.hexdigest()
