"""Several processes that train one network: how they find each other, agree, and notice that one is gone.

A program takes part in a distributed run if it is told to (`--distributed`) or if JAX_COORDINATOR_ADDRESS is
in the environment. Number and place of the process are JAX_NUM_PROCESSES and JAX_PROCESS_ID, or what JAX
finds out itself under Slurm's srun and Open MPI's mpirun.
"""

import contextlib
import hashlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

from equivar_jax.errors import InputError

T = TypeVar("T")

ADDRESS, NUMBER, PLACE = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
"""Environment variables: host:port of the first process, number of processes, place of this one from 0 on."""
HEARTBEAT_SECONDS = 60
"""A process that has given no sign of life for so long is lost."""
SECONDS_BETWEEN_LOOKS = 5.0
"""How often processes look whether all are there."""
LOST = 75
"""Exit status if another process was lost: EX_TEMPFAIL of sysexits.h, since the run can go on."""
_LONGEST_MESSAGE = 2000
_SIGNS_OF_LOSS = ("gloo", "nccl", "unavailable", "deadline_exceeded", "aborted", "barrier", "heartbeat")
"""What errors of JAX say if another process does not answer."""


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
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--distributed: {_first_line(error)}; set {ADDRESS}, {NUMBER} and {PLACE} for every process, or "
            "begin them with srun or Open MPI's mpirun"
        ) from None
    except RuntimeError as error:
        raise InputError(
            f"--distributed: cannot connect to the first process ({_first_line(error)}); see that all "
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


class Watch:
    """What looks whether all processes of a run are there, and ends this one if not."""

    def __init__(self):
        self.advice = "begin again"
        """What the user can do if one is lost."""
        self._finished = threading.Event()

    def end(self, reason: str, status: int = LOST) -> NoReturn:
        """End this process at once with a line on standard error."""
        import jax

        message = f"error: process {jax.process_index()} of {jax.process_count()}: {reason}; {self.advice}"
        print(message, file=sys.__stderr__, flush=True)
        os._exit(status)  # what JAX does at the end of a process would wait for the one that is gone

    def begin(self) -> None:
        """Look every few seconds from now on."""
        threading.Thread(target=self._look, daemon=True, name="watch for lost processes").start()

    def finish(self) -> None:
        """Look no longer."""
        self._finished.set()

    def _look(self) -> None:
        import jax
        from jax.experimental import multihost_utils

        everyone = jax.devices()
        while not self._finished.wait(SECONDS_BETWEEN_LOOKS):
            there = everyone
            with contextlib.suppress(Exception), multihost_utils.live_devices(everyone) as alive:
                there = list(alive)
            gone = {each.process_index for each in everyone} - {each.process_index for each in there}
            # Others leave at the end of a run, too; and the main thread may know more, so it comes first.
            if gone and not self._finished.wait(SECONDS_BETWEEN_LOOKS):
                self.end(f"lost process {', '.join(map(str, sorted(gone)))}")


@contextlib.contextmanager
def end_if_process_lost() -> Iterator[Watch]:
    """End this process with one line on standard error if another one of the run is gone or silent.

    Collective operations of JAX tell of a lost process at once on a CPU; on other devices they may wait for
    ever, so a thread looks, too. A process with an error of its own, such as a full disk, ends the same way
    with status 2. At the end of the block the processes part: only the first can go on.

    Yields:
        The watch, whose advice should say how the run can go on.
    """
    import jax

    watch = Watch()
    if jax.process_count() == 1:
        yield watch
        return
    watch.begin()
    try:
        try:
            yield watch
        except (AgreedError, SystemExit):  # which all processes raise together
            _part(watch)
            raise
        _part(watch)
    except AgreedError:
        raise
    except InputError as error:  # of this process alone: the others are not where they could part
        watch.end(_first_line(error), status=2)
    except Exception as error:
        if not _tells_of_loss(error):
            raise
        watch.end(f"lost contact with another process ({_first_line(error)})")
    finally:
        watch.finish()


def _part(watch: Watch) -> None:
    """Let all processes but the first leave the run, when all have come so far."""
    import jax
    from jax.experimental import multihost_utils

    first = is_first_process()
    multihost_utils.sync_global_devices("end of the run")
    watch.finish()
    if not first:
        jax.distributed.shutdown()
        return
    with contextlib.suppress(Exception), multihost_utils.live_devices(jax.devices()):
        pass  # has waited for the others, which would complain if the first were gone before them


def _tells_of_loss(error: Exception) -> bool:
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS_OF_LOSS)


def _first_line(error: Exception) -> str:
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
