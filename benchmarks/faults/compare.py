"""Whether a run, or the output of a sweep, is that of an uninterrupted one."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from equivar_jax.training.run_directory import read_records
from equivar_jax.weights.checkpoint import Which, read_checkpoint

TIMES = ("ms_per_atom", "seconds", "compiles")
"""What of the record of an epoch depends on the machine and on where a run was resumed."""
BOTH: tuple[Which, Which] = ("best", "last")


def differences_of_runs(run: Path, whole: Path) -> list[str]:
    """Compare weights, state, metadata, metrics and files of two runs.

    Args:
        run: The folder of the run in question.
        whole: That of the uninterrupted one.

    Returns:
        What differs, in words; nothing if they are equal.
    """
    found = []
    if visible(run) != visible(whole):
        found.append(f"files {sorted(visible(run) ^ visible(whole))}")
    for which in BOTH:
        (own, meaning), (expected, meant) = read_checkpoint(run, which), read_checkpoint(whole, which)
        pairs = zip(jax.tree.leaves(own), jax.tree.leaves(expected), strict=True)
        if not all(np.array_equal(one, other) for one, other in pairs):
            found.append(f"arrays of {which}")
        if json.dumps(meaning.to_json()) != json.dumps(meant.to_json()):
            found.append(f"metadata of {which}")
    if _metrics(run) != _metrics(whole):
        found.append("metrics.jsonl")
    for name in sorted(visible(run) & visible(whole) - {"metrics.jsonl"}):
        if _content(run, name) != _content(whole, name):
            found.append(name)
    return found


def differences_of_sweeps(place: Path, whole: Path) -> list[str]:
    """Return the names of files that differ from those of the uninterrupted sweep."""
    names = {path.name for path in place.iterdir()} | {path.name for path in whole.iterdir()}
    return sorted(name for name in names if _read(place / name) != _read(whole / name))


def _read(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def visible(folder: Path) -> set[str]:
    """Return the names of the files in a folder that are not hidden."""
    return {path.name for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")}


def left_over(folder: Path) -> list[str]:
    """Return files and folders that a process which was killed has left unfinished."""
    paths = (path for path in folder.rglob("*") if path.name.startswith(".") or "-tmp" in path.name)
    return sorted(str(path.relative_to(folder)) for path in paths)


def _metrics(folder: Path) -> list[dict[str, Any]]:
    records = read_records(folder)
    return [{name: value for name, value in record.items() if name not in TIMES} for record in records]


def _content(folder: Path, name: str) -> bytes:
    """Return what is in a file, with the name of its folder taken out."""
    return (folder / name).read_bytes().replace(str(folder).encode(), b"RUN")
