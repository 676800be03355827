"""The rows of the benchmark: what is done with each build, and the time that must be reached."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from ase.build import bulk

from benchmarks.speed.first_second.builds import Build

SAME_TENSORS = 1e-4
"""Both builds must give the same tensors up to this, in e."""
_IMPORT = "new process: `from equivar_jax import predict`"
_FIRST = "new process: `from equivar_jax import predict; predict(atoms)`"
_RESPONSE_TASKS = ("born", "infrared", "dynamics")
_COMMANDS = "import json; from equivar_jax.__main__ import COMMANDS; print(json.dumps({'all': [*COMMANDS]}))"
_ONLY_COMMAND = {"data": ["check"]}
"""Commands whose options are those of a command below them."""


class Target(NamedTuple):
    """What must be reached, and what is aimed at."""

    kind: Literal["times faster", "at most"]
    must: float
    aim: float | None = None

    def is_reached(self, old: float | None, new: float) -> bool:
        """Say whether the new build does what it must."""
        if self.kind == "at most":
            return new <= self.must
        return old is not None and old >= self.must * new


class Amounts(NamedTuple):
    """How much of everything is measured."""

    cells: int = 200
    calls: int = 400
    structures: int = 1000
    roofline_cells: int = 54
    rounds: int = 5
    """Inside a process, of `mixed` and `roofline`."""
    atoms: int = 1_000_000
    most_in_batch: int = 300_000


QUICK = Amounts(
    cells=8, calls=20, structures=50, roofline_cells=4, rounds=1, atoms=20_000, most_in_batch=20_000
)
Measured = Mapping[str, float]
"""Numbers by what they are, in the words of the table."""


@dataclass(frozen=True)
class Row:
    """Numbers that the same processes give."""

    measure: Callable[[Build, Amounts], Measured]
    unit: str = "s"
    most_repeats: int = 20
    """What takes minutes with the old build is not measured more often."""
    warm_up: bool = False
    """Whether a first round is not counted, which leaves byte code, data and compiled programs."""
    targets: Mapping[str, Target | None] = field(default_factory=dict)
    """Those of single numbers; None for one that is only stated."""
    others: Target | None = None
    """That of all the others."""

    def target(self, what: str) -> Target | None:
        """Return the target of a number, None if it is only stated."""
        return self.targets.get(what, self.others)


def measure_first_prediction(build: Build, _: Amounts) -> Measured:
    """Time whole processes with everything in the cache."""
    bulk("MgO", "rocksalt", a=4.21).write(build.folder / "POSCAR")
    (build.folder / "first.csv").unlink(missing_ok=True)  # else there is nothing left to predict
    command = ("-m", "equivar_jax", "predict", "POSCAR", "-o", "first.csv")
    return {
        _IMPORT: build.python("-c", "from equivar_jax import predict").seconds,
        _FIRST: build.script("first_prediction").seconds,
        "`equivar predict POSCAR -o first.csv`": build.python(*command).seconds,
    }


def measure_installation(build: Build, _: Amounts) -> Measured:
    """Time the first prediction with nothing in the cache."""
    with build.fresh_cache(kernels=False) as cache:
        return {
            "the same, nothing in the cache (after installation)": build.script(
                "first_prediction", cache=cache
            ).seconds
        }


def measure_help(build: Build, _: Amounts) -> Measured:
    """Time the help of the program, of each command, and of some tasks of `response`."""
    commands = build.python("-c", _COMMANDS).json()["all"]
    asked = [[], *([command, *_ONLY_COMMAND.get(command, [])] for command in commands)]
    asked += [["response", task] for task in _RESPONSE_TASKS]
    seconds = {"`python -c pass`, for comparison": build.python("-c", "pass").seconds}
    for words in asked:
        finished = build.python("-m", "equivar_jax", *words, "--help")
        seconds[f"`{' '.join(['equivar', *words, '--help'])}`"] = finished.seconds
    return seconds


def measure_many_cells(build: Build, amounts: Amounts) -> Measured:
    """Time processes that predict different small cells, every second one with the cache of the first."""
    seconds = {}
    for how in ("loop", "list"):
        with build.fresh_cache(kernels=True) as cache:
            for state in ("no compiled programs", "cache kept"):
                output = _tensors(build, how)
                finished = build.script("many_cells", how, amounts.cells, output, cache=cache)
                seconds[f"different cells in a {how}, {state}"] = finished.seconds
    return seconds


def _tensors(build: Build, how: str) -> Path:
    return build.folder / f"{how}.npy"


def require_same_tensors(old: Build, new: Build) -> None:
    """Compare the tensors of the many cells.

    Raises:
        RuntimeError: those of the two builds differ.
    """
    expected = np.load(_tensors(old, "loop"))
    for build, how in ((old, "list"), (new, "loop"), (new, "list")):
        difference = np.abs(np.load(_tensors(build, how)) - expected).max()
        if not difference < SAME_TENSORS:
            raise RuntimeError(
                f"tensors of the {build.name} build, as a {how}, are off by {difference:.1e} e"
            )


def measure_small_cell(build: Build, amounts: Amounts) -> Measured:
    """Time warm calls on a 2-atom cell."""
    found = build.script("small_cell", build.checkpoint("bm2.py"), amounts.calls).json()
    return {
        "2 atoms, warm: BM2": found["bm2"],
        "2 atoms, warm: a shipped member": found["member"],
        "2 atoms, warm: the shipped committee with sigma": found["committee"],
    }


def measure_mixed(build: Build, amounts: Amounts) -> Measured:
    """Compare a list of mixed structures with the network alone."""
    return {
        f"mixed structures / network alone, {name}": build.script(
            "mixed", build.checkpoint(f"{name.lower()}.py"), amounts.structures, amounts.rounds
        ).json()["ratio"]
        for name in ("BM1", "BM2")
    }


def measure_roofline(build: Build, amounts: Amounts) -> Measured:
    """Compare inference of BM1 with its roofline."""
    found = build.script("roofline", amounts.roofline_cells, amounts.rounds).json()
    return {"inference / roofline, BM1": found["times_the_roofline"]}


def measure_million(build: Build, amounts: Amounts) -> Measured:
    """Compare a large crystal layer by layer with the network on one batch."""
    found = build.script("million", build.checkpoint("bm1.py"), amounts.atoms, amounts.most_in_batch).json()
    return {
        "large crystal layer by layer / one batch of it, BM1": found["large"],
        "large crystal layer by layer / one batch of 1,080 atoms, BM1": found["small"],
    }


def measure_first_step(build: Build, _: Amounts) -> Measured:
    """Time the first training step with data in the cache and no compiled programs."""
    run = build.folder / "run"
    for path in run.glob("*"):
        path.unlink()
    finished = build.script("first_step", run, JAX_ENABLE_COMPILATION_CACHE="false")
    return {
        "first training step of BM2": finished.json()["step"],
        "new process to the end of that step": finished.seconds,
    }


ROWS = {
    "first_prediction": Row(
        measure_first_prediction, warm_up=True, targets={_FIRST: Target("times faster", 3, 5)}
    ),
    "installation": Row(measure_installation, most_repeats=3, others=Target("times faster", 2)),
    "help": Row(
        measure_help,
        warm_up=True,
        targets={"`python -c pass`, for comparison": None},
        others=Target("times faster", 10),
    ),
    "many_cells": Row(
        measure_many_cells,
        most_repeats=3,
        targets={
            "different cells in a loop, no compiled programs": Target("at most", 10),
            "different cells in a loop, cache kept": Target("at most", 3),
        },
    ),
    "small_cell": Row(measure_small_cell, unit="ms", others=Target("times faster", 5, 8)),
    "mixed": Row(measure_mixed, unit="times", most_repeats=3, others=Target("at most", 1.1)),
    "roofline": Row(measure_roofline, unit="times", others=Target("at most", 1.5)),
    "million": Row(measure_million, unit="times", most_repeats=1, others=Target("at most", 1.15)),
    "first_step": Row(
        measure_first_step,
        most_repeats=3,
        warm_up=True,
        targets={"first training step of BM2": Target("at most", 5)},
    ),
}
