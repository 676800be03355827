"""Train the weights that come with the package, and write their model card; one command does it again.

    python -m benchmarks.ship --members 4

Data are phonon-dfpt and mp-dielectric of the folder that EQUIVAR_DATA names, less what hygiene sets aside; a
tenth of the compositions is held out, decides which epoch is kept, calibrates the uncertainty, and gives the
errors on the card. Members differ in their seed. Interrupted, the same command goes on.
"""

import argparse
import dataclasses
import shutil
from pathlib import Path

from benchmarks.model_card import write_card
from benchmarks.real_parts import data_folder
from equivar_jax import committee, load, train
from equivar_jax.checkpoint import read_checkpoint
from equivar_jax.data import load_dataset
from equivar_jax.domain import domain_of
from equivar_jax.errors import exit_on_input_error
from equivar_jax.loop import last_checkpoint
from equivar_jax.runtime import enable_compilation_cache

PATTERN = "*-d[fi]*.extxyz.gz"
"""Matches phonon-dfpt and mp-dielectric."""
EPOCHS = 100
WEIGHTS = Path(__file__).parent.parent / "equivar_jax" / "weights"


def train_member(folder: Path, seed: int) -> None:
    """Train one network, or go on with it, or leave it if it is done."""
    if any(last_checkpoint(folder).glob("[0-9]*")):
        if read_checkpoint(folder, "last")[1].epoch < EPOCHS:
            train.main(["--resume", str(folder)])
        return
    train.main(
        [
            *("--config", "bm3.py", "--run-dir", str(folder)),
            *("--data", str(data_folder() / PATTERN)),
            *("--data.split", "composition", "--data.validation_fraction", "0.1"),
            *("--train.epochs", str(EPOCHS), "--train.seed", str(seed)),
        ]
    )


def join(runs: list[Path], weights: Path) -> committee.Committee:
    """Make the committee and write it into the package, without the place where the data lay."""
    members = [load(run) for run in runs]
    names = [str(run) for run in runs]
    configs = [member.metadata.config for member in members]
    committee.check_split(names[0], names[1:], configs)
    dataset = load_dataset(configs[0])
    joined = committee.joined(members, names)
    data = dataclasses.replace(configs[0].data, path=f"$EQUIVAR_DATA/{PATTERN}")
    config = dataclasses.replace(configs[0], data=data)
    joined = dataclasses.replace(joined, metadata=dataclasses.replace(joined.metadata, config=config))
    # An element that only the held-out part has can neither be calibrated nor counted.
    held_out = committee.of_known_elements(dataset.validation.structures, joined.metadata.elements)
    result = committee.calibrated(joined, held_out, domain_of(dataset.training))
    folder = weights / "committee"
    if folder.exists():
        shutil.rmtree(folder)
    committee.write_committee(result, folder)
    for marker in folder.rglob("commit_success.txt"):  # counts by being there; it names the place it was made
        marker.write_text("")
    refused = sum(finding.refused for finding in dataset.findings)
    write_card(result, members, held_out, refused, weights / "README.md")
    return result


def main() -> None:
    """Train the members, join them, write the card."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"), help="folder of run directories")
    options = parser.parse_args()
    with exit_on_input_error():
        enable_compilation_cache()
        runs = [options.runs / f"seed-{seed}" for seed in range(options.members)]
        for seed, run in enumerate(runs):
            train_member(run, seed)
        result = join(runs, WEIGHTS)
        print(f"MAE {result.mae:.4f} e on held-out compositions\n{result.predictor.calibration.table()}")


if __name__ == "__main__":
    main()
