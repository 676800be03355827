"""A disk that is full at a random write of a training, of a sweep, or of the cache.

The disk is a tmpfs, which only root can mount; elsewhere nothing is measured. A file on it leaves room for a
random part of what the work needs. A command must say in one line what is wrong, lose nothing, and go on when
the file is gone.
"""

import argparse
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.compare import differences_of_runs, differences_of_sweeps
from benchmarks.faults.kills import make_inputs, sweep_words
from benchmarks.faults.processes import Ended, must, resume_words, run, train_words

BALLAST = "ballast"
MORE = 1.5
"""Room that the work gets at most, in times of what its result takes: files are written beside old ones."""


@contextmanager
def small_disk(place: Path, size: int) -> Iterator[Path]:
    """Mount a tmpfs of a size in bytes for the time of a block.

    Raises:
        SystemExit: this needs root.
    """
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        raise SystemExit(f"a full disk needs a tmpfs, which cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def size_of(folder: Path) -> int:
    """Return the bytes that the files below a folder take, in whole pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


def leave_room(disk: Path, room: int) -> None:
    """Fill a disk so that so many bytes are free."""
    free = shutil.disk_usage(disk).free
    with (disk / BALLAST).open("wb") as file:
        for _ in range(max(0, free - room) // 4096):
            file.write(b"\0" * 4096)


def complaint_of(ended: Ended, *, finished: bool) -> str | None:
    """Return what was wrong with how a command met a full disk, if anything.

    Args:
        ended: How it has ended.
        finished: Whether it may come to its end as usual, since it can do without what it could not write.
    """
    if ended.status == 0:
        return None if finished else "ended as usual"
    said = [line for line in ended.errors.splitlines() if line.startswith("error: ")]
    if ended.status != 2 or len(said) != 1 or not ended.is_plain:
        return f"exit status {ended.status}: {ended.last_line}"
    return None


def fill_disk(
    disk: Path,
    trials: int,
    need: int,
    seed: int,
    words: Callable[[bool], Sequence[object]],
    differences: Callable[[], list[str]],
    variables: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Run a command on a disk that becomes full, make room, run it again, and compare what comes out.

    Args:
        disk: Where it writes; emptied before each trial.
        trials: How many.
        need: Bytes that it needs.
        seed: Of the room that is left.
        words: Returns the command, and the one that goes on (True).
        differences: Returns what differs from an undisturbed result.
        variables: Of the environment.
    """
    rng, wrong, said = np.random.default_rng(seed), [], set()
    full = 0
    for trial in range(trials):
        for path in disk.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        room = int(rng.uniform(0, MORE * need))
        leave_room(disk, room)
        ended = run(words(False), variables=variables)
        (disk / BALLAST).unlink()
        full += ended.status != 0
        found = [complaint] if (complaint := complaint_of(ended, finished=True)) else []
        if ended.status != 0:
            said.add(ended.last_line.replace(str(disk), "DISK")[:300])
            after = run(words(True), variables=variables)
            if after.status != 0:
                found.append(f"cannot go on, exit status {after.status}: {after.last_line}")
        found = found or differences()
        if found:
            wrong.append({"trial": trial, "room": room, "found": found})
        print(f"trial {trial}: {room} bytes, {ended.last_line[:120]}", flush=True)
    return {"trials": trials, "needs": need, "became_full": full, "said": sorted(said), "wrong": wrong}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Fill the disk of trainings, sweeps and caches as the command line says."""
    whole, cached = folder / "whole", folder / "cache"
    must(run(train_words(whole, options.epochs), variables={"EQUIVAR_CACHE": str(cached)}))
    inputs, swept = folder / "structures", folder / "swept"
    make_inputs(inputs, options.structures, options.seed)
    swept.mkdir()
    must(run(sweep_words(inputs, swept)))
    found = {}
    with small_disk(folder / "disk", 2 * (size_of(whole) + size_of(swept) + size_of(cached))) as disk:
        own = disk / "run"

        def train(goes_on: bool) -> Sequence[object]:
            if goes_on and (own / "config.json").is_file():
                return resume_words(own)
            shutil.rmtree(own, ignore_errors=True)
            return train_words(own, options.epochs)

        def sweep(_: bool) -> Sequence[object]:
            (disk / "out").mkdir(exist_ok=True)
            return sweep_words(inputs, disk / "out")

        def train_elsewhere(_: bool) -> Sequence[object]:
            shutil.rmtree(folder / "elsewhere", ignore_errors=True)
            return train_words(folder / "elsewhere", options.epochs)

        trials, seed = options.trials, options.seed
        found["training"] = fill_disk(
            disk, trials, size_of(whole), seed, train, lambda: differences_of_runs(own, whole)
        )
        found["sweep"] = fill_disk(
            disk, trials, size_of(swept), seed, sweep, lambda: differences_of_sweeps(disk / "out", swept)
        )
        found["cache"] = fill_disk(
            disk,
            trials,
            size_of(cached),
            seed,
            train_elsewhere,
            lambda: differences_of_runs(folder / "elsewhere", whole),
            {"EQUIVAR_CACHE": str(disk / "cache")},
        )
    return found
