import contextlib
import io
import json
import os
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from equivar_jax import cross_validate, folds, load
from equivar_jax.config.files import load_config
from equivar_jax.datasets.load import load_structures
from equivar_jax.structures import born_effective_charges, source
from equivar_jax.training import loop
from equivar_jax.training.run_directory import read_records
from equivar_jax.weights.checkpoint import read_checkpoint

# One interaction compiles fast.
QUICK = ("--config", "test.py", "--model.interactions", 1, "--train.epochs", 2, "--folds", 2)
pytestmark = pytest.mark.filterwarnings("ignore::equivar_jax.predict.UnseenElementWarning")


class Crossed(NamedTuple):
    """A finished cross-validation and what it printed."""

    folder: Path
    output: str


def run(*words):
    """Run the program; returns exit status, standard output and standard error."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            cross_validate.main([str(word) for word in words])
            status = 0
        except SystemExit as stop:
            status = stop.code
    return status, output.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def crossed(tmp_path_factory, cache_folder):
    """Two folds of twelve structures, from beginning to end."""
    folder = tmp_path_factory.mktemp("crossed") / "run"
    status, output, errors = run(*QUICK, "--run-dir", folder)
    assert status == 0, errors
    return Crossed(folder, output)


@pytest.fixture
def copy(crossed, tmp_path):
    """The finished cross-validation, to be damaged."""
    return shutil.copytree(crossed.folder, tmp_path / "copy")


@pytest.fixture
def no_training(monkeypatch):
    """Whoever trains fails."""

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(loop, "run_epoch", refuse)


def content(folder):
    return json.loads((folder / "cross_validation.json").read_text())


def demonstration():
    return {source(atoms): atoms for atoms in load_structures(load_config("test").data, None)}


def split_of(folder, fold):
    return json.loads((folder / f"fold-{fold}" / "split.json").read_text())


def test_every_structure_is_validated_once_and_trained_on_in_the_other_folds(crossed):
    first, second = split_of(crossed.folder, 0), split_of(crossed.folder, 1)
    assert sorted(first["validation"] + second["validation"]) == sorted(demonstration())
    assert sorted(first["training"]) == sorted(second["validation"])
    assert sorted(second["training"]) == sorted(first["validation"])
    assert len(first["training"]) == 6


def test_the_folder_explains_itself(crossed):
    assert {path.name for path in crossed.folder.iterdir()} == {
        "README.md",
        "config.json",
        "cross_validation.json",
        "cross_validation.png",
        "fold-0",
        "fold-1",
    }
    assert f"--resume {crossed.folder}" in (crossed.folder / "README.md").read_text()
    stored = json.loads((crossed.folder / "config.json").read_text())
    assert (stored["data"]["folds"], stored["data"]["fold"]) == (2, 0)
    assert (crossed.folder / "cross_validation.png").read_bytes().startswith(b"\x89PNG")


def test_what_a_network_takes_from_the_data_comes_from_its_own_training_part(crossed):
    means = []
    for fold in range(2):
        _, metadata = read_checkpoint(crossed.folder / f"fold-{fold}")
        training = [demonstration()[name] for name in split_of(crossed.folder, fold)["training"]]
        assert metadata.config.data.fold == fold
        assert metadata.elements == tuple(sorted({int(z) for atoms in training for z in atoms.numbers}))
        assert metadata.statistics["atoms"] == sum(map(len, training))
        means.append(metadata.config.model.mean_neighbours)
        assert means[-1] == metadata.statistics["mean_neighbours"]
    assert means[0] != means[1]


def test_the_errors_are_those_of_the_best_weights_on_the_fold_they_have_not_seen(crossed):
    errors = []
    for fold in range(2):
        structures = [demonstration()[name] for name in split_of(crossed.folder, fold)["validation"]]
        found = load(crossed.folder / f"fold-{fold}").predict(structures, allow_unseen=True)
        errors.append(
            np.concatenate(
                [np.abs(z - born_effective_charges(a)) for z, a in zip(found, structures, strict=True)]
            )
        )
        lowest = min(record["validation_mae"] for record in read_records(crossed.folder / f"fold-{fold}"))
        assert errors[-1].mean() == pytest.approx(lowest, abs=1e-5)
    result = content(crossed.folder)
    assert result["pooled"]["overall"]["mae"] == pytest.approx(np.concatenate(errors).mean(), abs=1e-5)
    assert result["pooled"]["overall"]["atoms"] == 240
    means = [error.mean() for error in errors]
    assert result["over_folds"]["all"]["mae"]["values"] == pytest.approx(means, abs=1e-5)
    assert result["over_folds"]["all"]["mae"]["standard_deviation"] == pytest.approx(
        abs(means[0] - means[1]) / np.sqrt(2), abs=1e-5
    )


def test_the_table_is_printed_and_names_elements_that_a_fold_never_saw(crossed):
    table = crossed.output[crossed.output.index("Means over all atoms") :]
    mae = content(crossed.folder)["over_folds"]["all"]["mae"]
    assert f"{mae['mean']:.4f} ± {mae['standard_deviation']:.4f}" in table
    unseen = []
    for fold in range(2):
        parts = split_of(crossed.folder, fold)
        validated, trained = (
            {symbol for name in parts[part] for symbol in demonstration()[name].symbols}
            for part in ("validation", "training")
        )
        unseen.append(sorted(validated - trained))
    assert [sorted(symbols) for symbols in content(crossed.folder)["unseen"]] == unseen
    for fold, symbols in enumerate(unseen):
        assert symbols == [] or f"{' '.join(symbols)} in fold {fold}" in table


@pytest.mark.slow  # real training
def test_an_interruption_in_the_second_fold_changes_no_number(crossed, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    bars = []

    class Bar(loop.ProgressBar):
        def __init__(self, *words, **settings):
            super().__init__(*words, **settings)
            bars.append(self)

        def update(self, n=1):
            super().update(n)
            if len(bars) == 2 and self.n == 1:
                os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "ProgressBar", Bar)
        status, _, errors = run(*QUICK, "--run-dir", folder)
    assert status == 130
    assert f"continue all folds with equivar cross-validate --resume {folder}" in errors
    assert not (folder / "cross_validation.json").exists()
    progress = read_checkpoint(folder / "fold-1", "last")[1]
    assert (progress.epoch, progress.batch) == (0, 1)
    finished = {path: path.stat().st_mtime_ns for path in (folder / "fold-0").rglob("*")}

    status, output, _ = run("--resume", folder)
    assert status == 0
    assert "fold 1 (2 of 2)" in output
    assert "fold 0 (1 of 2)" not in output
    assert {path: path.stat().st_mtime_ns for path in (folder / "fold-0").rglob("*")} == finished
    assert content(folder) == content(crossed.folder)


def test_a_finished_cross_validation_is_only_reported_again(crossed, copy, no_training):
    (copy / "cross_validation.json").unlink()
    status, output, _ = run("--resume", copy)
    assert status == 0
    assert "training" not in output
    assert content(copy) == content(crossed.folder)


def test_a_fold_stopped_before_its_validation_is_only_validated(crossed, copy, no_training):
    (copy / "fold-1" / "validation.json").unlink()
    assert run("--resume", copy)[0] == 0
    assert content(copy) == content(crossed.folder)


def test_a_fold_killed_before_anything_was_saved_begins_anew(crossed, copy):
    (copy / "fold-1" / "validation.json").unlink()
    shutil.rmtree(copy / "fold-1" / "checkpoints" / "last")
    (copy / "fold-1" / "checkpoints" / "last").mkdir()
    assert run("--resume", copy)[0] == 0
    assert [record["epoch"] for record in read_records(copy / "fold-1")] == [1, 2]
    assert content(copy) == content(crossed.folder)


def test_an_interruption_between_two_trainings_is_no_traceback(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(folds, "start_run", interrupted)
    status, _, errors = run(*QUICK, "--run-dir", tmp_path / "run")
    assert status == 130
    assert errors.startswith("SIGINT: continue all folds with ")


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--folds", 1), "--data.folds 1 is too small; give 2 or more"),
        (("--folds", "many"), "argument --folds: invalid int value: 'many'"),
        (("--folds", 13), "--data.folds 13, but 12 structures in 12 groups"),
        (("--data.fold", 1), "--data.fold 1: every fold is trained in turn here; leave it out"),
        (("--data.split_path", "split.json"), "--data.split_path chooses what to validate on"),
        (("--data.validation_path", "a.extxyz"), "--data.validation_path chooses what to validate on"),
        (("--fold", 2), "unknown setting --fold; did you mean '--folds'?"),
        (("--resume", "run"), "leave out all other options"),
    ],
)
def test_settings_that_no_cross_validation_can_have_are_refused(complaint, tmp_path, words, found):
    assert found in complaint(
        cross_validate.main, "--config", "test.py", "--run-dir", tmp_path / "run", *words
    )
    assert not (tmp_path / "run").exists()


def test_only_a_cross_validation_can_be_resumed(complaint, crossed, tmp_path):
    assert "not the settings of a cross-validation" in complaint(cross_validate.main, "--resume", tmp_path)
    fold = crossed.folder / "fold-0"
    assert "fold-0: not a cross-validation" in complaint(cross_validate.main, "--resume", fold)
    assert "not empty" in complaint(cross_validate.main, "--config", "test.py", "--run-dir", crossed.folder)
    (tmp_path / "config.json").write_text('{"data": {"fold": 0}}')
    assert "not a cross-validation" in complaint(cross_validate.main, "--resume", tmp_path)


def test_the_number_of_folds_comes_from_the_option_the_config_or_the_default(monkeypatch, tmp_path):
    asked = []

    def note(config, folder):
        asked.append(config.data.folds)
        return signal.SIGINT

    monkeypatch.setattr(folds, "cross_validate", note)
    for words in ((), ("--data.folds", 3), ("--data.folds", 3, "--folds", 4)):
        run("--config", "test.py", "--run-dir", tmp_path / "run", *words)
    assert asked == [5, 3, 4]
