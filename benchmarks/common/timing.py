"""Clocks of the benchmarks: calls taken in turn, medians and spread, results as JSON."""

import json
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results"


def first_call(call: Callable[[], Any]) -> float:
    """Seconds of a call that compiles."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def interleaved(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, dict[str, float]]:
    """Seconds of each call, taken in turn so that all share whatever else the machine does.

    Each turn calls twice and times the second call: the first brings its data back into the caches.

    Args:
        calls: Each returns when its work is done; the first round is not counted.
        repeats: Rounds.

    Returns:
        Median and quartiles by name.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name, call in calls.items():
            call()
            started = time.perf_counter()
            call()
            if turn:
                times[name].append(time.perf_counter() - started)
    return {name: _summary(values) for name, values in times.items()}


def _summary(values: list[float]) -> dict[str, float]:
    quartiles = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
    return {"median": statistics.median(values), "lower": quartiles[0], "upper": quartiles[2]}


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Write JSON and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n")
    print(f"written: {path}")
