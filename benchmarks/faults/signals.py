"""SIGTERM while a step is compiled, and SIGINT during the closing evaluation of a training."""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.faults.compare import differences_of_runs
from benchmarks.faults.processes import Ended, must, resume_words, run, train_words
from equivar_jax.training.run_directory import CLOSING_FILES

UNCACHED = {"EQUIVAR_COMPILATION_CACHE": "off"}
"""So that there is something to compile."""


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Send both signals as often as the command line says."""
    whole = folder / "whole"
    must(run(train_words(whole, options.epochs)))
    found: dict[str, Any] = {}
    early = ("SIGTERM: interrupted", "SIGTERM: saved; continue with --resume")
    late = ("SIGINT: training is complete and saved",)
    for name, kind, said, variables in (
        ("SIGTERM during compilation", signal.SIGTERM, early, UNCACHED),
        ("SIGINT during the closing evaluation", signal.SIGINT, late, {}),
    ):
        wrong, before = [], 0
        for trial in range(options.trials):
            own = folder / f"{kind.name}-{trial}"
            # What comes when a run has its folder is the compilation of its first step.
            awaited = own / ("config.json" if kind is signal.SIGTERM else "history.png")
            ended = run(
                train_words(own, options.epochs),
                after=0.05,
                when=awaited.is_file,
                kind=kind,
                variables=variables,
            )
            complaint = _complaint(ended, kind, said)
            if ended.status == 0:
                before += 1  # the signal came too late
            elif complaint is None:
                complaint = _readme_complaint(own)
                after = run(resume_words(own))
                if complaint is None and after.status != 0:
                    complaint = f"cannot go on, exit status {after.status}: {after.last_line}"
            if complaint is not None:
                wrong.append({"trial": trial, "found": complaint})
            elif differences := differences_of_runs(own, whole):
                wrong.append({"trial": trial, "found": differences})
            print(f"{name}, trial {trial}: {ended.last_line[:160]}", flush=True)
        found[name] = {"trials": options.trials, "came_too_late": before, "wrong": wrong}
    return found


def _complaint(ended: Ended, kind: signal.Signals, said: Sequence[str]) -> str | None:
    """Return what was wrong with how a signal was met, if anything; one of the texts is in its last line."""
    if ended.status == 0:
        return None
    is_said = any(text in ended.last_line for text in said)
    as_expected = ended.status == 128 + kind and is_said and ended.is_plain
    return None if as_expected else f"exit status {ended.status}: {ended.last_line}"


def _readme_complaint(folder: Path) -> str | None:
    """Return which files the README of a run lists that are not there, if any."""
    rows = (folder / "README.md").read_text().splitlines()
    listed = [name for name in CLOSING_FILES if any(row.startswith(f"| `{name}`") for row in rows)]
    absent = [name for name in listed if not (folder / name).is_file()]
    return f"the README lists {', '.join(absent)}" if absent else None
