"""Accuracy on real DFPT data: BM1, BM2 and BM3 side by side, single settings of BM3, and fine-tuning.

    python -m benchmarks.real_data targets      # each network on each set, tested on what nobody tuned on
    python -m benchmarks.real_data ablation     # BM3 with one thing changed, on validation data
    python -m benchmarks.real_data ablation_trajectory  # the same of bm3_deep, on frames of BaTiO3
    python -m benchmarks.real_data unseen       # BM3 on elements that training did not have
    python -m benchmarks.real_data taught       # bm3_deep on what `benchmarks.teacher` labelled
    python -m benchmarks.real_data finetune     # from the shipped weights and from nothing, 5 to 47 frames
    python -m benchmarks.real_data mean         # committees of the seeds of `targets`, as one prediction each
                                                # (of `taught`: --output .../real_taught.json)

Data are read from the folder that EQUIVAR_DATA names (see `benchmarks.real_data.parts`). Results go to
`results/accuracy/`; `python -m benchmarks.accuracy report` makes the tables. Interrupted, the same command
goes on; `--only WORD ...` runs the rows whose label has all of the words.
"""

import argparse
import dataclasses
import functools
import itertools
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy.engine import run_rows
from benchmarks.accuracy.rows import Row
from benchmarks.common.shapes import TAUGHT_CHANNELS
from benchmarks.common.timing import RESULTS
from benchmarks.real_data.mean_of_seeds import mean_of_seeds
from benchmarks.real_data.parts import FILES, TEST_FRAMES, data_folder, write_parts
from equivar_jax.config.schema import Config, DataConfig, HygieneConfig, ModelConfig, load_config
from equivar_jax.errors import InputError, exit_on_input_error
from equivar_jax.io import read_structures, write_structures
from equivar_jax.runtime import enable_compilation_cache

EPOCHS = {"BaTiO3-300K": 120, "SiO2-300K": 60, "phonon-dfpt": 60, "mp-dielectric": 40}
DEEP = "bm3_deep"
"""For trajectories; chosen on the last eight of the training frames of BaTiO3."""
ABLATION_EPOCHS = 15
TRAJECTORY_ABLATION_EPOCHS = 30
VALIDATION_FRAMES = 0.17
"""Eight of 47."""
TAUGHT_EPOCHS, TAUGHT_LEARNING_RATE = 10, 0.02
"""Chosen like `TAUGHT_CHANNELS`; at a rate of 0.04: 0.0142 e."""
UNSEEN = {"Rb", "Sr", "In", "Se", "Br"}
"""Elements of which those above and below in the periodic table stay: 361 of 1,225 crystals have one."""
FINETUNE_FRAMES = (5, 10, 20, 47)
FINETUNE_STEPS = 700
PARTS: dict[str, tuple[Any, Any]] = {
    "edge_hidden": (0, 64),
    "envelope": (False, True),
    "gates": (False, True),
    "node_products": (False, True),
    "self_connection": (False, True),
    "element_shift": (False, True),
    "periodic_table": (False, True),
}
"""Parts that a network may have: the values that turn each off and on."""


def trajectory(config: Config, path: Path) -> Config:
    """Train on every frame and keep the last weights; what is called validation is the training error."""
    data = DataConfig(path=str(path), validation_path=str(path), hygiene=HygieneConfig(enabled=False))
    return dataclasses.replace(
        config, data=data, train=dataclasses.replace(config.train, batch_size=1, keep="last")
    )


def compositions(config: Config, path: Path) -> Config:
    """A tenth of the compositions of the training part decides which weights are kept."""
    return dataclasses.replace(
        config, data=DataConfig(path=str(path), split="composition", validation_fraction=0.1)
    )


def targets(parts: Path, seed: int) -> Iterator[Row]:
    """Each network on each set."""
    for name, epochs in EPOCHS.items():
        test = read_structures(parts / f"{name}-test.extxyz")
        for network in ("bm1", "bm2", "bm3"):
            where = trajectory if name in TEST_FRAMES else compositions
            chosen = DEEP if network == "bm3" and name in TEST_FRAMES else network
            config = where(load_config(chosen), parts / f"{name}-train.extxyz")
            train = dataclasses.replace(config.train, epochs=epochs, seed=seed)
            config = dataclasses.replace(config, train=train)
            variant = f"{name}, {network.upper()}"
            facts = {"variant": variant, "set": name, "network": network.upper()}
            yield Row(f"{variant}, seed {seed}", config, facts, {"test": test})


