"""Make the weights that come with the package, and their model card, all with one command.

    python -m benchmarks.real_data.ship

The data are the union of phonondb and phonon-dfpt (`benchmarks.real_data.union`), from the folder that
EQUIVAR_DATA names; nothing else is ever trained on. The members of the committee differ in their seed and are
trained once, each by

    equivar train --config bm3.py --run-dir RUNS/seed-K --data UNION/training.extxyz
        --data.validation_path UNION/validation.extxyz --train.epochs EPOCHS --train.seed K

and by `SETTINGS`, with further settings, if any, from the end of the command line (`-- --model.channels 96`).
The validation part chooses the epoch of each member, calibrates the uncertainties of the committee and says
which features are usual. What ships is what is then tested, on compositions that were never trained on.

Runs that are there are taken as they are, with the settings that they have, and finished if they are not,
unless `--unfinished` takes those as well. After an interruption the same command continues. `--card-only`
trains nothing: the weights that are in the package are tested, and their card is written anew.
"""

import argparse
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms

from benchmarks.real_data.model_card import write_card
from benchmarks.real_data.parts import data_folder
from benchmarks.real_data.shipped_errors import judge
from benchmarks.real_data.sources import SOURCES
from benchmarks.real_data.union import MP_DIELECTRIC, PHONON_DFPT, PHONONDB, unite, write_union
from equivar_jax import load, train
from equivar_jax.config.schema import Config, DataConfig
from equivar_jax.datasets.load import Dataset, load_dataset
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.hygiene.fingerprints import composition
from equivar_jax.io import read_structures
from equivar_jax.prediction import committee
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.committee_report import write_committee
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.structures import source
from equivar_jax.training.domain import measure_features
from equivar_jax.training.plan import plan_run
from equivar_jax.training.run import last_checkpoint
from equivar_jax.uncertainty.domain import domain_of
from equivar_jax.weights.checkpoint import read_checkpoint

CONFIG = "bm3.py"
EPOCHS = 48
SETTINGS: Mapping[str, Any] = {
    "model.dielectric": True,
    "train.optimizer": "muon",
    "train.learning_rate": 0.015,
    "train.weight_decay": 0.01,
}
"""In what a member differs from the config, beside its epochs and its seed."""
WEIGHTS = Path(__file__).parents[2] / "equivar_jax" / "weights"
PATTERN = "phonon*.extxyz.gz"
"""Pattern of the files of the sets that are trained on."""
TESTS = (PHONONDB, PHONON_DFPT, MP_DIELECTRIC)
OPEN_SHELLS = ("V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu")
"""Elements of 3d shells that are often open: charges depend on spins, which are not seen."""
LARGEST = 8.5e6
"""Bytes of the folder of the weights that leave room for the rest of a wheel of 10 MB."""


def parts_of(union: Path) -> dict[str, Path]:
    """Return the files of the union by the name of the part, and write them if one is not there."""
    names = {"training": "training", "validation": "validation"} | {name: f"test-{name}" for name in TESTS}
    files = {part: union / f"{name}.extxyz" for part, name in names.items()}
    if not all(path.is_file() for path in files.values()):
        write_union(unite(data_folder()), union)
    return files


def check_sources(path: Path) -> None:
    """Refuse training data of which a structure does not come from a set that may be trained on.

    Raises:
        InputError: names the set.
    """
    allowed = {one.name for one in SOURCES if one.is_trained_on}
    text = path.read_text()
    found = re.findall(r'^.*\bsource="(?:[^"]*/)?([^"/]+?)\.extxyz[^"]*"', text, flags=re.MULTILINE)
    frames = len(re.findall(r"^.*\bLattice=", text, flags=re.MULTILINE))
    if strange := {*found} - allowed:
        raise InputError(f"{path}: has structures of {', '.join(sorted(strange))}; train on {allowed} alone")
    if len(found) != frames:
        raise InputError(f"{path}: {frames - len(found)} structures of unknown source; write it anew")


def train_member(folder: Path, words: Sequence[str], *, finish: bool = True) -> Path:
    """Train one network, or go on with its training, or do nothing if it is finished.

    Args:
        folder: The run directory.
        words: Of the training command, if the run was not begun.
        finish: Go on with a run that was begun.

    Returns:
        The run directory.
    """
    if not any(last_checkpoint(folder).glob("[0-9]*")):
        if (folder / "config.json").is_file():  # left by a process that was killed before it saved anything
            shutil.rmtree(folder)
        train.main(["--run-dir", str(folder), *words])
    elif finish:
        progress = read_checkpoint(folder, "last")[1]
        if progress.epoch < progress.config.train.epochs:
            train.main(["--resume", str(folder)])
    return folder


def config_on(predictor: Predictor, files: dict[str, Path]) -> Config:
    """Return the config of a network with the files of the union as its data."""
    config = predictor.metadata.config
    training, validation = str(files["training"]), str(files["validation"])
    return replace(config, data=replace(config.data, path=training, validation_path=validation))


def join_runs(runs: Sequence[Path], files: dict[str, Path]) -> tuple[Predictor, Dataset]:
    """Join runs into a committee and return it with the data that they were trained on.

    Raises:
        InputError: a run was trained on other data.
    """
    members = [load(run) for run in runs]
    config = config_on(members[0], files)
    dataset = load_dataset(config)
    for run, member in zip(runs, members, strict=True):
        if member.metadata.statistics != dataset.statistics or member.metadata.elements != dataset.elements:
            raise InputError(
                f"{run}: was trained on {member.metadata.statistics}, but {files['training']} has "
                f"{dataset.statistics}; name the folder that it was trained on with --union"
            )
    if not all(member.metadata.features for member in members):  # stopped before they were measured
        members = [with_features(run, one, config) for run, one in zip(runs, members, strict=True)]
    return committee.join_members(members, [str(run) for run in runs]), dataset


