"""Accuracy away from the state that was trained on, for networks of one material.

    python -m benchmarks.real_data.states                      # every variant on both materials
    python -m benchmarks.real_data.states --only SiO2 --seeds 1 2

Frames of one run at one temperature resemble their neighbours in time, so that frames left out of such a run
say little of other states. The protocols here train on one state and test on another:

    SiO2-300K     quartz at 300 K (the first 101 frames of the file), tested on 600 K (the other 59)
    BaTiO3-300K   the calmer half of the frames, by displacement from the mean positions, tested on the wilder

A few frames of the trained state are held out, too: they are what `validation` is, and nothing is chosen by
them. Networks are chosen by `transfer`: by its mean errors, its 99th percentile and its largest error of an
atom, whose error is the root of the mean square over its nine components. Runs are shorter than those of
`real_data targets`, and equally long for all variants, but for those named "longer". Since the choice is
made here, its errors are too low for the network that is chosen; other states are what can test it.

Results go to `results/accuracy/real_states.json`; `python -m benchmarks.accuracy report` makes the table.
After an interruption the same command continues.
"""

import argparse
import dataclasses
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from benchmarks.accuracy.engine import run_rows
from benchmarks.accuracy.rows import Row
from benchmarks.common.timing import RESULTS
from benchmarks.real_data.__main__ import DEEP, earlier_deep, on_trajectory
from benchmarks.real_data.parts import FILES, data_folder
from equivar_jax.config.schema import Config
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.io import read_structures, write_structures
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.teaching.displacements import find_displacements

QUARTZ_AT_300_K = 101
"""The first frames of SiO2-300K; the others are of 600 K. Each part is in shuffled order."""
HELD_OUT_EVERY = {"BaTiO3-300K": 6, "SiO2-300K": 10}
"""Of the frames of the trained state, one in so many is held out."""
EPOCHS = {"SiO2-300K": 12, "BaTiO3-300K": 36}


class States(NamedTuple):
    """The frames of a material, divided by state."""

    training: list[Atoms]
    held_out: list[Atoms]
    """Of the state that is trained on."""
    transfer: list[Atoms]
    """Of the other state."""


