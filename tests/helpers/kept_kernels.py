"""Compiled kernels from one run of the tests to the next, as the cache of a user keeps them.

Their names have digests of sources, flags, compiler and processor in them, so that none is taken that another
compilation would not give.
"""

import shutil
import tempfile
from pathlib import Path
from typing import get_args

from equivar_jax.kernels.compiler import Name, source_key


def _libraries(folder: Path) -> list[Path]:
    """Libraries of the present sources, each with the file of its digest."""
    names = [f"{name}-{source_key(name)}-*" for name in get_args(Name)]
    return [path for name in names for path in folder.glob(name) if path.suffix in (".so", ".sha256")]


def _copy(path: Path, folder: Path) -> None:
    """Copy a file, which appears whole: other workers look there, too."""
    with tempfile.TemporaryDirectory(dir=folder, prefix=".copy-") as own:
        Path(shutil.copy(path, own)).replace(folder / path.name)


def take(kept: Path, folder: Path) -> None:
    """Copy what is kept into a cache that does not have it."""
    for path in _libraries(kept):
        if not (folder / path.name).exists():
            _copy(path, folder)


def keep(folder: Path, kept: Path) -> None:
    """Keep what a cache has in the end, and nothing of other sources."""
    for path in _libraries(folder):
        _copy(path, kept)
    of_now = {path.name for path in _libraries(kept)}
    for path in kept.iterdir():
        if path.is_file() and path.name not in of_now:
            path.unlink(missing_ok=True)