def with_features(run: Path, member: Predictor, config: Config) -> Predictor:
    """Measure the features of the training data of a run.

    Raises:
        InputError: they are not finite.
    """
    features = measure_features(plan_run(config, run), member.weights)
    if features is None:
        raise InputError(f"{run}: the features of its network are not finite; train it again")
    return replace(member, metadata=replace(member.metadata, features=(features,)))


def calibrate(predictor: Predictor, dataset: Dataset) -> committee.Committee:
    """Calibrate a committee on the validation part; its metadata do not name the folder of the data.

    Structures with elements that only this part has are left out: nothing can be calibrated on them.
    """
    held_out = committee.keep_known_elements(dataset.validation.structures, predictor.metadata.elements)
    domain = domain_of(dataset.training, predictor.config.cutoff)
    result = committee.calibrate_committee(predictor, held_out, domain)
    metadata = result.predictor.metadata
    data = DataConfig(path=f"$EQUIVAR_DATA/{PATTERN}")
    metadata = replace(metadata, config=replace(metadata.config, data=data))
    return result._replace(predictor=replace(result.predictor, metadata=metadata))


def write_weights(result: committee.Committee, made: Path, folder: Path) -> None:
    """Write the committee to one folder, then as it is packaged, in the place of the one that was there.

    Raises:
        InputError: it is too large for a wheel of 10 MB; the one that was packaged stays.
    """
    shutil.rmtree(made, ignore_errors=True)
    write_committee(result, made)
    clear_commit_markers(made)
    size = sum(path.stat().st_size for path in made.rglob("*") if path.is_file())
    if size > LARGEST:
        raise InputError(f"{made}: {size / 1e6:.1f} MB, more than {LARGEST / 1e6} MB; take fewer members")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(made, folder)


def clear_commit_markers(folder: Path) -> None:
    """Empty the `commit_success.txt` files of checkpoints, which name the folder where they were made.

    Only that these files exist is ever read.
    """
    for marker in folder.rglob("commit_success.txt"):
        marker.write_text("")


def check_tests(tests: dict[str, list[Atoms]], dataset: Dataset) -> None:
    """Refuse test parts that share a composition with the training part.

    Raises:
        InputError: a composition of a test part was trained on.
    """
    trained_on = {composition(atoms) for atoms in dataset.training.structures}
    for part in tests.values():
        for atoms in part:
            if composition(atoms) in trained_on:
                raise InputError(f"{source(atoms)}: trained on, too; write the union anew, train again")


def read_tests(files: dict[str, Path], dataset: Dataset) -> dict[str, list[Atoms]]:
    """Read the test parts; mp-dielectric also without compounds of elements whose 3d shell may be open.

    Raises:
        InputError: a composition of a test part was trained on.
    """
    tests = {name: read_structures(files[name]) for name in TESTS}
    check_tests(tests, dataset)
    closed = [atoms for atoms in tests[MP_DIELECTRIC] if {*OPEN_SHELLS}.isdisjoint(atoms.symbols)]
    return {**tests, f"{MP_DIELECTRIC} without {OPEN_SHELLS[0]} to {OPEN_SHELLS[-1]}": closed}


def write_card_of(shipped: Predictor, dataset: Dataset, files: dict[str, Path], first: str) -> None:
    """Test the weights of the package, write their card, and print the errors."""
    judged = {name: judge(shipped, part) for name, part in read_tests(files, dataset).items()}
    write_card(shipped, judged, dataset, WEIGHTS / "README.md", CONFIG, first)
    for name, part in judged.items():
        print(f"{name}: {part}")


def main() -> None:
    """Train the members that are not there, join and calibrate them, test them, write weights and card."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of members that are not there yet")
    parser.add_argument("--runs", type=Path, default=Path("runs/shipped"), help="folder of run directories")
    parser.add_argument("--union", type=Path, help="folder of the data; default: `union` in that of the runs")
    parser.add_argument("--unfinished", action="store_true", help="take unfinished runs as they are")
    parser.add_argument("--card-only", action="store_true", help="test and describe the weights as they are")
    parser.add_argument("--first", type=Path, help="Markdown that stands first on the card")
    parser.add_argument("settings", nargs="*", help="further settings of members that are not there yet")
    options = parser.parse_args()
    if options.members < 2:
        parser.error("--members is below 2; a committee needs two or more")
    with plain_messages():
        use_compilation_cache()
        files = parts_of(options.union or options.runs / "union")
        check_sources(files["training"])
        first = options.first.read_text() if options.first else ""
        if options.card_only:
            shipped = load(WEIGHTS / "committee")
            write_card_of(shipped, load_dataset(config_on(shipped, files)), files, first)
            return
        paths = ["--data", str(files["training"]), "--data.validation_path", str(files["validation"])]
        changes = {**SETTINGS, "train.epochs": options.epochs}
        settings = [word for name, value in changes.items() for word in (f"--{name}", str(value))]
        words = ["--config", CONFIG, *paths, *settings]
        runs = []
        for seed in range(options.members):
            seeded = [*words, *options.settings, "--train.seed", str(seed)]
            folder = options.runs / f"seed-{seed}"
            runs.append(train_member(folder, seeded, finish=not options.unfinished))
        predictor, dataset = join_runs(runs, files)
        read_tests(files, dataset)  # before anything is written
        result = calibrate(predictor, dataset)
        write_weights(result, options.runs / "committee", WEIGHTS / "committee")
        write_card_of(load(WEIGHTS / "committee"), dataset, files, first)


if __name__ == "__main__":
    main()
