"""How a program says where it is: a bar on a terminal, now and then a line in a file, and nothing twice.

Everything goes to standard error, so that results can be piped.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0
"""Where standard error is no terminal, progress is at most one line in this time."""
SECONDS_OF_SILENCE = 2.0
"""A step that takes longer says what it is."""

_LINE = "{desc}: {percentage:.0f} % ({n_fmt} of {total_fmt}), {elapsed} gone, {remaining} left{postfix}"
_OPEN_LINE = "{desc}: {n_fmt}{unit}, {elapsed} gone{postfix}"
"""Of what has no end that is known."""


class ProgressBar(tqdm):
    """A bar of `tqdm` on a terminal; in a file a line every half a minute, without carriage returns.

    Takes the arguments of `tqdm`.
    """

    def __init__(self, *arguments: Any, **options: Any):
        self._in_file = not sys.stderr.isatty()
        self._shown_at = time.monotonic()
        if self._in_file:
            line = _LINE if options.get("total") or arguments else _OPEN_LINE
            options |= {"file": _Lines(sys.stderr), "bar_format": line, "leave": False}
            options["desc"] = options.get("desc") or "progress"
        else:
            options = {"dynamic_ncols": True, **options}
        super().__init__(*arguments, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the state; in a file only if the last line is old enough."""
        if self._in_file:
            if time.monotonic() - self._shown_at < SECONDS_BETWEEN_LINES:
                return False
            self._shown_at = time.monotonic()
        return bool(super().display(msg, pos))


class _Lines:
    """A file in which every state of a bar is a line of its own."""

    def __init__(self, file: Any):
        self._file = file

    def write(self, text: str) -> None:
        """Write a line; what only moves the cursor is left out."""
        if text := text.strip():
            self._file.write(f"{text}\n")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


@contextmanager
def announce_if_slow(what: str) -> Iterator[None]:
    """Say on standard error what is being done, if the block takes longer than two seconds.

    Args:
        what: Such as "reading my.extxyz".
    """
    timer = threading.Timer(SECONDS_OF_SILENCE, tqdm.write, (f"{what} ...",), {"file": sys.stderr})
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
