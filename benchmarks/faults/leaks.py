"""The memory of a process over many predictions, and over many steps of `EquivarCalculator`."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

from equivar_jax import load
from equivar_jax.calculators import EquivarCalculator

WARM = 0.1
"""Part of the calls after which memory counts."""
POINTS = 50
ALLOWED = 2**20
"""Bytes by which a process may have grown in the end: allocators keep a little."""


def measure(options: argparse.Namespace, _: Path) -> dict[str, Any]:
    """Call as often as the command line says."""
    model, rng = load("shipped"), np.random.default_rng(options.seed)
    atoms = bulk("MgO", "rocksalt", a=4.21)

    def predict() -> None:
        moved = atoms.copy()
        moved.positions += rng.normal(scale=0.02, size=moved.positions.shape)
        model.predict(moved)

    moving = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    moving.calc = EquivarCalculator(model)
    start = moving.positions.copy()

    def step() -> None:
        moving.positions = start + rng.normal(scale=0.02, size=start.shape)
        moving.calc.get_property("born_effective_charges", moving)

    return {
        "predict": watch(predict, options.calls),
        "EquivarCalculator": watch(step, options.steps),
    }


def watch(call: Callable[[], object], calls: int) -> dict[str, Any]:
    """Call again and again, and read the memory of the process on the way.

    Returns:
        Resident bytes at about `POINTS` moments, the gain after the first tenth, and what is wrong.
    """
    stride = max(1, calls // POINTS)
    sizes: list[tuple[int, int]] = []
    for number in range(1, calls + 1):
        call()
        if number % stride == 0:
            sizes.append((number, resident_bytes()))
    warm = [size for number, size in sizes if number > WARM * calls]
    gained, middle = warm[-1] - warm[0], warm[len(warm) // 2]
    # What leaks grows all the time. A step that comes once is the system's, such as a page of 2 MB that takes
    # the place of some of 4 kB.
    grows = gained > ALLOWED and min(middle - warm[0], warm[-1] - middle) > gained / 4
    wrong = [f"{gained} bytes more after {calls} calls"] if grows else []
    return {"calls": calls, "resident_bytes": sizes, "gained_after_warm_up": gained, "wrong": wrong}


def resident_bytes() -> int:
    """Return the memory that the process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
