"""What is left of a run that ends after its last epoch, or before it has saved anything."""

import os
import shutil
import signal

import jax
import numpy as np
import pytest
from entries.test_train import QUICK, losses, run, same_arrays, signal_at

from equivar_jax import train
from equivar_jax.reports import run_text
from equivar_jax.training import loop
from equivar_jax.training.run_directory import CLOSING_FILES, read_records
from equivar_jax.weights.checkpoint import read_checkpoint


def listed(folder):
    """The files of the closing evaluation that the README of a run has in its table."""
    rows = (folder / "README.md").read_text().splitlines()
    return [name for name in CLOSING_FILES if any(row.startswith(f"| `{name}`") for row in rows)]


@pytest.fixture
def ended(labelled_file, tmp_path):
    """A run of one epoch whose closing evaluation is cut short by an action."""

    def train_until(monkeypatch, action):
        real = run_text.evaluate_model

        def evaluate(*arguments, **options):
            action()
            return real(*arguments, **options)

        folder = tmp_path / "run"
        with monkeypatch.context() as patch:
            patch.setattr(run_text, "evaluate_model", evaluate)
            words = (*QUICK, "--data.path", labelled_file, "--train.epochs", 1, "--run-dir", folder)
            return folder, *run(*words)

    return train_until


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_closing_evaluation_says_what_is_missing_and_resuming_makes_it(
    ended, monkeypatch, kind, complaint
):
    folder, status, output, errors = ended(monkeypatch, lambda: os.kill(os.getpid(), kind))
    assert status == 128 + kind
    assert errors.splitlines()[-1] == (
        f"{kind.name}: training is complete and saved, but its closing evaluation has not made parity.png, "
        f"validation.json; finish it with --resume {folder}"
    )
    assert "Traceback" not in errors
    assert "best validation MAE" not in output
    assert listed(folder) == ["history.png"]
    assert "`parity.png`, `validation.json`" in (folder / "README.md").read_text()
    trained = losses(folder), read_checkpoint(folder), read_checkpoint(folder, "last")

    monkeypatch.setattr(loop, "run_epoch", None)
    status, output, _ = run("--resume", folder)
    assert status == 0
    assert "all 1 epochs are done; what is missing is made: parity.png, validation.json" in output
    assert "best validation MAE" in output
    assert listed(folder) == list(CLOSING_FILES)
    assert all((folder / name).is_file() for name in CLOSING_FILES)
    again = losses(folder), read_checkpoint(folder), read_checkpoint(folder, "last")
    assert again[0] == trained[0]
    for one, other in zip(again[1:], trained[1:], strict=True):
        same_arrays(one[0], other[0])
        assert one[1] == other[1]
    assert "all 1 epochs are done; raise --train.epochs" in complaint(train.main, "--resume", folder)


def test_a_full_disk_during_the_closing_evaluation_is_one_line(ended, monkeypatch):
    def fill():
        raise OSError(28, "No space left on device")

    folder, status, _, errors = ended(monkeypatch, fill)
    assert status == 2
    (line,) = (line for line in errors.splitlines() if line.startswith("error: "))
    assert "No space left on device" in line
    assert "training is complete and saved" in line
    assert f"--resume {folder}" in line
    assert run("--resume", folder)[0] == 0


def test_a_run_that_goes_on_has_no_pictures_of_its_earlier_weights(labelled_file, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    assert run(*QUICK, "--data.path", labelled_file, "--train.epochs", 1, "--run-dir", folder)[0] == 0
    assert listed(folder) == list(CLOSING_FILES)
    signal_at(monkeypatch, 1, signal.SIGINT)
    assert run("--resume", folder, "--train.epochs", 2)[0] == 130
    assert listed(folder) == []
    assert not any((folder / name).exists() for name in CLOSING_FILES)


def test_a_run_that_was_killed_before_it_had_saved_a_state_begins_anew(trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    shutil.rmtree(folder / "checkpoints")
    for name in CLOSING_FILES:
        (folder / name).unlink()
    with (folder / "metrics.jsonl").open("w") as file:
        file.write('{"epoch": 1, "from": "the process that was killed"}\n{"epoch"')
    status, _, errors = run("--resume", folder)
    assert status == 0, errors
    assert [record["epoch"] for record in read_records(folder)] == [1, 2, 3]
    assert losses(folder) == losses(trained.folder)
    for which in ("best", "last"):
        resumed, through = read_checkpoint(folder, which), read_checkpoint(trained.folder, which)
        jax.tree.map(np.testing.assert_array_equal, resumed[0], through[0])
        assert resumed[1] == through[1]


def test_an_epoch_that_could_not_be_put_on_record_is_run_again(trained, tmp_path, monkeypatch):
    folder, real = tmp_path / "run", loop.append_record

    def append(folder, record):
        if record["epoch"] == 2:
            raise train.InputError("the disk is full")
        real(folder, record)

    words = ("--config", "test.py", "--train.ema_decay", 0.5, "--run-dir", folder)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "append_record", append)
        status, _, errors = run(*words, "--train.checkpoint_minutes", 1e-6)
    assert (status, errors.splitlines()[-1]) == (2, "error: the disk is full")
    assert read_checkpoint(folder, "last")[1].epoch == 1
    assert run("--resume", folder)[0] == 0
    assert losses(folder) == losses(trained.folder)


def test_settings_that_are_damaged_are_said(trained, tmp_path, complaint):
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    shutil.rmtree(folder / "checkpoints")
    (folder / "config.json").write_text('{"data": ')
    assert "not the settings of a run" in complaint(train.main, "--resume", folder)
