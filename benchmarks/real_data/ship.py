"""Train the weights that come with the package and write their model card, all with one command.

    python -m benchmarks.real_data.ship --members 4

The data are phonon-dfpt and mp-dielectric of the folder that EQUIVAR_DATA names, without the structures that
hygiene sets aside. The members of the committee differ in their seed and are trained twice with the same
settings:

1. without a tenth of the compositions, which choose the epoch, calibrate the uncertainty and give the errors
   on the card;
2. on everything, for the package, since more compositions make a better network. Of these the last epoch is
   kept, and the calibration of the first committee is carried over.

After an interruption the same command continues. It takes finished runs as they are, so other data need
another `--runs`.
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
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.training.loop import last_checkpoint
from equivar_jax.uncertainty.domain import Domain, domain_of
from equivar_jax.weights.checkpoint import read_checkpoint

CONFIG = "bm3.py"
PATTERN = "*-d[fi]*.extxyz.gz"
"""Pattern of the files of phonon-dfpt and mp-dielectric."""
EPOCHS = 100
WEIGHTS = Path(__file__).parents[2] / "equivar_jax" / "weights"


def train_member(folder: Path, seed: int, words: Sequence[str]) -> Path:
    """Train one network, or continue its training, or do nothing if it is finished.

    Args:
        folder: The run directory.
        seed: The seed of initial weights and of the order of batches.
        words: Further words of the training command, which name the data.

    Returns:
        The run directory.
    """
    if not any(last_checkpoint(folder).glob("[0-9]*")):
        if (folder / "config.json").is_file():  # left by a process that was killed before it saved anything
            shutil.rmtree(folder)
        settings = ("--train.epochs", str(EPOCHS), "--train.seed", str(seed))
        train.main(["--config", CONFIG, "--run-dir", str(folder), *words, *settings])
    elif read_checkpoint(folder, "last")[1].epoch < EPOCHS:
        train.main(["--resume", str(folder), "--train.epochs", str(EPOCHS)])
    return folder


def words_of_first_training() -> list[str]:
    """Return the words that name the data of the first training.

    A tenth of the compositions is held out and chooses the epoch.
    """
    pattern = str(data_folder() / PATTERN)
    return ["--data", pattern, "--data.split", "composition", "--data.validation_fraction", "0.1"]


def write_data_of_second_training(dataset: Dataset, target: Path) -> list[str]:
    """Write the data of the second training, both parts of the first, and return the words that name them.

    Nothing is left to choose the epoch by.

    Args:
        dataset: The data of the first training, after hygiene.
        target: The folder for the files.
    """
    target.mkdir(parents=True, exist_ok=True)
    files = {"everything": [*dataset.training.structures, *dataset.validation.structures]}
    files["held-out"] = list(dataset.validation.structures)
    for name, structures in files.items():
        write_structures(target / f"{name}.extxyz", structures)
    words = ["--data", str(target / "everything.extxyz")]
    words += ["--data.validation_path", str(target / "held-out.extxyz")]  # trained on, too
    return [*words, "--data.hygiene.enabled", "False", "--train.keep", "last"]


def join_runs(runs: Sequence[Path]) -> tuple[Predictor, Dataset]:
    """Join runs on the same data into a committee and return it with these data."""
    members, names = [load(run) for run in runs], [str(run) for run in runs]
    configs = [member.metadata.config for member in members]
    committee.check_split(names[0], names[1:], configs)
    return committee.join_members(members, names), load_dataset(configs[0])


def calibrate_on_held_out(predictor: Predictor, dataset: Dataset) -> tuple[committee.Committee, list[Atoms]]:
    """Calibrate the committee of the first training on the held-out structures and return both.

    Structures with elements that only the held-out part has are left out: nothing can be calibrated on them.
    """
    held_out = committee.keep_known_elements(dataset.validation.structures, predictor.metadata.elements)
    domain = domain_of(dataset.training, predictor.config.cutoff)
    return committee.calibrate_committee(predictor, held_out, domain), held_out


def make_final_committee(runs: Sequence[Path], first: committee.Committee) -> committee.Committee:
    """Return the committee of the second training with calibration and errors of the first.

    Its metadata do not name the folder of the data.
    """
    predictor, dataset = join_runs(runs)
    known, metadata = first.predictor.metadata, predictor.metadata
    assert known.domain is not None
    data = replace(metadata.config.data, path=f"$EQUIVAR_DATA/{PATTERN}", validation_path=None)
    domain: Domain = replace(
        domain_of(dataset.training, predictor.config.cutoff), largest_sigma=known.domain.largest_sigma
    )
    metadata = replace(
        metadata,
        config=replace(metadata.config, data=data),
        validation_mae=first.mae,
        calibration=known.calibration,
        domain=domain,
        features=(),  # these networks were trained on the held-out part, too, so nothing says what is usual
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
        use_compilation_cache()
        seeds = range(options.members)
        runs = [
            train_member(options.runs / f"seed-{seed}", seed, words_of_first_training()) for seed in seeds
        ]
        predictor, dataset = join_runs(runs)
        first, held_out = calibrate_on_held_out(predictor, dataset)
        words = write_data_of_second_training(dataset, options.runs / "data")
        last = [train_member(options.runs / f"refit-{seed}", seed, words) for seed in seeds]
        result = make_final_committee(last, first)
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
