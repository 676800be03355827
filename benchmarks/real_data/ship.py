"""Train the weights that come with the package, and write their model card; one command does it again.

    python -m benchmarks.real_data.ship --members 4

Data are phonon-dfpt and mp-dielectric of the folder that EQUIVAR_DATA names, less what hygiene sets aside.
The members, which differ in their seed, are trained twice with the same settings: without a tenth of the
compositions, which choose the epoch, calibrate the uncertainty and give the errors on the card; and on
everything, for the package, since more compositions make a better network. Of these the last epoch is kept,
and the calibration is carried over. Interrupted, the same command goes on; it takes finished runs as they
are, so other data need another `--runs`.
"""

import argparse
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ase import Atoms

from benchmarks.real_data.model_card import write_card
from benchmarks.real_data.parts import data_folder
from equivar_jax import load, train
from equivar_jax.datasets.load import Dataset, load_dataset
from equivar_jax.errors import plain_messages
from equivar_jax.io import write_structures
from equivar_jax.prediction import committee
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.committee_report import write_committee
from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.runtime import enable_compilation_cache
from equivar_jax.training.loop import last_checkpoint
from equivar_jax.uncertainty.domain import Domain, domain_of
from equivar_jax.weights.checkpoint import read_checkpoint

CONFIG = "bm3.py"
PATTERN = "*-d[fi]*.extxyz.gz"
"""Matches phonon-dfpt and mp-dielectric."""
EPOCHS = 100
WEIGHTS = Path(__file__).parents[2] / "equivar_jax" / "weights"


def train_member(folder: Path, seed: int, words: Sequence[str]) -> Path:
    """Train one network, or go on with it, or leave it if it is done; returns the folder.

    Args:
        folder: Of the run.
        seed: Of initial weights and order.
        words: What else the command of training is told: the data.
    """
    if not any(last_checkpoint(folder).glob("[0-9]*")):
        if (folder / "config.json").is_file():  # of a process that was killed before it had saved anything
            shutil.rmtree(folder)
        settings = ("--train.epochs", str(EPOCHS), "--train.seed", str(seed))
        train.main(["--config", CONFIG, "--run-dir", str(folder), *words, *settings])
    elif read_checkpoint(folder, "last")[1].epoch < EPOCHS:
        train.main(["--resume", str(folder), "--train.epochs", str(EPOCHS)])
    return folder


def divided() -> list[str]:
    """The data of the first training: a tenth of the compositions is held out, and chooses the epoch."""
    pattern = str(data_folder() / PATTERN)
    return ["--data", pattern, "--data.split", "composition", "--data.validation_fraction", "0.1"]


def undivided(dataset: Dataset, target: Path) -> list[str]:
    """The data of the second: both parts of the first, in which nothing is left to choose the epoch by.

    Args:
        dataset: Of the first training; hygiene has seen it.
        target: Folder for the files.
    """
    target.mkdir(parents=True, exist_ok=True)
    files = {"everything": [*dataset.training.structures, *dataset.validation.structures]}
    files["held-out"] = list(dataset.validation.structures)
    for name, structures in files.items():
        write_structures(target / f"{name}.extxyz", structures)
    words = ["--data", str(target / "everything.extxyz")]
    words += ["--data.validation_path", str(target / "held-out.extxyz")]  # a part of it: training errors
    return [*words, "--data.hygiene.enabled", "False", "--train.keep", "last"]


def joined(runs: Sequence[Path]) -> tuple[Predictor, Dataset]:
    """The committee of runs on the same data, and these data."""
    members, names = [load(run) for run in runs], [str(run) for run in runs]
    configs = [member.metadata.config for member in members]
    committee.check_split(names[0], names[1:], configs)
    return committee.join_members(members, names), load_dataset(configs[0])


def tested(predictor: Predictor, dataset: Dataset) -> tuple[committee.Committee, list[Atoms]]:
    """The committee of the first training, calibrated on what is held out, and that.

    Without elements that only the held-out part has, which can neither be calibrated nor counted.
    """
    held_out = committee.keep_known_elements(dataset.validation.structures, predictor.metadata.elements)
    return committee.calibrate_committee(predictor, held_out, domain_of(dataset.training)), held_out


def final(runs: Sequence[Path], first: committee.Committee) -> committee.Committee:
    """The committee of the second training, as uncertain and in error as the first one.

    What it says of itself names no place where the data lay.
    """
    predictor, dataset = joined(runs)
    known, metadata = first.predictor.metadata, predictor.metadata
    assert known.domain is not None
    data = replace(metadata.config.data, path=f"$EQUIVAR_DATA/{PATTERN}", validation_path=None)
    domain: Domain = replace(domain_of(dataset.training), largest_sigma=known.domain.largest_sigma)
    metadata = replace(
        metadata,
        config=replace(metadata.config, data=data),
        validation_mae=first.mae,
        calibration=known.calibration,
        domain=domain,
    )
    return first._replace(predictor=replace(predictor, metadata=metadata))


def write_weights(result: committee.Committee, folder: Path) -> None:
    """Write the committee as it is packaged, in the place of the one that was there."""
    if folder.exists():
        shutil.rmtree(folder)
    write_committee(result, folder)
    clear_commit_markers(folder)


def clear_commit_markers(folder: Path) -> None:
    """Empty the `commit_success.txt` files of checkpoints, which name the folder where they were made.

    Only that these files exist is ever read.
    """
    for marker in folder.rglob("commit_success.txt"):
        marker.write_text("")


def main() -> None:
    """Train the members twice, join them, write the card."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"), help="folder of run directories")
    options = parser.parse_args()
    if options.members < 2:
        parser.error("--members is below 2; a committee needs two or more")
    with plain_messages():
        enable_compilation_cache()
        seeds = range(options.members)
        runs = [train_member(options.runs / f"seed-{seed}", seed, divided()) for seed in seeds]
        predictor, dataset = joined(runs)
        first, held_out = tested(predictor, dataset)
        words = undivided(dataset, options.runs / "data")
        last = [train_member(options.runs / f"refit-{seed}", seed, words) for seed in seeds]
        result = final(last, first)
        write_weights(result, WEIGHTS / "committee")
        alone = [evaluate_model(load(run), held_out).overall.mae for run in runs]
        counts = {
            "refused": sum(finding.refused for finding in dataset.findings),
            "not_counted": len(dataset.validation) - len(held_out),
        }
        write_card(first, held_out, alone, result.predictor, counts, WEIGHTS / "README.md")
        print(f"MAE {first.mae:.4f} e on held-out compositions\n{result.predictor.calibration.table()}")


if __name__ == "__main__":
    main()
