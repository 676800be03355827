"""Run commands side by side, each on cores of its own.

Two trainings of a small network side by side, on a core each, are faster than one after the other on both:
in a step of milliseconds cores wait for each other, and processes do not. Measured with the network of
`bm4.py` and 160 atoms on two cores: 1.5 times (`benchmarks.speed.side_by_side`).
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from equivar_jax.errors import InputError
from equivar_jax.parallel import available_cores
from equivar_jax.runtime import Interruption

SECONDS_BETWEEN_LOOKS = 0.5
COMPLAINT = "error: "
"""How the line begins that a command prints if its input cannot be used (`errors.plain_messages`)."""
HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""Value of GLIBC_TUNABLES with which the commands are run, if the user has set none.

A compiled step of XLA takes its memory from glibc and gives it back at its end, so that Linux zeroes every
page of 4 kB again in every step: a fifth of the processor time of a training with `bm4.py`. Pages of 2 MB,
where Linux gives them on request, take few of these faults. Other C libraries do not read the variable.
"""
_PR_SET_PDEATHSIG = 1
"""Of prctl(2), Linux: the signal that a process gets when its parent is gone."""


@dataclass(frozen=True)
class Command:
    """A command to run."""

    name: str
    """For messages, such as "member 2"."""
    words: Sequence[str]
    """The command line."""
    log: Path
    """File for all that it prints; a command that is run again adds to it."""


def run_side_by_side(
    commands: Sequence[Command], look: Callable[[], None] = lambda: None
) -> signal.Signals | None:
    """Run as many commands at a time as there are cores, and divide the cores among them.

    SIGINT and SIGTERM end all of them: each is sent SIGTERM and is waited for, so that it can save its work.
    So are the others of its round if one fails.

    Args:
        commands: What to run, in this order.
        look: Called about twice a second meanwhile, and at the end of each round.

    Returns:
        The signal that interrupted it, or None if all came to their end.

    Raises:
        InputError: a command refused its input (exit status 2); the message is its own.
        RuntimeError: it ended with another status.
    """
    cores = _cores()
    for first in range(0, len(commands), len(cores)):
        some = commands[first : first + len(cores)]
        interrupted = _run_round(some, [cores[k :: len(some)] for k in range(len(some))], look)
        if interrupted is not None:
            return interrupted
    return None


def end_with_parent() -> None:
    """Let this process get SIGTERM when the one that began it is gone (on Linux; nothing elsewhere).

    So nothing goes on in a folder that the next command may already be writing to.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(available_cores()))


def _run_round(
    commands: Sequence[Command], cores: Sequence[Sequence[int]], look: Callable[[], None]
) -> signal.Signals | None:
    """Run commands at the same time, each on its cores."""
    with Interruption() as interruption, contextlib.ExitStack() as stack:
        begun = [
            stack.enter_context(_begun(command, own)) for command, own in zip(commands, cores, strict=True)
        ]
        while None in (codes := [process.poll() for process in begun]):
            if interruption.signal is not None or any(codes):
                break
            look()
            with contextlib.suppress(subprocess.TimeoutExpired):
                begun[codes.index(None)].wait(SECONDS_BETWEEN_LOOKS)
    look()
    if interruption.signal is not None:
        return interruption.signal
    for command, code in zip(commands, codes, strict=True):
        if code:
            _complain(command, code)
    return None


@contextlib.contextmanager
def _begun(command: Command, cores: Sequence[int]) -> Iterator[subprocess.Popen]:
    """Begin a command; when the block is left, end it and wait for it."""
    command.log.parent.mkdir(parents=True, exist_ok=True)
    with command.log.open("a") as log, _only_on(cores):
        process = subprocess.Popen(
            command.words,
            env={"GLIBC_TUNABLES": HUGE_PAGES, **os.environ},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to this process alone, which says it to that one once
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.wait()


@contextlib.contextmanager
def _only_on(cores: Sequence[int]) -> Iterator[None]:
    """Keep this thread, and processes that it begins in the block, on these cores, where that is possible."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _complain(command: Command, code: int) -> None:
    """Raise the error of a command that failed.

    Raises:
        InputError: it refused its input.
        RuntimeError: anything else.
    """
    lines = command.log.read_text(errors="replace").splitlines()
    said = next((line for line in reversed(lines) if line.startswith(COMPLAINT)), None)
    if code == 2 and said is not None:
        raise InputError(f"{command.name}: {said.removeprefix(COMPLAINT)}")
    how = f"status {code}" if code > 0 else f"signal {signal.Signals(-code).name}"
    raise RuntimeError(f"{command.name} ended with {how}; see {command.log}")
