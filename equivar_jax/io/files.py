"""Open files: recognise compression by content, and report every fault of a file as one `InputError`."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import zstandard

from equivar_jax.errors import InputError

COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz", ".zst")
OUTPUT_NAMES = {
    "BORN": ".born",
    "BORNINFO": ".borninfo",
    "BEC": ".bec",
    "BEC.txt": ".bec",
    "bec.txt": ".bec",
    "CONTROL": ".control",
    "infile.lotosplitting": ".lotosplitting",
}
"""Names by which programs look for their input, and the suffix that means the same format."""
HEAD = 8192
"""Number of bytes at the beginning of a file, after decompression, by which its format is recognised."""

_BLOCK = 1 << 20


def _open_zstd(path: Path) -> io.BufferedReader:
    """Open a zstd file of any number of frames for reading (`zstandard.open` stops after the first)."""
    reader = zstandard.ZstdDecompressor().stream_reader(path.open("rb"), read_across_frames=True)
    return io.BufferedReader(reader, _BLOCK)


# The first bytes decide the compression, so that a misnamed file can still be read.
_OPENERS: dict[bytes, Callable[[Path], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
    b"\x28\xb5\x2f\xfd": _open_zstd,
}
_DAMAGE = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zstandard.ZstdError)


def require_file(path: Path) -> None:
    """Refuse a path that is not a readable, non-empty file.

    Raises:
        InputError: nothing is there, it is a directory, it may not be read, or it has no content.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; check the path") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({_cause(error)}); check the path") from None
    if is_locked_folder(path):
        raise InputError(f"{path}: the folder may not be read; change its permissions")
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a directory; name a structure file")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: the file is empty; write it again")


def is_locked_folder(path: Path) -> bool:
    """Return whether a path is a folder whose content may not be listed."""
    if not os.path.isdir(path):  # noqa: PTH112 - unlike Path's, it raises nothing
        return False
    try:
        os.scandir(path).close()
    except OSError:
        return True
    return False


def base_name(path: Path) -> str:
    """Return the name of a file without a compression suffix ("OUTCAR" for "OUTCAR.gz")."""
    return path.stem if path.suffix.lower() in COMPRESSION_SUFFIXES else path.name


def format_suffix(path: Path) -> str:
    """Return the suffix that names the format, lower case, without compression suffix (".extxyz")."""
    return Path(base_name(path)).suffix.lower()


def output_suffix(path: Path) -> str:
    """Return the suffix that names the format of a file to be written (".born" for BORN and BORN.gz)."""
    return OUTPUT_NAMES.get(base_name(path)) or format_suffix(path)


def read_head(path: Path, size: int = HEAD) -> bytes:
    """Return the first `size` bytes after decompression, or no bytes if the file cannot be read."""
    try:
        with _find_opener(path)(path) as handle:
            return handle.read(size)
    except (*_DAMAGE, OSError):
        return b""


@contextmanager
def open_text(path: Path, errors: str = "strict", newline: str | None = None) -> Iterator[io.TextIOWrapper]:
    """Open a text file for reading, plain or compressed (gzip, bzip2, xz, zstd).

    Faults that appear only while the file is read (a truncated archive, bytes that are not text) are
    translated as well, so all the reading belongs inside the `with` block. An archive whose checksum does not
    match yields nothing; one that is cut short yields what it has before the error is raised.

    Args:
        path: the file.
        errors: what happens to bytes that are not UTF-8 (see `codecs`).
        newline: "" leaves line ends as they are (see `open`).

    Yields:
        An open handle. Line ends are translated by default, a byte order mark is skipped.

    Raises:
        InputError: the file is missing, a directory, empty, damaged, or not UTF-8 text.
    """
    with _translate_faults(path):
        ends_early = _ends_early(path)
        binary = _find_opener(path)(path)
        with io.TextIOWrapper(binary, encoding="utf-8-sig", errors=errors, newline=newline) as handle:
            yield handle
        if ends_early:
            raise EOFError("it ends before its end mark")


def has_line_with(path: Path, words: str) -> bool:
    """Return whether a text file has a line with these words; one that cannot be read has none."""
    try:
        with open_text(path, errors="replace") as handle:
            return any(words in line for line in handle)
    except InputError:
        return False


