"""The cache: two processes and a cold one, files damaged at random bytes, read-only folders."""

import argparse
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faults.compare import differences_of_runs
from benchmarks.faults.processes import Ended, begin, must, run, train_words


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Try all faults of the cache as the command line says."""
    whole, cache = folder / "whole", folder / "cache"
    must(run(train_words(whole, options.epochs), variables={"EQUIVAR_CACHE": str(cache)}))
    return {
        "two processes, one cold cache": share_cold_cache(folder, whole, options.trials, options.epochs),
        "damaged files": damage_files(folder, whole, cache, options.trials, options.epochs, options.seed),
        "folders that cannot be written to": forbid_writing(folder, whole, options.epochs),
    }


def share_cold_cache(folder: Path, whole: Path, trials: int, epochs: int) -> dict[str, Any]:
    """Begin two trainings at a time whose cache is empty."""
    wrong = []
    for trial in range(trials):
        runs = [folder / f"cold-{trial}-{one}" for one in range(2)]
        variables = {"EQUIVAR_CACHE": str(folder / f"cold-{trial}")}
        with tempfile.TemporaryFile() as first, tempfile.TemporaryFile() as second:
            files = first, second
            started = [
                begin(train_words(own, epochs), file.fileno(), variables)
                for own, file in zip(runs, files, strict=True)
            ]
            for own, process, file in zip(runs, started, files, strict=True):
                status = process.wait()
                file.seek(0)
                ended = Ended(status, file.read().decode(errors="replace"), 0.0, False)
                if found := _judge(ended, own, whole):
                    wrong.append({"trial": trial, "found": found})
        print(f"cold cache, trial {trial}: {len(wrong)} wrong", flush=True)
    return {"trials": trials, "wrong": wrong}


def damage_files(
    folder: Path, whole: Path, cache: Path, trials: int, epochs: int, seed: int
) -> dict[str, Any]:
    """Change one to eight random bytes of a random file of a warm cache, or cut it short, and train."""
    rng, wrong, said = np.random.default_rng(seed), [], set()
    files = sorted(
        path.relative_to(cache) for path in cache.rglob("*") if path.is_file() and path.stat().st_size
    )
    damaged = []
    for trial in range(trials):
        own, copy = folder / f"damaged-{trial}", folder / "damaged-cache"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(cache, copy, symlinks=True)
        name = files[rng.integers(len(files))]
        content = bytearray((copy / name).read_bytes())
        if rng.random() < 0.25:
            content = content[: rng.integers(len(content))]
        else:
            for place in rng.integers(len(content), size=rng.integers(1, 9)):
                content[place] ^= int(rng.integers(1, 256))
        (copy / name).write_bytes(content)
        damaged.append(str(name)[:60])
        ended = run(train_words(own, epochs), variables={"EQUIVAR_CACHE": str(copy)})
        said |= {line[:120] for line in ended.errors.splitlines() if "damaged" in line}
        if found := _judge(ended, own, whole):
            wrong.append({"trial": trial, "file": str(name), "found": found})
        print(f"damaged {name}: {ended.last_line[:120]}", flush=True)
    return {"trials": trials, "damaged": damaged, "said": len(said), "wrong": wrong}


def forbid_writing(folder: Path, whole: Path, epochs: int) -> dict[str, Any]:
    """Train with a cache, and then with a home, where nobody may write, not even root."""
    wrong, said = [], {}
    with read_only(folder / "read-only") as place:
        if place is None:
            return {
                "unmeasured": "a folder where root may not write needs a mount, which only root can make",
                "wrong": [],
            }
        home = {"HOME": str(place), "XDG_CACHE_HOME": str(place / ".cache"), "EQUIVAR_CACHE": ""}
        for name, variables in (("cache", {"EQUIVAR_CACHE": str(place)}), ("home", home)):
            own = folder / f"forbidden-{name}"
            ended = run(train_words(own, epochs), variables=variables)
            said[name] = sorted({line[:160] for line in ended.errors.splitlines() if "not cached" in line})
            if found := _judge(ended, own, whole):
                wrong.append({"which": name, "found": found})
    return {"said": said, "wrong": wrong}


@contextmanager
def read_only(place: Path) -> Iterator[Path | None]:
    """Mount an empty folder that cannot be written to; None where this is not possible."""
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "ro,size=4096", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _judge(ended: Ended, own: Path, whole: Path) -> str | None:
    """Return what was wrong with a training that must not have noticed, if anything."""
    if ended.status != 0 or not ended.is_plain:
        return f"exit status {ended.status}: {ended.last_line}"
    return ", ".join(differences_of_runs(own, whole)) or None
