"""Accuracy on real DFPT data: BM1, BM2 and BM3 side by side, single settings of BM3, and fine-tuning.

    python -m benchmarks.real_data targets      # each network on each set, on test data never tuned on
    python -m benchmarks.real_data ablation     # BM3 with one thing changed, on validation data
    python -m benchmarks.real_data ablation_trajectory  # bm3_deep with one thing changed, on frames of BaTiO3
    python -m benchmarks.real_data unseen       # BM3 on elements that training did not have
    python -m benchmarks.real_data taught       # bm3_deep on frames that `benchmarks.teacher` labelled
    python -m benchmarks.real_data finetune     # from the shipped weights and from nothing, 5 to 47 frames
    python -m benchmarks.real_data mean         # committees of the seeds of `targets`, as one prediction each
                                                # (of `taught`: --output .../real_taught.json)

Data are read from the folder that EQUIVAR_DATA names (see `benchmarks.real_data.parts`). Results go to
`results/accuracy/`; `python -m benchmarks.accuracy report` makes the tables. After an interruption the same
command continues; `--only WORD ...` runs the rows whose label has all of the words.
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
from benchmarks.real_data.mean_of_seeds import add_means_of_seeds
from benchmarks.real_data.parts import FILES, TEST_FRAMES, data_folder, write_parts
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config, DataConfig, HygieneConfig, ModelConfig
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.io import read_structures, write_structures
from equivar_jax.runtime import use_compilation_cache

EPOCHS = {"BaTiO3-300K": 120, "SiO2-300K": 60, "phonon-dfpt": 60, "mp-dielectric": 40}
"""Epochs of `targets` on each set."""
DEEP = "bm3_deep"
"""Config for one material; chosen on the last eight training frames of BaTiO3, of the state trained on."""
ABLATION_EPOCHS = 15
TRAJECTORY_ABLATION_EPOCHS = 30
VALIDATION_FRAMES = 0.17
"""Share of the training frames of BaTiO3 that `ablation_trajectory` validates on: eight of 47."""
TAUGHT_EPOCHS, TAUGHT_LEARNING_RATE = 10, 0.02
"""They were chosen like `TAUGHT_CHANNELS`; the error was 0.0142 e at a rate of 0.04."""
UNSEEN = {"Rb", "Sr", "In", "Se", "Br"}
"""Elements that `unseen` takes out of training; those above and below them in the periodic table stay.

