"""Which network and training the shipped weights should have: one thing changed, on validation compositions.

    python -m benchmarks.real_data.foundation --union runs/union
    python -m benchmarks.real_data.foundation --union runs/union --only polarisation --seeds 0 1 2

Every variant is trained on the training part of the union of phonondb and phonon-dfpt, which the shipped
weights have (`benchmarks.real_data.union`), for 12 epochs if not said otherwise, and judged by the validation
part, 196 crystals of other compositions. Test parts are not read. A few crystals have much of the error, so
that differences of a few per cent need several seeds; the table has the mean over seeds and their spread.

Most runs are shorter than those of the weights that ship, which are those of the last variant. Results go to
`results/accuracy/real_foundation.json`; `python -m benchmarks.accuracy report` makes the table. After an
interruption the same command continues.
"""

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy.rows import Row
from benchmarks.common.timing import RESULTS
from benchmarks.real_data.ship import CONFIG, SETTINGS, parts_of
from benchmarks.real_data.ship import EPOCHS as SHIPPED_EPOCHS
from benchmarks.real_data.states import POLARISATION, change_settings, run_chosen
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import DataConfig
from equivar_jax.errors import plain_messages
from equivar_jax.runtime import use_compilation_cache

EPOCHS = 12
PLAIN = CONFIG
"""The variant that the others change."""
LONGER: Mapping[str, Any] = {"train.epochs": 24, "train.learning_rate": 0.015, "train.weight_decay": 0.0}
MUON: Mapping[str, Any] = {**LONGER, "train.optimizer": "muon", "train.weight_decay": 0.003}
VARIANTS: Mapping[str, Mapping[str, Any]] = {
    PLAIN: {},
    "polarisation": {"model.dielectric": False, **POLARISATION},
    "without dielectric": {"model.dielectric": False},
    "96 channels": {"model.channels": 96},
    "4 interactions": {"model.interactions": 4},
    "6 Å": {"model.cutoff": 6.0},
    "node_products beside gates": {"model.node_products": True},
    "batches of 8": {"train.batch_size": 8},
    "weight decay 0.001": {"train.weight_decay": 0.001},
    "no weight decay": {"train.weight_decay": 0.0},
    "rate 0.015, weight decay 0.001": {"train.learning_rate": 0.015, "train.weight_decay": 0.001},
    "rate 0.008, no weight decay": {"train.learning_rate": 0.008, "train.weight_decay": 0.0},
    "24 epochs, rate 0.015, no weight decay": LONGER,
    "24 epochs, rate 0.015, no weight decay, noise of 0.02 Å": {**LONGER, "train.position_noise": 0.02},
    "average over 0.999": {"train.ema_decay": 0.999},
    "60 epochs": {"train.epochs": 60},
    "60 epochs, rate 0.015, no weight decay, noise of 0.02 Å": {
        **LONGER,
        "train.epochs": 60,
        "train.position_noise": 0.02,
    },
    "24 epochs of Muon, rate 0.015, weight decay 0.003": MUON,
    "24 epochs of Muon, rate 0.015, weight decay 0.003, noise of 0.02 Å": {
        **MUON,
        "train.position_noise": 0.02,
    },
    "48 epochs of Muon, rate 0.015, weight decay 0.01": {
        **SETTINGS,
        "train.epochs": SHIPPED_EPOCHS,
    },
}
"""Changed settings by the name of the variant; `model.dielectric` is on if not said otherwise."""


def foundation_rows(union: Path, seed: int) -> Iterator[Row]:
    """Yield rows of every variant.

    Args:
        union: The folder of the parts of the union, which are written if they are not there.
        seed: Of the first weights and the order of batches.
    """
    files = parts_of(union)
    data = DataConfig(path=str(files["training"]), validation_path=str(files["validation"]))
    base = dataclasses.replace(load_config(CONFIG), data=data)
    base = change_settings(base, {"model.dielectric": True, "train.epochs": EPOCHS, "train.seed": seed})
    for variant, changes in VARIANTS.items():
        yield Row(f"{variant}, seed {seed}", change_settings(base, changes), {"variant": variant})


def main() -> None:
    """Run the rows that are not finished yet."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--only", nargs="+", default=(), help="rows whose label has all of these words")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--union", type=Path, help="folder of the data; default: `union` in that of the runs")
    parser.add_argument("--output", type=Path, default=RESULTS / "accuracy" / "real_foundation.json")
    options = parser.parse_args()
    with plain_messages():
        use_compilation_cache()
        union = options.union or options.runs / "union"
        rows = [row for seed in options.seeds for row in foundation_rows(union, seed)]
        run_chosen(rows, options, "foundation")


if __name__ == "__main__":
    main()
