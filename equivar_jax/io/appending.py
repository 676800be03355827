"""Output files that grow while a sweep runs and that can be cut back to their last commit.

The content is the same as that of the writers in `csv`, `extxyz_writer` and `ase_writers`. Compressed text
gets one gzip member or one zstd frame for each commit.
"""

import csv
import functools
import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import zstandard
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.appending_ase import DatabaseOutput, TrajectoryOutput, make_shortened_error
from equivar_jax.io.csv import DEVIATIONS, HEADER, csv_lines
from equivar_jax.io.extxyz_writer import frame_lines
from equivar_jax.io.files import base_name, output_suffix
from equivar_jax.io.phonopy_born_writer import write_born
from equivar_jax.io.shengbte_writer import write_control
from equivar_jax.io.tensor_rows_writer import write_bec, write_borninfo, write_lotosplitting
from equivar_jax.structures import DISTANCE


@runtime_checkable
class AppendingOutput(Protocol):
    """A file to which structures are added."""

    def add(self, atoms: Atoms) -> None:
        """Add a structure with its tensors [atom, field, displacement] in e.

        Raises:
            InputError: the format cannot hold it; the file stays as it was.
        """

    def commit(self) -> int:
        """Write to the disk what was added.

        Returns:
            The mark to which `open_output` can later cut the file back.
        """

    def close(self) -> None:
        """Release the file. What was not committed may or may not be in it."""


def open_output(
    path: Path, partial: Path, mark: int, count: int, uncertainty: bool = False, distance: bool = False
) -> AppendingOutput:
    """Open the output file of this name, to continue where it stood at a commit.

    Args:
        path: Its final name, which decides the format (see `check_output`).
        partial: The file that grows until it gets its final name.
        mark: What that commit returned; 0 starts a new file.
        count: Number of structures in the file at that commit.
        uncertainty: Whether the structures carry standard deviations (`structures.BEC_STD`) to be written,
            too.
        distance: Whether they carry distances from the training data (`structures.DISTANCE`), too.

    Returns:
        The open output, without anything that was added after that commit.

    Raises:
        InputError: `partial` has less than it had at that commit.
    """
    suffix = output_suffix(path)
    if suffix == ".csv":
        header = csv_row((*HEADER, *DEVIATIONS * uncertainty, *(DISTANCE,) * distance))
        text_of = functools.partial(csv_text, uncertainty=uncertainty, distance=distance)
        return TextOutput(path, partial, mark, count, text_of, header=header)
    if suffix in (".extxyz", ".xyz"):
        return TextOutput(path, partial, mark, count, lambda atoms, _: "".join(frame_lines(atoms)))
    if suffix == ".db":
        return DatabaseOutput(partial, mark)
    if suffix == ".traj":
        return TrajectoryOutput(partial, mark)
    return _SingleOutput(path, partial, _SINGLE[suffix])


def csv_row(values: object) -> str:
    """Return one line of comma-separated values."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)  # type: ignore[arg-type]
    return text.getvalue()


def csv_text(atoms: Atoms, index: int, uncertainty: bool = False, distance: bool = False) -> str:
    """Return the CSV lines of one structure, the `index`-th of its file; see `csv_lines`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(csv_lines(atoms, index, uncertainty, distance))
    return text.getvalue()


class TextOutput:
    """A text file that grows; its mark is its length in bytes.

    Args:
        path: Its final name, which decides the compression.
        partial: The file that grows until it gets its final name.
        mark: Number of bytes to keep.
        count: Number of structures in these bytes.
        text_of: Returns the text of a structure, given the structure and its number in the file.
        header: Text before the first structure.
    """

    def __init__(
        self,
        path: Path,
        partial: Path,
        mark: int,
        count: int,
        text_of: Callable[[Any, int], str],
        header: str = "",
    ):
        self._partial = partial
        self._handle: BinaryIO | None = None  # opened when there is something to write
        if mark == 0:
            partial.unlink(missing_ok=True)
        elif not partial.is_file() or partial.stat().st_size < mark:
            raise make_shortened_error(partial)
        else:
            self._handle = partial.open("r+b")
            self._handle.truncate(mark)
            self._handle.seek(mark)
        self._suffix = path.suffix.lower()
        self._chunk: Any = None
        self._count = count
        self._text_of = text_of
        self._header = "" if mark else header

    def add(self, atoms: Any) -> None:
        """Add a structure; see `AppendingOutput`."""
        text = self._text_of(atoms, self._count)
        if self._handle is None:
            self._handle = self._partial.open("wb")
        if self._chunk is None:
            self._chunk = _open_compressor(self._handle, self._suffix)
        # File names need not be UTF-8; their bytes are written as they were read.
        self._chunk.write((self._header + text).encode(errors="surrogateescape"))
        self._header = ""
        self._count += 1

    def commit(self) -> int:
        """Write to the disk what was added; see `AppendingOutput`."""
        if self._handle is None:
            return 0
        if self._chunk is not None and self._chunk is not self._handle:
            self._chunk.close()
        self._chunk = None
        self._handle.flush()
        os.fsync(self._handle.fileno())
        return self._handle.tell()

    def close(self) -> None:
        """Release the file; see `AppendingOutput`."""
        if self._handle is not None:
            self._handle.close()


def _open_compressor(handle: BinaryIO, suffix: str) -> Any:
    """Open a stream that compresses into an open file, as the file name's suffix says.

    Closing the stream leaves the file open. Without a compression suffix the file itself is returned.
    """
    if suffix == ".gz":
        return gzip.GzipFile(filename="", mode="wb", fileobj=handle, mtime=0)
    if suffix == ".zst":
        return zstandard.ZstdCompressor(write_checksum=True).stream_writer(handle, closefd=False)
    return handle


class _SingleOutput:
    """A file that holds one structure, such as phonopy's BORN."""

    def __init__(self, path: Path, partial: Path, write: Callable[[Path, list[Atoms]], None]):
        self._path, self._partial, self._write = path, partial, write
        self._structures: list[Atoms] = []

    def add(self, atoms: Atoms) -> None:
        """Add a structure; see `AppendingOutput`."""
        self._structures.append(atoms)

    def commit(self) -> int:
        """Write the structure to the disk; see `AppendingOutput`."""
        if len(self._structures) > 1:
            name = base_name(self._path)
            raise InputError(f"{self._path}: a {name} file holds one structure; give exactly one")
        if self._structures:
            self._write(self._partial, self._structures)
        return len(self._structures)

    def close(self) -> None:
        """Release the structure; see `AppendingOutput`."""
        self._structures = []


_SINGLE: dict[str, Callable[[Path, list[Atoms]], None]] = {
    ".born": write_born,
    ".bec": write_bec,
    ".borninfo": write_borninfo,
    ".lotosplitting": write_lotosplitting,
    ".control": write_control,
}
"""Writers of formats that hold one structure."""
