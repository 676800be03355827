"""Measure on a GPU, in eight minutes at most: `python -m benchmarks.gpu`.

BM1 and BM2 in microseconds an atom at 4,000 to 100,000 atoms beside what must be reached; BM3 and the
polarisation form; one layer beside cuequivariance-jax and e3j; Figs. S2 and S3 of the paper; ten million
atoms layer by layer; shares of the device's own copy rate. The minutes include imports and compilation. After
every row the result and its tables are written; rows that no longer fit stay unmeasured, and say so. `--tiny`
tries every row on a CPU within a minute; `--page` makes tables and picture from an older result.
"""

import argparse
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.gpu.measure import Measure
    from benchmarks.gpu.record import Record
    from benchmarks.gpu.rows import Group

STARTED = time.monotonic()
"""When this process began, before it imported what takes seconds."""
OUTPUT = Path(__file__).parents[1] / "results" / "gpu.json"
SECONDS_TO_END = 5.0
"""Kept for the tables and the picture."""


def main(arguments: Sequence[str] | None = None, started: float | None = None) -> None:
    """Read the command line and measure; write JSON, tables and a picture.

    Args:
        arguments: Those of the command line.
        started: When the minutes began (of `time.monotonic`); now, if this is not a process of its own.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--minutes", type=float, default=8.0, help="for everything, from the beginning")
    parser.add_argument("--tiny", action="store_true", help="every row, as small as can be")
    parser.add_argument("--page", action="store_true", help="tables and picture from --output, as it is")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    started = time.monotonic() if started is None else started
    deadline = started + 60 * options.minutes - SECONDS_TO_END
    from benchmarks.gpu.rows import FULL, TINY, make_groups

    groups = make_groups(TINY if options.tiny else FULL)
    if options.page:
        make_page_again(options.output, groups)
        return
    import jax

    from benchmarks.common.machine import describe_machine
    from benchmarks.gpu.record import Record

    if (options.tiny or jax.default_backend() == "cpu") and options.output.resolve() == OUTPUT.resolve():
        parser.error(f"{OUTPUT.name} holds times of a GPU; on a CPU, and with --tiny, give another --output")
    head = {**describe_machine(), "tiny": options.tiny, "minutes": options.minutes}
    record = Record(options.output, head, [(row.name, row.about) for group in groups for row in group.rows])

    def cut() -> None:
        end(record, f"cut after {options.minutes:g} minutes", started)
        os._exit(0)  # whatever is being compiled cannot be interrupted

    watch = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    watch.daemon = True
    watch.start()
    fill(groups, record, lambda: deadline - time.monotonic(), options.tiny)
    watch.cancel()
    end(record, "no time was left for it", started)


def fill(groups: Sequence["Group"], record: "Record", left: Callable[[], float], tiny: bool) -> None:
    """Measure group after group: compile its rows side by side, then time them one after the other.

    Args:
        groups: What matters most first.
        record: Where the numbers go.
        left: Returns the seconds that are left.
        tiny: Whether groups take no time to speak of, so that guesses of it are passed over.
    """
    from benchmarks.gpu.record import FAILED, MEASURED, UNMEASURED

    for group in groups:
        if not tiny and left() < group.seconds:
            for row in group.rows:
                reason = f"{left():.0f} s were left, and its group may take {group.seconds:.0f}"
                record.enter(row.name, UNMEASURED, reason=reason)
            continue
        with ThreadPoolExecutor(8) as pool:
            prepared = [pool.submit(row.prepare) for row in group.rows]
            for future in prepared:
                future.exception()  # nothing is timed while something is compiled
        for row, future in zip(group.rows, prepared, strict=True):
            began = time.monotonic()
            try:
                found = _measure(future)
            except Exception as error:  # such as too little memory; the other rows go on
                first = str(error).strip().partition("\n")[0]
                record.enter(row.name, FAILED, reason=f"{type(error).__name__}: {first}")
                continue
            record.enter(row.name, MEASURED, row_seconds=time.monotonic() - began, **found)


def _measure(prepared: "Future[Measure]") -> dict:
    return prepared.result()()


def end(record: "Record", reason: str, started: float) -> None:
    """Close the record and draw the picture."""
    from benchmarks.gpu.picture import plot_rows

    record.close(reason, seconds=time.monotonic() - started)
    plot_rows(record.result, record.path.with_suffix(".png"))
    print(f"written: {record.path}, {record.path.with_suffix('.md')}, {record.path.with_suffix('.png')}")


def make_page_again(path: Path, groups: Sequence["Group"]) -> None:
    """Make tables and picture from a result; where there is none, every row is unmeasured."""
    from benchmarks.gpu.picture import plot_rows
    from benchmarks.gpu.record import UNMEASURED
    from benchmarks.gpu.tables import make_page

    result = {
        "rows": {row.name: {"status": UNMEASURED, **row.about} for group in groups for row in group.rows}
    }
    if path.is_file():
        result = json.loads(path.read_text())
    path.with_suffix(".md").write_text(make_page(result))
    plot_rows(result, path.with_suffix(".png"))


if __name__ == "__main__":
    main(started=STARTED)