def divide_by_state(name: str, frames: list[Atoms]) -> States:
    """Divide the frames of a material by temperature, or by their displacements.

    Args:
        name: The data set.
        frames: All its frames, in the order of the file.
    """
    if name == "SiO2-300K":
        known, transfer = frames[:QUARTZ_AT_300_K], frames[QUARTZ_AT_300_K:]
    else:
        _, moved = find_displacements(frames)
        order = np.argsort(np.mean(moved**2, axis=(1, 2)), kind="stable")
        half = (len(frames) + 1) // 2
        known, transfer = ([frames[k] for k in part] for part in (order[:half], order[half:]))
    every = HELD_OUT_EVERY[name]
    held_out = known[every // 2 :: every]
    training = [atoms for place, atoms in enumerate(known) if place % every != every // 2]
    return States(training, held_out, transfer)


def write_states(parts: Path, name: str) -> States:
    """Divide a data set and write what is trained on and what is held out of it to files."""
    states = divide_by_state(name, list(read_structures(data_folder() / FILES[name])))
    parts.mkdir(parents=True, exist_ok=True)
    for part in ("training", "held_out"):
        write_structures(parts / f"{name}-{part}.extxyz", getattr(states, part))
    return states


POLARISATION: Mapping[str, Any] = {"model.form": "polarisation", "model.element_shift": False}
"""Tensors as derivatives of a polarisation; it has charges of elements of its own."""
WIDE: Mapping[str, Any] = {"model.radial_functions": 12}
MUON: Mapping[str, Any] = {**WIDE, "train.optimizer": "muon"}
"""With these `bm3_deep.py` is what it is now."""
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    DEEP: {},
    "2 interactions": {"model.interactions": 2},
    "8 radial functions": {"model.radial_functions": 8},
    "without node_products": {"model.node_products": False},
    "3 interactions": {"model.interactions": 3},
    "gates for node_products": {"model.node_products": False, "model.gates": True},
    "4 Å": {"model.cutoff": 4.0},
    "weight decay 0.1": {"train.weight_decay": 0.1},
    "12 radial functions": WIDE,
    "8 radial functions, 3 interactions": {"model.radial_functions": 8, "model.interactions": 3},
    "8 radial functions, noise of 0.01 Å": {"model.radial_functions": 8, "train.position_noise": 0.01},
    "12 radial functions, with gates": {**WIDE, "model.gates": True},
    "12 radial functions, weight decay 0.1": {**WIDE, "train.weight_decay": 0.1},
    "12 radial functions, 4 Å": {**WIDE, "model.cutoff": 4.0},
    "12 radial functions, 3 interactions, 64 channels": {
        **WIDE,
        "model.interactions": 3,
        "model.channels": 64,
    },
    "polarisation": POLARISATION,
    "12 radial functions, polarisation": {**WIDE, **POLARISATION},
    "12 radial functions, polarisation, 3 interactions": {**WIDE, "model.interactions": 3, **POLARISATION},
    "Muon": {"train.optimizer": "muon"},
    "12 radial functions, Muon": MUON,
    "12 radial functions, Muon, rate 0.01": {**MUON, "train.learning_rate": 0.01},
    "12 radial functions, Muon, rate 0.02": {**MUON, "train.learning_rate": 0.02},
    "12 radial functions, Muon, rate 0.08": {**MUON, "train.learning_rate": 0.08},
    "12 radial functions, Muon, weight decay 0.03": {**MUON, "train.weight_decay": 0.03},
    "12 radial functions, Muon, weight decay 0.1": {**MUON, "train.weight_decay": 0.1},
    "12 radial functions, Muon, noise of 0.01 Å": {**MUON, "train.position_noise": 0.01},
    "12 radial functions, Muon, 3 interactions": {**MUON, "model.interactions": 3},
    "12 radial functions, Muon, 64 channels": {**MUON, "model.channels": 64},
    "12 radial functions, polarisation, Muon": {**MUON, **POLARISATION},
}
"""Changed settings by the name of the variant."""
LONGER = 4
"""How many times as long the variants of `LONG` are trained, too."""
LONG = (
    DEEP,
    "12 radial functions",
    "polarisation",
    "12 radial functions, polarisation",
    "12 radial functions, Muon",
    "12 radial functions, polarisation, Muon",
)


def change_settings(config: Config, changes: Mapping[str, Any]) -> Config:
    """Return the config with settings changed, by dotted names such as "model.cutoff"."""
    for name, value in changes.items():
        section, field = name.split(".")
        changed = dataclasses.replace(getattr(config, section), **{field: value})
        config = dataclasses.replace(config, **{section: changed})
    return config


def states_rows(parts: Path, seed: int) -> Iterator[Row]:
    """Yield rows of every variant on each material."""
    divided = {name: write_states(parts, name) for name in EPOCHS}
    lengths = {**dict.fromkeys(VARIANTS, 1), **{f"{name}, longer": LONGER for name in LONG}}
    for variant, times in lengths.items():
        changes = VARIANTS[variant.removesuffix(", longer")]
        for name, states in divided.items():
            config = on_trajectory(earlier_deep(), parts / f"{name}-training.extxyz")
            data = dataclasses.replace(config.data, validation_path=str(parts / f"{name}-held_out.extxyz"))
            train = dataclasses.replace(config.train, epochs=times * EPOCHS[name], seed=seed)
            config = change_settings(dataclasses.replace(config, data=data, train=train), changes)
            facts = {"variant": f"{name}, {variant}", "set": name}
            tests = {"held out": states.held_out, "transfer": states.transfer}
            yield Row(f"{name}, {variant}, seed {seed}", config, facts, tests)


def run_chosen(rows: list[Row], options: argparse.Namespace, name: str) -> None:
    """Run the rows that the command line chooses and that are not finished yet.

    Args:
        rows: All rows.
        options: `only`, `seeds`, `output` and `runs`.
        name: Of the protocol and of its module in this package.

    Raises:
        InputError: no row is chosen.
    """
    rows = [row for row in rows if all(word in row.label for word in options.only)]
    if not rows:
        raise InputError(f"no row has all words of --only {' '.join(options.only)}; give other words")
    words = ["--only", *options.only] if options.only else []
    words += ["--seeds", *map(str, options.seeds)]
    command = shlex.join(["python", "-m", f"benchmarks.real_data.{name}", *words])
    interrupted = run_rows(rows, options.output, options.runs, protocol=name, data="DFPT", command=command)
    if interrupted is not None:
        raise SystemExit(128 + interrupted)


def main() -> None:
    """Run the rows that are not finished yet."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--only", nargs="+", default=(), help="rows whose label has all of these words")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--output", type=Path, default=RESULTS / "accuracy" / "real_states.json")
    options = parser.parse_args()
    with plain_messages():
        use_compilation_cache()
        rows = [row for seed in options.seeds for row in states_rows(options.runs / "states", seed)]
        run_chosen(rows, options, "states")


if __name__ == "__main__":
    main()