@contextmanager
def plain_file(path: Path) -> Iterator[Path]:
    """Provide a plain file for parsers that cannot decompress: the file itself or a temporary copy.

    Args:
        path: the file, plain or compressed.

    Yields:
        The path of a plain file with the same base name. A decompressed copy is deleted at the end of the
        block.

    Raises:
        InputError: the file is missing, a directory, empty, damaged or cut short.
    """
    with _translate_faults(path):
        opener = _find_opener(path)
        if opener is _open_plain:
            yield path
            return
        with tempfile.TemporaryDirectory(prefix="equivar-") as folder:
            copy = Path(folder, base_name(path))
            with opener(path) as source, copy.open("wb") as target:
                shutil.copyfileobj(source, target, _BLOCK)
            if _ends_early(path):
                raise EOFError("it ends before its end mark")
            yield copy


@contextmanager
def complete_file(path: Path) -> Iterator[Path]:
    """Provide a path to write to, so that the file gets its own name only when it is complete.

    Args:
        path: the file. An existing one is replaced at the end of the block, and kept if the block fails.

    Yields:
        The path to write to.

    Raises:
        InputError: the folder does not exist or may not be written to.
    """
    partial = path.with_name(path.name + ".part")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({_cause(error)}); check the folder") from None
    finally:
        with suppress(OSError):
            partial.unlink()


def write_whole(path: Path, text: str, *, is_shared: bool = False) -> None:
    """Write a text file that appears complete or not at all, so that a process may be killed at any time.

    Args:
        path: the file. An existing one is replaced.
        text: its content, which is written in UTF-8.
        is_shared: whether several processes may write the file at the same time. Each then writes to a file
            of its own first; if it is killed, nobody takes that away.

    Raises:
        OSError: the folder does not exist, may not be written to, or is full; the caller says what it means.
    """
    own = f"-{os.getpid()}" if is_shared else ""
    partial = path.with_name(f".{path.name}{own}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


@contextmanager
def open_for_writing(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that appears under its name only when it is complete.

    Args:
        path: the file, compressed with gzip if its name ends in `.gz` and with zstd if `.zst`. An existing
            one is replaced at the end of the block, and kept if the block fails.

    Yields:
        An open handle.

    Raises:
        InputError: the folder does not exist or may not be written to.
    """
    with (
        complete_file(path) as partial,
        _open_binary(partial, path.suffix.lower()) as binary,
        io.TextIOWrapper(binary, encoding="utf-8", newline="") as handle,
    ):
        yield handle


def excerpt(text: str, length: int = 60) -> str:
    """Return a piece of a file for an error message: on one line, quoted, cut to `length` characters."""
    line = " ".join(text.split())
    return repr(line if len(line) <= length else line[: length - 1] + "…")


def _open_binary(path: Path, suffix: str) -> Any:
    """Open a binary file for writing, compressed as the suffix says."""
    if suffix == ".gz":
        return gzip.open(path, "wb")
    if suffix == ".zst":
        compressor = zstandard.ZstdCompressor(write_checksum=True)
        return compressor.stream_writer(path.open("wb"))
    return path.open("wb")


def _open_plain(path: Path) -> io.BufferedReader:
    """Open an uncompressed file for reading in binary."""
    return path.open("rb")


def _find_opener(path: Path) -> Callable[[Path], Any]:
    """Return the function that opens a file for reading in binary, chosen by the file's first bytes."""
    with path.open("rb") as raw:
        head = raw.read(max(map(len, _OPENERS)))
    return next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), _open_plain)


@contextmanager
def _translate_faults(path: Path) -> Iterator[None]:
    """Turn what goes wrong inside the block into an `InputError` about this file."""
    require_file(path)
    try:
        yield
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; name a structure file in UTF-8") from None
    except _DAMAGE as error:
        raise InputError(
            f"{path}: the compressed file is damaged or cut short ({error}); copy it again"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({_cause(error)}); check the file") from None


def _ends_early(path: Path) -> bool:
    """Return whether an archive is cut short; raise the error of its format if it is damaged.

    Checksums are at the end of an archive, so this reads all of it before its content is used.
    """
    opener = _find_opener(path)
    if opener is _open_plain:
        return False
    if opener is _open_zstd:
        return _zstd_ends_early(path)
    try:
        with opener(path) as handle:
            while handle.read(_BLOCK):
                pass
    except EOFError:
        return True
    return False


def _zstd_ends_early(path: Path) -> bool:
    """Return whether a zstd file is cut short; zstd's stream reader would not report it."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as raw:
        while block := raw.read(_BLOCK):
            while block:
                if frame.eof:
                    frame = zstandard.ZstdDecompressor().decompressobj()
                frame.decompress(block)
                block = frame.unused_data
    return not frame.eof


def _cause(error: Exception) -> str:
    """Return the operating system's words for an error."""
    return getattr(error, "strerror", None) or str(error)
