"""Run independent pieces of work in worker processes and return the results in order."""

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import current_process, get_context
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

IN_FLIGHT_PER_WORKER = 3
"""Items per worker process that are submitted before the first of them has to be done."""


def available_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_in_order(work: Callable[[T], R], items: Sequence[T], *, processes: bool) -> Iterator[R]:
    """Apply a function to every item and yield the results in order.

    Args:
        work: The function; it must be picklable and have no side effects.
        items: Its arguments, which must be picklable.
        processes: Use worker processes, as many as there are cores. They import the calling script, whose
            entry needs `if __name__ == "__main__":`; without it this process does the work, with a warning.

    Yields:
        The results, in the order of the items. Only a few are made ahead, so memory is bounded.

    Raises:
        Exception: Whatever `work` raises, when the iteration comes to that item.
    """
    done = 0
    workers = min(available_cores(), len(items))
    if processes and workers > 1 and not current_process().daemon:
        try:
            for result in _map_in_workers(work, items, workers):
                yield result
                done += 1
            return
        except BrokenProcessPool:
            warnings.warn(
                "worker processes died (does the script lack `if __name__ == '__main__':`?); "
                "the rest is done in this process",
                RuntimeWarning,
                stacklevel=2,
            )
    for item in items[done:]:
        yield work(item)


def _map_in_workers(work: Callable[[T], R], items: Sequence[T], workers: int) -> Iterator[R]:
    """Yield the results in order from worker processes.

    The workers are spawned, since a forked one would inherit the locks of an initialised JAX.
    """
    pending: deque[Future[R]] = deque()
    with _one_blas_thread_in_children():
        pool = ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"))
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= IN_FLIGHT_PER_WORKER * workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


@contextmanager
def _one_blas_thread_in_children() -> Iterator[None]:
    """Make processes that start inside the block use one BLAS thread each; together they fill the cores."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
