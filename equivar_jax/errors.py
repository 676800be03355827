"""`InputError`: the user's input cannot be used; the message says where, what is wrong and how to fix it."""

import os
import select
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """The error for a file, structure, label or setting that cannot be used.

    The message is one line that names the place (file and frame), what was found there, and the fix.
    Command-line programs print it and exit with status 2; code that calls this package may catch it as a
    `ValueError`.
    """


@contextmanager
def plain_messages() -> Iterator[None]:
    """Print as a command does: an `InputError` becomes one line on standard error and exit status 2.

    Ctrl-C, where nothing better is done about it, becomes one line and exit status 130 (SIGTERM, where it is
    caught, 143). A reader of the output that goes away, such as `head`, ends the command without a word and
    with exit status 141.
    Warnings are one line each, `warning: ...`, without the path and source line that Python adds. One that
    was printed already, word for word, is not repeated (Python forgets it with every `catch_warnings`).
    """
    before, said = warnings.formatwarning, set[str]()

    def format_once(message: Warning | str, *_: object, **__: object) -> str:
        text = _one_line(message)
        if text in said:
            return ""
        said.add(text)
        return text

    warnings.formatwarning = format_once
    try:
        yield
        if sys.stdout is not None and not sys.stdout.closed:
            sys.stdout.flush()  # here, and not when Python ends, a closed pipe can be answered
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(128 + signal.SIGPIPE) from None
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt as stop:
        kind = getattr(stop, "signal", signal.SIGINT)  # `runtime.Interrupted` names it
        print(f"{kind.name}: interrupted", file=sys.stderr)
        raise SystemExit(128 + kind) from None
    finally:
        warnings.formatwarning = before


@contextmanager
def input_error_unless_writable(path: Path, option: str) -> Iterator[None]:
    """Turn an `OSError` inside the block into an `InputError` that asks for another value of `option`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another {option}"
        ) from None


def require_free_folder(folder: Path, option: str) -> None:
    """Refuse a folder for results that has something in it, or is a file.

    Args:
        folder: It need not exist.
        option: Of the command line, by which the user has named it.

    Raises:
        InputError: results of something else would be mixed or lost, or it may not be looked into.
    """
    with input_error_unless_writable(folder, option):
        is_taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if is_taken:
        raise InputError(f"{folder}: exists and is not an empty folder; choose another {option}")


def _nobody_reads() -> bool:
    """Return whether standard output is a pipe whose reader is gone, as far as the system tells."""
    if not hasattr(select, "poll") or sys.stdout is None:
        return False
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (OSError, ValueError):  # no file behind it
        return False


def _one_line(message: Warning | str) -> str:
    """Format a warning as one line; on a terminal it overwrites the progress bar, which follows below."""
    over_the_bar = "\r\033[K" if sys.stderr.isatty() else ""
    return f"{over_the_bar}warning: {' '.join(str(message).split())}\n"
