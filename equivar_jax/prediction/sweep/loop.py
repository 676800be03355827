"""The loop of a sweep: structures are read, predicted and written window by window.

While a window is predicted, one thread reads the next window and builds its graphs, and another writes the
window before it, so memory holds three windows however long the input is. After each window the output is on
the disk and the journal records it: whatever ends the process, the same command resumes from there. Because
windows and batches follow from the input alone, the output is that of an uninterrupted run.
"""

import signal
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from equivar_jax.prediction.predictor import Predictor
from equivar_jax.prediction.sweep.inputs import Window, estimate_structures, read_windows
from equivar_jax.prediction.sweep.journal import Journal
from equivar_jax.prediction.sweep.shards import Shard
from equivar_jax.progress import ProgressBar
from equivar_jax.runtime import Interruption


@runtime_checkable
class Work(Protocol):
    """What is done with each window."""

    predictor: Predictor
    """The model, for whose cutoff and elements structures are read."""
    journal: Journal
    partial: Path
    """The unfinished output, for the message of an interruption."""

    def predict(self, window: Window, advance: Callable[[int], object]) -> Sequence[Any]:
        """Compute what is to be written of each structure of the window that can be used.

        Args:
            window: The structures with their graphs.
            advance: To be called with each number of atoms that is done.
        """

    def write(self, window: Window, found: Sequence[Any]) -> None:
        """Add a window and what `predict` returned for it to the output, and commit both to the journal.

        Another thread calls this while the next window is predicted.
        """

    def close(self) -> None:
        """Close the output."""


def process_windows(
    files: Sequence[Path], work: Work, allow_unseen: bool, shard: Shard | None = None
) -> signal.Signals | None:
    """Predict and write the windows that are left.

    Args:
        files: As `find_input_files` returns them.
        work: What is done with a window; its journal says where to begin.
        allow_unseen: Take structures with elements that did not occur in the training data, too.
        shard: Do what belongs to this shard only.

    Returns:
        The signal (Ctrl-C or SIGTERM) that stopped this after a window, or None at the end.
    """
    start = work.journal.progress
    windows = read_windows(work.predictor, files, (start.file, start.frame), allow_unseen, shard)
    expected = estimate_structures(files, shard)
    done = start.structures + start.skipped
    written: Future[None] | None = None
    with ExitStack() as stack:
        reading, writing = (stack.enter_context(ThreadPoolExecutor(1)) for _ in range(2))
        stack.callback(lambda: writing.submit(work.close).result())
        interruption = stack.enter_context(Interruption())
        bar = stack.enter_context(
            ProgressBar(
                total=max(expected, done), initial=done, unit="structure", delay=1, disable=expected == 1
            )
        )
        ahead = reading.submit(next, windows, None)
        while (window := ahead.result()) is not None and interruption.signal is None:
            ahead = reading.submit(next, windows, None)
            end = bar.n + len(window.found)
            found = work.predict(window, _make_advance(bar, window))
            bar.update(end - bar.n)
            if written is not None:
                written.result()
            written = writing.submit(work.write, window, found)
        if written is not None:
            written.result()
    if window is None:
        return None
    assert interruption.signal is not None  # nothing else leaves a window undone
    print(
        f"{interruption.signal.name}: {work.journal.progress.structures} structures are in {work.partial}; "
        "give the same command again to resume from there",
        file=sys.stderr,
    )
    return interruption.signal


def _make_advance(bar: ProgressBar, window: Window) -> Callable[[int], None]:
    """Make a function that takes a number of atoms done and advances a bar that counts structures.

    It advances the bar in proportion to the atoms: the largest structures are predicted first, so the number
    of finished structures would mislead.
    """
    begin, done, atoms = bar.n, 0, sum(len(sample.graph.nodes["species"]) for sample in window.samples)

    def advance(number: int) -> None:
        nonlocal done
        done += number
        bar.update(begin + len(window.found) * done // atoms - bar.n)

    return advance