def taught(parts: Path, seed: int) -> Iterator[Row]:
    """A wider `bm3_deep` on the frames that `benchmarks.teacher` labelled, and on the real ones."""
    for name in TEST_FRAMES:
        test = read_structures(parts / f"{name}-test.extxyz")
        config = trajectory(load_config(DEEP), parts / f"{name}-taught.extxyz")
        data = dataclasses.replace(config.data, validation_path=str(parts / f"{name}-train.extxyz"))
        model = dataclasses.replace(config.model, channels=TAUGHT_CHANNELS)
        train = dataclasses.replace(
            config.train, epochs=TAUGHT_EPOCHS, learning_rate=TAUGHT_LEARNING_RATE, seed=seed
        )
        variant = f"{name}, BM3 taught"
        facts = {"variant": variant, "set": name, "network": "BM3"}
        config = dataclasses.replace(config, data=data, model=model, train=train)
        yield Row(f"{variant}, seed {seed}", config, facts, {"test": test})


def ablation(parts: Path, seed: int) -> Iterator[Row]:
    """BM3, and BM3 with one thing changed, on the validation compositions of phonon-dfpt."""
    base = compositions(load_config("bm3"), parts / "phonon-dfpt-train.extxyz")
    train = dataclasses.replace(base.train, epochs=ABLATION_EPOCHS, seed=seed)
    base = dataclasses.replace(base, train=train)
    model = functools.partial(dataclasses.replace, base.model)
    yield from part_by_part("BM3", base)
    networks = {
        "2 interactions": model(interactions=2),
        "4 interactions": model(interactions=4),
        "4 Å": model(cutoff=4.0),
        "6 Å": model(cutoff=6.0),
        "32 channels": model(channels=32),
        "96 channels": model(channels=96),
        f"network of {DEEP}": load_config(DEEP).model,
    }
    settings: dict[str, dict[str, Any]] = {
        "batches of 8": {"batch_size": 8},
        "learning rate 0.005": {"learning_rate": 0.005},
        "learning rate 0.02": {"learning_rate": 0.02},
        "weight decay 0.001": {"weight_decay": 0.001},
        "weight decay 0.1": {"weight_decay": 0.1},
        "no average of weights": {"ema_decay": None},
    }
    yield from one_by_one(base, networks, settings)


def unseen(parts: Path, seed: int) -> Iterator[Row]:
    """BM3 with vectors of the elements that start at the periodic table and at random, tested on others."""
    crystals = read_structures(parts / "phonon-dfpt-train.extxyz")
    is_known = [UNSEEN.isdisjoint(atoms.get_chemical_symbols()) for atoms in crystals]
    known = parts / "phonon-dfpt-known.extxyz"
    write_structures(known, itertools.compress(crystals, is_known))
    others = [atoms for atoms, is_in in zip(crystals, is_known, strict=True) if not is_in]
    base = compositions(load_config("bm3"), known)
    train = dataclasses.replace(base.train, epochs=ABLATION_EPOCHS, seed=seed)
    base = dataclasses.replace(base, train=train)
    for label, start in (("BM3", True), ("without periodic_table", False)):
        config = dataclasses.replace(base, model=dataclasses.replace(base.model, periodic_table=start))
        yield Row(f"{label}, seed {seed}", config, {"variant": label}, {"unseen elements": others})


def ablation_trajectory(parts: Path, seed: int) -> Iterator[Row]:
    """The same of `bm3_deep.py`, on the last of the training frames of BaTiO3."""
    base = load_config(DEEP)
    frames = str(parts / "BaTiO3-300K-train.extxyz")
    data = DataConfig(path=frames, split="block", validation_fraction=VALIDATION_FRAMES)
    train = dataclasses.replace(base.train, epochs=TRAJECTORY_ABLATION_EPOCHS, batch_size=1, seed=seed)
    base = dataclasses.replace(base, data=data, train=train)
    yield from part_by_part(DEEP, base)
    model = functools.partial(dataclasses.replace, base.model)
    networks = {
        "3 interactions, 64 channels": model(interactions=3, channels=64),
        "6 interactions": model(interactions=6),
        "network of BM3": load_config("bm3").model,
    }
    settings: dict[str, dict[str, Any]] = {
        "learning rate 0.02": {"learning_rate": 0.02},
        "weight decay 0.1": {"weight_decay": 0.1},
    }
    yield from one_by_one(base, networks, settings)


