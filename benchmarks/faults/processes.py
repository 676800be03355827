"""Commands of the package in processes of their own, that get a signal at a chosen moment."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

SECONDS_BETWEEN_LOOKS = 0.01


class Ended(NamedTuple):
    """How a command has ended."""

    status: int
    """Exit status; that of a process which a signal has ended is the signal's number with a minus."""
    errors: str
    """What it wrote to standard error."""
    seconds: float
    was_signalled: bool
    """Whether the signal was sent before it had ended."""

    @property
    def last_line(self) -> str:
        """The last line that it wrote to standard error."""
        return (self.errors.strip().splitlines() or [""])[-1]

    @property
    def is_plain(self) -> bool:
        """Whether standard error has no traceback."""
        return "Traceback" not in self.errors


def begin(words: Sequence[object], errors: int, variables: Mapping[str, str]) -> subprocess.Popen:
    """Start `python -m WORDS` of this Python, its standard error in an open file."""
    command = [sys.executable, "-m", *map(str, words)]
    environment = {**os.environ, **variables}
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors, env=environment)


def run(
    words: Sequence[object],
    *,
    after: float | None = None,
    when: Callable[[], bool] = lambda: True,
    kind: signal.Signals = signal.SIGKILL,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    """Run a command to its end, and send it a signal on the way if asked to.

    Args:
        words: Module and arguments.
        after: Seconds after `when` has become true at which the signal is sent; None sends none.
        when: Asked again and again.
        kind: The signal.
        variables: Of the environment, beside those of this process.
    """
    with tempfile.TemporaryFile() as errors:
        started = time.monotonic()
        process = begin(words, errors.fileno(), variables or {})
        due: float | None = None
        was_signalled = False
        while process.poll() is None:
            if after is not None and not was_signalled:
                if due is None and when():
                    due = time.monotonic() + after
                if due is not None and time.monotonic() >= due:
                    process.send_signal(kind)
                    was_signalled = True
            time.sleep(SECONDS_BETWEEN_LOOKS)
        errors.seek(0)
        text = errors.read().decode(errors="replace")
    return Ended(process.returncode, text, time.monotonic() - started, was_signalled)


def must(ended: Ended) -> Ended:
    """Return how a command has ended, if well.

    Raises:
        SystemExit: it has not; what it said is in the message.
    """
    if ended.status != 0:
        raise SystemExit(f"a command that nothing disturbed has ended with {ended.status}:\n{ended.errors}")
    return ended


def train_words(folder: Path, epochs: int) -> tuple[object, ...]:
    """Return the words of a small training that saves its state after every epoch."""
    small = ("--config", "test.py", "--model.interactions", 1, "--train.epochs", epochs)
    return ("equivar_jax.train", *small, "--train.checkpoint_minutes", 1e-6, "--run-dir", folder)


def resume_words(folder: Path) -> tuple[object, ...]:
    """Return the words that go on with it."""
    return ("equivar_jax.train", "--resume", folder)
