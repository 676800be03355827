"""Trainings side by side, a core each, beside one on all cores: `python -m benchmarks.speed.side_by_side`.

What `equivar train --members N` and `equivar teach` gain on a CPU of several cores, for networks of one
material on frames of 160 atoms; and what the allocator of glibc does to the one training if it asks for huge
pages (Linux, GLIBC_TUNABLES).
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from ase import Atoms

from benchmarks.common.machine import describe_machine
from benchmarks.common.shapes import perovskites
from benchmarks.common.timing import RESULTS, write_result
from equivar_jax.io import write_structures
from equivar_jax.parallel import available_cores
from equivar_jax.processes import HUGE_PAGES, Command, run_side_by_side
from equivar_jax.structures import born_effective_charges, with_born_effective_charges
from equivar_jax.training.run_directory import read_records

CONFIGS = ("bm4.py", "bm3_deep.py")
FRAMES = 12
SUPERCELL = (2, 2, 2)
"""Of the perovskites of 20 atoms."""
EPOCHS = 5
"""The first, in which the step is compiled, is not counted."""


def time_trainings(config: str, data: Path, folder: Path, together: int, words: Sequence[str]) -> float:
    """Return the milliseconds an atom of a number of trainings at the same time, taken as one.

    Args:
        config: Shipped config.
        data: File of labelled structures.
        folder: For the runs; new.
        together: Number of trainings.
        words: Further settings.
    """
    runs = [folder / f"run-{k}" for k in range(together)]
    command = [sys.executable, "-m", "equivar_jax.train", "--config", config, "--data", str(data), *words]
    commands = [
        Command(
            run.name, [*command, "--train.epochs", str(EPOCHS), "--run-dir", str(run)], folder / f"{k}.log"
        )
        for k, run in enumerate(runs)
    ]
    interrupted = run_side_by_side(commands)
    if interrupted is not None:
        raise SystemExit(128 + interrupted)
    rates = [[record["ms_per_atom"] for record in read_records(run)[1:]] for run in runs]
    return statistics.mean(map(statistics.median, rates)) / together


def _repeat(atoms: Atoms) -> Atoms:
    """Return a supercell with its labels."""
    tensors = np.concatenate([born_effective_charges(atoms)] * int(np.prod(SUPERCELL)))
    return with_born_effective_charges(atoms.repeat(SUPERCELL), tensors)


def measure(config: str, rounds: int, words: Sequence[str]) -> dict[str, Any]:
    """Time one training on all cores, with and without huge pages, and one a core, in turn.

    Returns:
        Median of the rounds, in milliseconds an atom, and how many times faster each is than the first.
    """
    ways: Mapping[str, tuple[int, str]] = {
        "one": (1, ""),
        "one, huge pages": (1, HUGE_PAGES),
        "side by side, huge pages": (available_cores(), HUGE_PAGES),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "frames.extxyz"
        write_structures(data, [_repeat(atoms) for atoms in perovskites(FRAMES)])
        for turn in range(rounds):
            for number, (name, (together, tunables)) in enumerate(ways.items()):
                folder = Path(temporary) / f"{turn}-{number}"
                with mock.patch.dict(os.environ, {"GLIBC_TUNABLES": tunables}):
                    found[name].append(time_trainings(config, data, folder, together, words))
    medians = {name: statistics.median(times) for name, times in found.items()}
    ratios = {name: medians["one"] / time for name, time in medians.items()}
    return {"config": config, "cores": available_cores(), "ms_per_atom": medians, "times_faster": ratios}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line for each way, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", nargs="+", default=CONFIGS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "side_by_side.json")
    options, words = parser.parse_known_args(arguments)
    results = [measure(config, options.rounds, words) for config in options.configs]
    for row in results:
        for name, time in row["ms_per_atom"].items():
            print(f"{row['config']:12s} {name:26s} {time:.3f} ms/atom, {row['times_faster'][name]:.2f} times")
    write_result(options.output, {**describe_machine(), "results": results})


if __name__ == "__main__":
    main()
