"""What a process of a distributed run does if another one is gone: it ends, with one line that says so."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

from equivar_jax.distributed import AgreedError, first_line, is_first_process
from equivar_jax.errors import InputError

SECONDS_BETWEEN_LOOKS = 5.0
"""How often processes look whether all are there."""
SECONDS_OF_THE_FIRST = 3.0
"""How much later the first process ends. It has the service that all are in touch with, and JAX aborts any
process that still runs when that is gone."""
LOST = 75
"""Exit status if another process was lost: EX_TEMPFAIL of sysexits.h, since the run can go on."""
_SIGNS_OF_LOSS = ("gloo", "nccl", "unavailable", "deadline_exceeded", "aborted", "barrier", "heartbeat")
"""What errors of JAX say if another process does not answer."""


class Watch:
    """What looks whether all processes of a run are there, and ends this one if not."""

    def __init__(self):
        self.advice = "begin again"
        """What the user can do if one is lost."""
        self._finished = threading.Event()
        self._ending = threading.Lock()
        self._thread = threading.Thread(target=self._look, daemon=True, name="watch for lost processes")

    def end(self, reason: str, status: int = LOST) -> NoReturn:
        """End this process with a line on standard error: the first after the others, each other at once."""
        import jax

        self._ending.acquire()  # never released: another thread that comes here has nothing to add
        message = f"error: process {jax.process_index()} of {jax.process_count()}: {reason}; {self.advice}"
        print(message, file=sys.__stderr__, flush=True)
        if is_first_process():
            time.sleep(SECONDS_OF_THE_FIRST)
        os._exit(status)  # what JAX does at the end of a process would wait for the one that is gone

    def begin(self) -> None:
        """Look every few seconds from now on."""
        self._thread.start()

    def finish(self) -> None:
        """Look no longer, and wait for the end of a last look: Python aborts if it ends within one."""
        self._finished.set()
        if self._thread.is_alive():
            self._thread.join(SECONDS_BETWEEN_LOOKS)

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
        watch.end(first_line(error), status=2)
    except Exception as error:
        if not _tells_of_loss(error):
            raise
        watch.end(f"lost contact with another process ({first_line(error)})")
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
    """Return whether an error of JAX says that another process does not answer."""
    text = str(error).lower()
    return any(sign in text for sign in _SIGNS_OF_LOSS)
