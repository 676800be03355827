"""Clocks of the benchmarks: they time calls in turn, give medians and quartiles, and write JSON."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def time_first_call(call: Callable[[], Any]) -> float:
    """Return the seconds of one call, which may compile."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def time_in_turn(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Time several calls in turn, so that all of them suffer alike from whatever else the machine does.

    In its turn each is called twice and the second call is timed; the first brings its data back into the
    caches of the processor.

    Args:
        calls: Calls by name; each must return only when its work is done.
        repeats: Number of rounds that are counted, after a first one that is not.

    Returns:
        Median and quartiles in seconds by name.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            call()
            started = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: _summarise(values) for name, values in times.items()}


def _summarise(values: list[float]) -> dict[str, float]:
    """Return the median and the quartiles."""
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median": statistics.median(values), "lower": quartiles[0], "upper": quartiles[2]}


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON and print where."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written: {path}")
