"""Opening files: compression told by content, and every fault of the file itself as one `InputError`."""

import bz2
import gzip
import lzma
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from equivar_jax.errors import InputError

COMPRESSION_SUFFIXES = (".gz", ".bz2", ".xz")

# The first bytes tell the compression, so that a misnamed file is still read.
_OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}


def require_file(path: Path) -> None:
    """Refuse a path that is not a readable, non-empty file.

    Raises:
        InputError: nothing is there, it is a directory, it may not be read, or it has no content.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    if stat.S_ISDIR(status.st_mode):
        raise InputError(f"{path}: is a directory; name a structure file")
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        raise InputError(f"{path}: the file is empty; write it again")


def format_suffix(path: Path) -> str:
    """The suffix that names the format, in lower case and without a compression suffix (".extxyz")."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSION_SUFFIXES:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


@contextmanager
def open_text(path: Path) -> Iterator[TextIOWrapper]:
    """Open a text file for reading, plain or compressed (gzip, bzip2, xz).

    Faults of the file that appear only while it is read (a truncated archive, bytes that are not text) are
    translated as well, so the whole reading belongs inside the `with` block.

    Args:
        path: the file.

    Yields:
        An open handle; line ends are translated, a byte order mark is skipped.

    Raises:
        InputError: the file is missing, a directory, empty, damaged, or not UTF-8 text.
    """
    require_file(path)
    try:
        with path.open("rb") as raw:
            head = raw.read(6)
        opener = next((opener for magic, opener in _OPENERS.items() if head.startswith(magic)), open)
        with opener(path, "rt", encoding="utf-8-sig") as handle:
            yield handle
    except UnicodeDecodeError:
        raise InputError(f"{path}: not a text file; name a structure file, in UTF-8") from None
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise InputError(
            f"{path}: the compressed file is damaged or cut short ({error}); copy it again"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); check the file") from None


@contextmanager
def open_for_writing(path: Path) -> Iterator[TextIOWrapper]:
    """Open a text file (gzip if it is named `.gz`) that appears under its name only when it is complete.

    Args:
        path: the file; an existing one is replaced at the end of the block, and kept if the block fails.

    Yields:
        An open handle.

    Raises:
        InputError: the folder does not exist or may not be written to.
    """
    partial = path.with_name(path.name + ".part")
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    try:
        with opener(partial, "wt", encoding="utf-8", newline="") as handle:
            yield handle
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error}); check the folder") from None
    finally:
        with suppress(OSError):
            partial.unlink()


def excerpt(text: str, length: int = 60) -> str:
    """A piece of a file for an error message: one line, quoted, and cut to `length` characters."""
    line = " ".join(text.split())
    return repr(line if len(line) <= length else line[: length - 1] + "…")
