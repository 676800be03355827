"""Accuracy on real DFPT data: BM1, BM2 and BM3 side by side, what each part of BM3 gives, and fine-tuning.

    python -m benchmarks.real_data targets      # each network on each set, tested on what nobody tuned on
    python -m benchmarks.real_data ablation     # BM3 less one of its parts, on validation data
    python -m benchmarks.real_data finetune     # from the shipped weights and from nothing, 5 to 47 frames

Data are read from the folder that EQUIVAR_DATA names (see `benchmarks.real_parts`). Results go to
`results/accuracy/`; `python -m benchmarks.accuracy report` makes the tables. Interrupted, the same command
goes on; `--only WORD ...` runs the rows whose label has all of the words.
"""

import argparse
import dataclasses
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.accuracy_engine import run_rows
from benchmarks.accuracy_rows import Row
from benchmarks.real_parts import FILES, TEST_FRAMES, data_folder, write_parts
from benchmarks.timing import RESULTS
from equivar_jax.config import Config, DataConfig, HygieneConfig, load_config
from equivar_jax.errors import InputError, exit_on_input_error
from equivar_jax.io import read_structures, write_structures
from equivar_jax.runtime import enable_compilation_cache

EPOCHS = {"BaTiO3-300K": 120, "SiO2-300K": 60, "phonon-dfpt": 60, "mp-dielectric": 40}
DEEP = "bm3_deep"
"""For trajectories; chosen on the last eight of the training frames of BaTiO3."""
ABLATION_EPOCHS = 20
FINETUNE_FRAMES = (5, 10, 20, 47)
FINETUNE_STEPS = 700
PARTS_OF_BM3: dict[str, Any] = {
    "edge_hidden": 0,
    "gates": False,
    "node_products": False,
    "self_connection": False,
    "element_shift": False,
    "periodic_table": False,
    "envelope": False,
}


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


def ablation(parts: Path, seed: int) -> Iterator[Row]:
    """BM3, and BM3 less one part, on the validation compositions of phonon-dfpt."""
    base = compositions(load_config("bm3"), parts / "phonon-dfpt-train.extxyz")
    train = dataclasses.replace(base.train, epochs=ABLATION_EPOCHS, seed=seed)
    base = dataclasses.replace(base, train=train)

    def row(label: str, **changed: Any) -> Row:
        return Row(f"{label}, seed {seed}", dataclasses.replace(base, **changed), {"variant": label})

    yield row("BM3")
    for part, off in PARTS_OF_BM3.items():
        yield row(f"without {part}", model=dataclasses.replace(base.model, **{part: off}))
    yield row("2 interactions", model=dataclasses.replace(base.model, interactions=2))
    yield row("4 interactions", model=dataclasses.replace(base.model, interactions=4))
    yield row("4 Å", model=dataclasses.replace(base.model, cutoff=4.0))
    yield row("32 channels", model=dataclasses.replace(base.model, channels=32))
    yield row("learning rate 0.005", train=dataclasses.replace(train, learning_rate=0.005))
    yield row("sum rule after the loss", train=dataclasses.replace(train, sum_rule_in_loss=False))
    yield row("no average of weights", train=dataclasses.replace(train, ema_decay=None))
    yield row("Huber loss", train=dataclasses.replace(train, loss="huber"))


def finetune(parts: Path, seed: int) -> Iterator[Row]:
    """BaTiO3 with few frames: the shipped weights, which have not seen them, against a fresh BM3."""
    frames = read_structures(parts / "BaTiO3-300K-train.extxyz")
    test = read_structures(parts / "BaTiO3-300K-test.extxyz")
    for count in FINETUNE_FRAMES:
        few = parts / f"BaTiO3-300K-{count}.extxyz"
        write_structures(few, frames[:count])
        for start, name in (("shipped weights", "finetune"), ("from scratch", "bm3")):
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


TABLES = {"targets": targets, "ablation": ablation, "finetune": finetune}


def main() -> None:
    """Run what is not finished yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", choices=TABLES)
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
        rows = [row for seed in options.seeds for row in TABLES[options.table](parts, seed)]
        rows = [row for row in rows if all(word in row.label for word in options.only)]
        if not rows:
            raise InputError(f"--only {' '.join(options.only)}: no such row")
        output = options.output or RESULTS / "accuracy" / f"real_{options.table}.json"
        command = shlex.join(["python", "-m", "benchmarks.real_data", *sys.argv[1:]])
        interrupted = run_rows(
            rows, output, options.runs, protocol=options.table, data="DFPT", command=command
        )
        if interrupted is not None:
            raise SystemExit(128 + interrupted)


if __name__ == "__main__":
    main()
