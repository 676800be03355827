"""Columns of numbers on disk, memory-mapped when they are read.

A store is a folder with one raw file for each column, and a manifest with the key of the store and the shapes
and checksums of its columns. It appears under its name either complete or not at all. A store that is damaged
or has another key is not used.
"""

import contextlib
import json
import shutil
import tempfile
import warnings
import weakref
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from equivar_jax.cache import CACHE_VARIABLE
from equivar_jax.errors import InputError

_MANIFEST = "manifest.json"
_CHECKED_AT_ONCE = 1 << 24  # bytes
_ATTEMPTS = 3
_DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError)
"""What reading a damaged store raises."""


class Columns:
    """The columns of a store: read-only arrays by name, and the notes that were written with them."""

    def __init__(self, folder: Path, key: str, arrays: Mapping[str, np.ndarray], notes: Any):
        self.folder = folder
        self.key = key
        self.arrays = arrays
        self.notes = notes

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]


class ColumnWriter:
    """Writes a store, row by row, into a hidden folder beside its target; `finish` moves it into place.

    If the target cannot be written, the store goes into a temporary folder, with a warning: the same work
    will have to be done again the next time.
    """

    def __init__(self, target: Path):
        self._target: Path | None = target
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        except OSError as error:
            warnings.warn(
                f"{target}: not cached ({error.strerror or error}), so that it is prepared anew each time; "
                f"set {CACHE_VARIABLE} to a writable folder",
                RuntimeWarning,
                stacklevel=3,
            )
            self._target = None
            self._folder = Path(tempfile.mkdtemp(prefix="equivar_jax-"))
        self._files: dict[str, BinaryIO] = {}
        self._columns: dict[str, dict[str, Any]] = {}

    def append(self, **arrays: np.ndarray) -> None:
        """Append rows (along the first axis) to the named columns.

        The first call decides the type of a column and the shape of its rows.

        Raises:
            InputError: the disk is full.
        """
        for name, array in arrays.items():
            if name not in self._files:
                with _input_error_if_full(self._folder):
                    self._files[name] = (self._folder / f"{name}.bin").open("wb")
                self._columns[name] = {"dtype": array.dtype.str, "shape": [0, *array.shape[1:]], "crc32": 0}
            column = self._columns[name]
            data = np.ascontiguousarray(array, dtype=column["dtype"]).tobytes()
            with _input_error_if_full(self._folder):
                self._files[name].write(data)
            column["crc32"] = zlib.crc32(data, column["crc32"])
            column["shape"][0] += len(array)

    def finish(self, key: str, notes: Any = None) -> Columns:
        """Close the files, move the folder into its place, and open its columns.

        Args:
            key: The key of the store.
            notes: Anything that JSON can hold, to be kept with the columns.

        Returns:
            The columns; those of another process, if it has put the same store there meanwhile.

        Raises:
            InputError: the disk is full.
        """
        manifest = {"key": key, "columns": self._columns, "notes": notes}
        with _input_error_if_full(self._folder):
            for file in self._files.values():
                file.close()
            (self._folder / _MANIFEST).write_text(json.dumps(manifest))
        if self._target is not None:
            for _ in range(_ATTEMPTS):
                with contextlib.suppress(OSError):
                    self._folder = self._folder.rename(self._target)
                    return Columns(self._folder, key, _map_columns(self._folder, self._columns), notes)
                with contextlib.suppress(*_DAMAGE):
                    if (there := _read_columns(self._target, key, verify=True)) is not None:
                        shutil.rmtree(self._folder, ignore_errors=True)
                        return there
                _move_away(self._target)  # a store that is stale or damaged
        columns = Columns(self._folder, key, _map_columns(self._folder, self._columns), notes)
        weakref.finalize(columns, shutil.rmtree, self._folder, ignore_errors=True)
        return columns

    def discard(self) -> None:
        """Remove everything that was written, after a failure."""
        for file in self._files.values():
            with contextlib.suppress(OSError):  # what it holds back does not fit on a full disk, either
                file.close()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def _input_error_if_full(folder: Path) -> Iterator[None]:
    """Turn an `OSError` inside the block into an `InputError` that asks for room."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{folder.parent}: the cache cannot be written ({error.strerror or error}); make room, or set "
            f"{CACHE_VARIABLE} to another folder"
        ) from None


def _move_away(target: Path) -> None:
    """Remove what is at a place in one step, so that who opens it there finds all of it or nothing."""
    with contextlib.suppress(OSError):
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
        with contextlib.suppress(OSError):
            target.rename(aside / "old")
        shutil.rmtree(aside, ignore_errors=True)


def open_columns(folder: Path, key: str, verify: bool = True) -> Columns | None:
    """Open the columns of a store.

    Args:
        folder: The folder of the store.
        key: The key that the store must have.
        verify: Compare the checksum of every column with the one in the manifest.

    Returns:
        The columns; None if there is no store of this key, or, with a warning, if it is damaged.
    """
    try:
        return _read_columns(folder, key, verify)
    except _DAMAGE as error:
        warnings.warn(
            f"{folder}: the cache is damaged ({error}) and is made again", RuntimeWarning, stacklevel=2
        )
        return None


def _read_columns(folder: Path, key: str, verify: bool) -> Columns | None:
    """Open the columns of a store; one of `_DAMAGE` says that it is damaged, None that there is none."""
    if not (folder / _MANIFEST).is_file():
        return None
    manifest = json.loads((folder / _MANIFEST).read_text())
    if manifest["key"] != key:
        return None
    for name, column in manifest["columns"].items():
        if verify and _checksum(folder / f"{name}.bin") != column["crc32"]:
            raise ValueError(f"column {name} has changed")
    return Columns(folder, key, _map_columns(folder, manifest["columns"]), manifest["notes"])


def _map_columns(folder: Path, columns: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    return {name: _map_column(folder / f"{name}.bin", column) for name, column in columns.items()}


def _map_column(path: Path, column: dict[str, Any]) -> np.ndarray:
    """Map a column without reading it into memory; an empty one, which cannot be mapped, is made anew."""
    shape, dtype = tuple(column["shape"]), np.dtype(column["dtype"])
    return np.memmap(path, dtype, "r", shape=shape) if 0 not in shape else np.zeros(shape, dtype)


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(_CHECKED_AT_ONCE):
            checksum = zlib.crc32(piece, checksum)
    return checksum


def piece_starts(sizes: np.ndarray) -> np.ndarray:
    """Return where each piece of a concatenated column starts, and where the last one ends.

    Args:
        sizes: Rows of each piece.

    Returns:
        int64 [pieces + 1].
    """
    return np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