def one_by_one(
    base: Config, networks: Mapping[str, ModelConfig], settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[Row]:
    """The config with each of the networks in the place of its own, then with each setting of training."""
    for label, network in networks.items():
        yield variant_of(base, label, model=network)
    for label, changed in settings.items():
        yield variant_of(base, label, train=dataclasses.replace(base.train, **changed))


def part_by_part(name: str, base: Config) -> Iterator[Row]:
    """The config, the config without each of its parts, and with each that it has not."""
    yield variant_of(base, name)
    for part, (off, on) in PARTS.items():
        absent = getattr(base.model, part) == off
        changed = dataclasses.replace(base.model, **{part: on if absent else off})
        yield variant_of(base, f"{'with' if absent else 'without'} {part}", model=changed)


def variant_of(base: Config, label: str, **changed: Any) -> Row:
    """A row of the config with another network or training."""
    return Row(f"{label}, seed {base.train.seed}", dataclasses.replace(base, **changed), {"variant": label})


def finetune(parts: Path, seed: int) -> Iterator[Row]:
    """BaTiO3 with few frames: the shipped weights, which have not seen them, against a fresh `bm3_deep`."""
    frames = read_structures(parts / "BaTiO3-300K-train.extxyz")
    test = read_structures(parts / "BaTiO3-300K-test.extxyz")
    for count in FINETUNE_FRAMES:
        few = parts / f"BaTiO3-300K-{count}.extxyz"
        write_structures(few, frames[:count])
        for start, name in (("shipped weights", "finetune"), ("from scratch", DEEP)):
            config = trajectory(load_config(name), few)
            train = dataclasses.replace(
                config.train, epochs=-(-FINETUNE_STEPS // count), ema_decay=0.99, seed=seed
            )
            facts = {"variant": f"{count} frames, {start}", "frames": count, "start": start}
            yield Row(
                f"{count} frames, {start}, seed {seed}",
                dataclasses.replace(config, train=train),
                facts,
                {"test": test},
            )


TABLES = {
    "targets": targets,
    "taught": taught,
    "ablation": ablation,
    "ablation_trajectory": ablation_trajectory,
    "unseen": unseen,
    "finetune": finetune,
}


def main() -> None:
    """Run what is not finished yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=[*TABLES, "mean"])
    parser.add_argument("--only", nargs="+", default=(), help="rows whose label has all of these words")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with exit_on_input_error():
        enable_compilation_cache()
        parts = options.runs / "parts"
        # Only what is not there: another process may be reading the others.
        missing = [name for name in FILES if not (parts / f"{name}-test.extxyz").is_file()]
        write_parts(parts, data_folder(), missing)
        command = shlex.join(["python", "-m", "benchmarks.real_data", *sys.argv[1:]])
        if options.table == "mean":
            output = options.output or RESULTS / "accuracy" / "real_targets.json"
            return mean_of_seeds(output, options.runs, parts, options.only, command)
        rows = [row for seed in options.seeds for row in TABLES[options.table](parts, seed)]
        rows = [row for row in rows if all(word in row.label for word in options.only)]
        if not rows:
            raise InputError(f"--only {' '.join(options.only)}: no such row")
        for name in {row.facts["set"] for row in rows} if options.table == "taught" else ():
            if not (parts / f"{name}-taught.extxyz").is_file():
                raise InputError(
                    f"{parts}: no {name}-taught.extxyz; python -m benchmarks.teacher {name} makes it"
                )
        output = options.output or RESULTS / "accuracy" / f"real_{options.table}.json"
        interrupted = run_rows(
            rows, output, options.runs, protocol=options.table, data="DFPT", command=command
        )
        if interrupted is not None:
            raise SystemExit(128 + interrupted)
    return None


if __name__ == "__main__":
    main()