Of the 1,225 crystals 361 have one of them.
"""
FINETUNE_FRAMES = (5, 10, 20, 30, 47)
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
"""Parts that a network may have, with the values of the setting that turn each off and on."""


def on_trajectory(config: Config, path: Path) -> Config:
    """Return the config set up for a trajectory: train on every frame and keep the last weights.

    The validation part is the training part, so the validation error is the training error.
    """
    data = DataConfig(path=str(path), validation_path=str(path), hygiene=HygieneConfig(enabled=False))
    return dataclasses.replace(
        config, data=data, train=dataclasses.replace(config.train, batch_size=1, keep="last")
    )


def earlier_deep() -> Config:
    """Return what `bm3_deep.py` was when the tables other than `targets` were made."""
    config = load_config(DEEP)
    return dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, radial_functions=32),
        train=dataclasses.replace(config.train, optimizer="adamw"),
    )


def on_compositions(config: Config, path: Path) -> Config:
    """Return the config set up for many compositions: a tenth of them decides which weights are kept."""
    return dataclasses.replace(
        config, data=DataConfig(path=str(path), split="composition", validation_fraction=0.1)
    )


def targets_rows(parts: Path, seed: int) -> Iterator[Row]:
    """Yield rows of each network on each set; of the one for trajectories also as it was before Muon."""
    for name, epochs in EPOCHS.items():
        test = read_structures(parts / f"{name}-test.extxyz")
        is_trajectory = name in TEST_FRAMES
        networks = {"BM1": load_config("bm1"), "BM2": load_config("bm2")}
        networks["BM3"] = load_config(DEEP if is_trajectory else "bm3")
        if is_trajectory:
            networks["BM3 by AdamW"] = earlier_deep()
        for network, config in networks.items():
            place = on_trajectory if is_trajectory else on_compositions
            config = place(config, parts / f"{name}-train.extxyz")
            train = dataclasses.replace(config.train, epochs=epochs, seed=seed)
            config = dataclasses.replace(config, train=train)
            variant = f"{name}, {network}"
            facts = {"variant": variant, "set": name, "network": network}
            yield Row(f"{variant}, seed {seed}", config, facts, {"test": test})


def taught_rows(parts: Path, seed: int) -> Iterator[Row]:
    """Yield rows of a wider `bm3_deep` on frames that `benchmarks.teacher` labelled and the real ones."""
    for name in TEST_FRAMES:
        test = read_structures(parts / f"{name}-test.extxyz")
        config = on_trajectory(earlier_deep(), parts / f"{name}-taught.extxyz")
        data = dataclasses.replace(config.data, validation_path=str(parts / f"{name}-train.extxyz"))
        model = dataclasses.replace(config.model, channels=TAUGHT_CHANNELS)
        train = dataclasses.replace(
            config.train, epochs=TAUGHT_EPOCHS, learning_rate=TAUGHT_LEARNING_RATE, seed=seed
        )
        variant = f"{name}, BM3 taught"
        facts = {"variant": variant, "set": name, "network": "BM3"}
        config = dataclasses.replace(config, data=data, model=model, train=train)
        yield Row(f"{variant}, seed {seed}", config, facts, {"test": test})


def ablation_rows(parts: Path, seed: int) -> Iterator[Row]:
    """Yield rows of BM3 as it is and with one thing changed, on validation compositions of phonon-dfpt."""
    base = on_compositions(load_config("bm3"), parts / "phonon-dfpt-train.extxyz")
    train = dataclasses.replace(base.train, epochs=ABLATION_EPOCHS, seed=seed)
    base = dataclasses.replace(base, train=train)
    model = functools.partial(dataclasses.replace, base.model)
    yield from change_part_by_part("BM3", base)
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
    yield from change_one_by_one(base, networks, settings)


def unseen_rows(parts: Path, seed: int) -> Iterator[Row]:
    """Yield rows of BM3, trained without the elements of `UNSEEN` and tested on crystals that have them.

    The vectors of elements start from the periodic table or at random.
    """
    crystals = read_structures(parts / "phonon-dfpt-train.extxyz")
    is_known = [UNSEEN.isdisjoint(atoms.get_chemical_symbols()) for atoms in crystals]
    known = parts / "phonon-dfpt-known.extxyz"
    write_structures(known, itertools.compress(crystals, is_known))
    others = [atoms for atoms, is_in in zip(crystals, is_known, strict=True) if not is_in]
    base = on_compositions(load_config("bm3"), known)
    train = dataclasses.replace(base.train, epochs=ABLATION_EPOCHS, seed=seed)
    base = dataclasses.replace(base, train=train)
    for label, start in (("BM3", True), ("without periodic_table", False)):
        config = dataclasses.replace(base, model=dataclasses.replace(base.model, periodic_table=start))
        yield Row(f"{label}, seed {seed}", config, {"variant": label}, {"unseen elements": others})


def ablation_trajectory_rows(parts: Path, seed: int) -> Iterator[Row]:
    """Yield rows of `bm3_deep.py` as it is and with one thing changed, on training frames of BaTiO3."""
    base = earlier_deep()
    frames = str(parts / "BaTiO3-300K-train.extxyz")
    data = DataConfig(path=frames, split="block", validation_fraction=VALIDATION_FRAMES)
    train = dataclasses.replace(base.train, epochs=TRAJECTORY_ABLATION_EPOCHS, batch_size=1, seed=seed)
    base = dataclasses.replace(base, data=data, train=train)
    yield from change_part_by_part(DEEP, base)
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
    yield from change_one_by_one(base, networks, settings)


def change_one_by_one(
    base: Config, networks: Mapping[str, ModelConfig], settings: Mapping[str, Mapping[str, Any]]
) -> Iterator[Row]:
    """Yield rows of the config with each of the networks, then with each of the settings of training.

    Args:
        base: The config that is changed.
        networks: Networks to put in the place of its own, by label.
        settings: Changed settings of training, by label.
    """
    for label, network in networks.items():
        yield change_config(base, label, model=network)
    for label, changed in settings.items():
        yield change_config(base, label, train=dataclasses.replace(base.train, **changed))


def change_part_by_part(name: str, base: Config) -> Iterator[Row]:
    """Yield rows of the config, of it without each part that it has, and with each part that it lacks."""
    yield change_config(base, name)
    for part, (off, on) in PARTS.items():
        absent = getattr(base.model, part) == off
        changed = dataclasses.replace(base.model, **{part: on if absent else off})
        yield change_config(base, f"{'with' if absent else 'without'} {part}", model=changed)


def change_config(base: Config, label: str, **changed: Any) -> Row:
    """Return a row of the config with another network or training."""
    return Row(f"{label}, seed {base.train.seed}", dataclasses.replace(base, **changed), {"variant": label})


def finetune_rows(parts: Path, seed: int) -> Iterator[Row]:
    """Yield rows on few frames of BaTiO3, from the shipped weights and from nothing.

    The shipped weights have not seen these frames. What starts from nothing is `bm3_deep.py`, and what that
    was before.
    """
    frames = read_structures(parts / "BaTiO3-300K-train.extxyz")
    test = read_structures(parts / "BaTiO3-300K-test.extxyz")
    starts = {
        "shipped weights": load_config("finetune"),
        "from scratch": load_config(DEEP),
        "from scratch by AdamW": earlier_deep(),
    }
    for count in FINETUNE_FRAMES:
        few = parts / f"BaTiO3-300K-{count}.extxyz"
        write_structures(few, frames[:count])
        for start, base in starts.items():
            config = on_trajectory(base, few)
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
    "targets": targets_rows,
    "taught": taught_rows,
    "ablation": ablation_rows,
    "ablation_trajectory": ablation_trajectory_rows,
    "unseen": unseen_rows,
    "finetune": finetune_rows,
}


def main() -> None:
    """Run the rows of a table that are not finished yet, or add the means of seeds."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=[*TABLES, "mean"])
    parser.add_argument("--only", nargs="+", default=(), help="rows whose label has all of these words")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    with plain_messages():
        use_compilation_cache()
        parts = options.runs / "parts"
        # Only what is not there: another process may be reading the others.
        missing = [name for name in FILES if not (parts / f"{name}-test.extxyz").is_file()]
        write_parts(parts, data_folder(), missing)
        command = shlex.join(["python", "-m", "benchmarks.real_data", *sys.argv[1:]])
        if options.table == "mean":
            output = options.output or RESULTS / "accuracy" / "real_targets.json"
            return add_means_of_seeds(output, options.runs, parts, options.only, command)
        rows = [row for seed in options.seeds for row in TABLES[options.table](parts, seed)]
        rows = [row for row in rows if all(word in row.label for word in options.only)]
        if not rows:
            raise InputError(f"no row has all words of --only {' '.join(options.only)}; give other words")
        for name in {row.facts["set"] for row in rows} if options.table == "taught" else ():
            if not (parts / f"{name}-taught.extxyz").is_file():
                raise InputError(
                    f"{parts} has no {name}-taught.extxyz; python -m benchmarks.teacher {name} makes it"
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
