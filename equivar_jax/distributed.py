"""Several processes that train one network: how they find each other, and agree.

A program takes part in a distributed run if it is told to (`--distributed`) or if JAX_COORDINATOR_ADDRESS is
in the environment. Number and place of the process are JAX_NUM_PROCESSES and JAX_PROCESS_ID, or what JAX
finds out itself under Slurm's srun and Open MPI's mpirun. What happens if one of them is gone is in
`equivar_jax.lost_processes`.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from equivar_jax.errors import InputError

T = TypeVar("T")

ADDRESS, NUMBER, PLACE = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
"""Environment variables: host:port of the first process, number of processes, place of this one from 0 on."""
HEARTBEAT_SECONDS = 60
"""A process that has given no sign of life for so long is lost."""
_LONGEST_MESSAGE = 2000
"""Bytes of a text that processes give each other."""


class AgreedError(InputError):
    """What the first process raises when all of several stop together; the others raise `SystemExit`."""


def is_distributed(asked: bool) -> bool:
    """Tell whether this process is to take part in a distributed run.

    Args:
        asked: Whether the user said so.
    """
    return asked or ADDRESS in os.environ


def connect() -> None:
    """Connect this process with the others; to be called before JAX sees a device.

    Raises:
        InputError: it is not known who the others are, or they cannot be reached.
    """
    number, place = _read_integer(NUMBER), _read_integer(PLACE)
    # C++ logs of connections that end are pages; what matters comes as an exception or by the watch.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import jax

    # Signals are this package's own affair; and without "recoverability" the loss of a process ends the
    # others by an abort in C++, in the middle of whatever they do.
    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_enable_recoverability", True)
    try:
        jax.distributed.initialize(
            num_processes=number, process_id=place, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
        )
        # All are there at this moment. At the first collective operation gloo gives up after 30 s without one
        # of them, which may read or compile for longer; at later ones it waits.
        _gather("")
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--distributed: {first_line(error)}; set {ADDRESS}, {NUMBER} and {PLACE} for every process, or "
            "begin them with srun or Open MPI's mpirun"
        ) from None
    except RuntimeError as error:
        raise InputError(
            f"--distributed: cannot connect to the first process ({first_line(error)}); see that all "
            f"processes run and that {ADDRESS} is the address of the first"
        ) from None


def is_first_process() -> bool:
    """Return whether this process is the one that reports and writes; one that is alone is."""
    import jax

    return jax.process_index() == 0


def together(make: Callable[[], T], first_alone: bool = False) -> T:
    """Call a function in every process; if it refuses its input in one, stop all.

    Args:
        make: The function, in which processes must not wait for each other.
        first_alone: Let the others begin when the first process is done, so that they find in the cache what
            it has read, built and compiled.

    Raises:
        InputError: in the first process, for the first one that refused; of several an `AgreedError`.
        SystemExit: in the other processes.
    """
    import jax

    if jax.process_count() == 1:
        return make()
    waits = first_alone and not is_first_process()
    if waits:
        _stop_if_refused(_gather(""))
    made, complaint = None, ""
    try:
        made = make()
    except InputError as error:
        complaint = str(error)
    _stop_if_refused(_gather(complaint))
    if first_alone and not waits:
        _stop_if_refused(_gather(""))
    return made  # type: ignore[return-value]


def _stop_if_refused(said: list[str]) -> None:
    """Stop this process if one of all has refused its input.

    Args:
        said: Of each process its complaint, empty if there is none.
    """
    first = next((place for place, text in enumerate(said) if text), None)
    if first is None:
        return
    if not is_first_process():
        raise SystemExit(2)
    raise AgreedError(said[0] or f"process {first}: {said[first]}")


def from_first(make: Callable[[], str]) -> str:
    """Call a function in the first process, and return its text in all of them.

    Raises:
        InputError: in the first process, if the function refuses its input.
        SystemExit: in the other processes then.
    """
    return _gather(together(lambda: make() if is_first_process() else ""))[0]


def require_same(content: bytes, what: str) -> None:
    """Refuse to go on if processes have different content.

    Args:
        content: Bytes that follow from it.
        what: It is, for the message.

    Raises:
        InputError: in the first process, if some have other content than it.
        SystemExit: in the other processes then.
    """
    import jax

    if jax.process_count() == 1:
        return
    digests = _gather(hashlib.sha256(content).hexdigest())
    other = [str(place) for place, digest in enumerate(digests) if digest != digests[0]]
    if not other:
        return
    if not is_first_process():
        raise SystemExit(2)
    raise AgreedError(
        f"process {', '.join(other)} of {len(digests)} has other {what} than the first; let all read the "
        "same files, with the same versions of this package, its libraries and the C++ compiler"
    )


def _gather(text: str) -> list[str]:
    """Return the texts that the processes give, in their order; each waits for all."""
    import jax
    import numpy as np

    if jax.process_count() == 1:
        return [text]
    from jax.experimental import multihost_utils

    encoded = text.encode()[:_LONGEST_MESSAGE]
    padded = np.zeros(_LONGEST_MESSAGE, np.uint8)
    padded[: len(encoded)] = np.frombuffer(encoded, np.uint8)
    rows = multihost_utils.process_allgather(padded)
    return [bytes(row[row > 0]).decode(errors="ignore") for row in rows]


@contextlib.contextmanager
def one_voice() -> Iterator[None]:
    """Let only the first process print; exceptions leave the block in each."""
    if is_first_process():
        yield
        return
    with (
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def first_line(error: Exception) -> str:
    """Return the first line of the message of an error, or its kind if there is no message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read_integer(variable: str) -> int | None:
    """Read an environment variable.

    Raises:
        InputError: it is no integer.
    """
    text = os.environ.get(variable)
    if text is None:
        return None
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{variable}={text}: not an integer; give a number, or unset it") from None
