"""SIGKILL at random moments of a training and of a sweep; what goes on must end as if nothing had been."""

import argparse
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

from benchmarks.faults.compare import differences_of_runs, differences_of_sweeps, left_over
from benchmarks.faults.processes import Ended, must, resume_words, run, train_words
from equivar_jax.io import write_structures

BEYOND = 1.1
"""The moment of a kill is uniform in this many times the seconds of the last uninterrupted process."""
CRYSTALS = {
    "MgO": ("rocksalt", 4.21),
    "GaAs": ("zincblende", 5.65),
    "NaCl": ("rocksalt", 5.64),
    "CaO": ("rocksalt", 4.81),
}


def kill_trainings(folder: Path, kills: int, epochs: int, seed: int) -> dict[str, Any]:
    """Kill trainings at random moments, resume them until they are done, and compare them.

    Args:
        folder: For the runs.
        kills: How many in all.
        epochs: Of each run.
        seed: Of the moments.
    """
    whole = folder / "whole"
    must(run(train_words(whole, epochs)))
    seconds = must(run(train_words(folder / "warm", epochs))).seconds  # with programs that are in the cache
    moments: Counter[str] = Counter()

    def again(run_folder: Path, ended: Ended | None) -> Sequence[object] | None:
        """Return what a user says next: begin, resume, or nothing more."""
        if ended is not None and not ended.was_signalled:
            finished = ended.status == 0 or "epochs are done; raise" in ended.errors
            if not finished:
                raise AssertionError(f"exit status {ended.status}: {ended.last_line}")
            return None
        if ended is not None:
            moments[_moment_of_training(run_folder, epochs)] += 1
        if (run_folder / "config.json").is_file():
            return resume_words(run_folder)
        shutil.rmtree(run_folder, ignore_errors=True)  # nothing was there yet
        return train_words(run_folder, epochs)

    found = _kill(folder, kills, seconds, seed, again, lambda own: differences_of_runs(own, whole))
    return {"epochs": epochs, "seconds_of_a_run": seconds, "moments": dict(moments), **found}


def _moment_of_training(folder: Path, epochs: int) -> str:
    """Return how far a training was when it was killed."""
    if not (folder / "config.json").is_file():
        return "before its folder was there"
    metrics = folder / "metrics.jsonl"
    lines = metrics.read_bytes().count(b"\n") if metrics.is_file() else 0
    if lines == 0:
        return "before the first epoch was done"
    return "between epochs" if lines < epochs else "after the last epoch"


def kill_sweeps(folder: Path, kills: int, structures: int, seed: int) -> dict[str, Any]:
    """Kill sweeps over a folder at random moments, give the same command again, and compare the outputs.

    Args:
        folder: For input and output.
        kills: How many in all.
        structures: In the folder that is swept, in eight files.
        seed: Of the moments and of the structures.
    """
    inputs = folder / "structures"
    make_inputs(inputs, structures, seed)

    whole = folder / "whole"
    whole.mkdir()
    must(run(sweep_words(inputs, whole)))
    (folder / "warm").mkdir()
    seconds = must(run(sweep_words(inputs, folder / "warm"))).seconds
    moments: Counter[str] = Counter()

    def again(place: Path, ended: Ended | None) -> Sequence[object] | None:
        place.mkdir(exist_ok=True)
        if ended is None:
            return sweep_words(inputs, place)
        if not ended.was_signalled:
            if ended.status != 0:
                raise AssertionError(f"exit status {ended.status}: {ended.last_line}")
            return None
        moments[_moment_of_sweep(place)] += 1
        return sweep_words(inputs, place)

    found = _kill(folder, kills, seconds, seed, again, lambda own: differences_of_sweeps(own, whole))
    return {"structures": structures, "seconds_of_a_sweep": seconds, "moments": dict(moments), **found}


def sweep_words(inputs: Path, place: Path) -> tuple[object, ...]:
    """Return the words of a sweep with the weights of the package."""
    return ("equivar_jax.predict", inputs, "-o", place / "out.csv", "--checkpoint", "shipped")


def make_inputs(folder: Path, structures: int, seed: int, files: int = 8) -> None:
    """Write rattled crystals into extended XYZ files, with one of an element that no weights know in each."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    names = list(CRYSTALS)
    for number in range(files):
        frames = []
        for _ in range(structures // files):
            name = names[rng.integers(len(names))]
            structure, constant = CRYSTALS[name]
            atoms = bulk(name, structure, a=constant).repeat(tuple(rng.integers(1, 3, 3)))
            atoms.rattle(0.03, rng=rng)
            frames.append(atoms)
        frames[-1].numbers[0] = 96
        write_structures(folder / f"part-{number}.extxyz", frames)


def _moment_of_sweep(place: Path) -> str:
    """Return how far a sweep was when it was killed."""
    journal = place / "out.csv.progress"
    if not journal.is_file():
        return "after its end" if (place / "out.csv").is_file() else "before it began"
    return "between windows" if journal.read_bytes().count(b"\n") > 1 else "before the first window was done"


def _kill(
    folder: Path,
    kills: int,
    seconds: float,
    seed: int,
    again: Callable[[Path, Ended | None], Sequence[object] | None],
    differences: Callable[[Path], list[str]],
) -> dict[str, Any]:
    """Kill processes at random moments, until there were so many kills and the last piece of work is done.

    Args:
        folder: For the pieces of work.
        kills: How many.
        seconds: Of an uninterrupted process; measured anew whenever one was not killed, since other work on
            the machine comes and goes.
        seed: Of the moments.
        again: Returns the command that comes next, from the folder of a piece of work and how its last
            process has ended; None if it is done. It raises `AssertionError` if that is not as it must be.
        differences: Returns how a piece of work that is done differs from an uninterrupted one.
    """
    rng, killed, done, wrong, unfinished = np.random.default_rng(seed), 0, 0, [], set()
    while killed < kills:
        own, ended = folder / f"{done}", None
        done += 1
        try:
            while (words := again(own, ended)) is not None:
                is_first = ended is None
                after = rng.uniform(0, BEYOND * seconds) if killed < kills else None
                ended = run(words, after=after)
                killed += ended.was_signalled
                if is_first and not ended.was_signalled:
                    seconds = ended.seconds
            if found := differences(own):
                wrong.append({"work": done - 1, "differs": found})
        except AssertionError as error:
            wrong.append({"work": done - 1, "stopped": str(error)})
        unfinished |= {name.rpartition("/")[2] for name in left_over(own)}
        if not (wrong and wrong[-1]["work"] == done - 1):
            shutil.rmtree(own)
        print(f"{killed} kills, {done} done, {len(wrong)} of them wrong", flush=True)
    return {"kills": killed, "finished": done, "wrong": wrong, "left_unfinished": sorted(unfinished)}


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Kill trainings and sweeps as the command line says."""
    found = {}
    if options.only in (None, "training"):
        found["training"] = kill_trainings(folder / "training", options.kills, options.epochs, options.seed)
    if options.only in (None, "sweep"):
        found["sweep"] = kill_sweeps(folder / "sweep", options.kills, options.structures, options.seed)
    return found
