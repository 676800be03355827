"""The table of the comparison in Markdown."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common.tables import markdown_table


def polarisation_table(results: Sequence[Mapping[str, Any]]) -> str:
    """Make a line for each contestant.

    Args:
        results: As `benchmarks.speed.polarisation` writes them.
    """
    header = [
        "",
        "parameters",
        "training, ms an atom",
        "processor",
        "inference, ms an atom",
        "processor",
    ]
    header += ["a step holds, kB an atom", "process grows by", "first step, s"]
    return markdown_table(header, [_line(result) for result in results])


def _line(result: Mapping[str, Any]) -> list[str]:
    """Return one line; a contestant that could not run has the reason in the place of its numbers."""
    if "absent" in result:
        return [result["contestant"], f"not measured: {result['absent']}", *[""] * 7]
    times = [
        f"{result[kind][clock]['minimum']:.3g}"
        for kind in ("training", "inference")
        for clock in ("wall", "cpu")
    ]
    memory = [
        "" if result[name] is None else f"{result[name]:,.0f}"
        for name in ("program_kB_per_atom", "step_kB_per_atom")
    ]
    first = f"{result['first_training_step_seconds']['wall']:.1f}"
    return [result["contestant"], f"{result['parameters']:,}", *times, *memory, first]
