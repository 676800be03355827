"""Trainings on several devices and in several processes, beside the one of the fixture `trained`."""

import json
import re
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from helpers.launch import begin_processes, end_processes, epochs_recorded, train_on
from helpers.signals import signal_at

from equivar_jax import train
from equivar_jax.training.run_directory import read_records
from equivar_jax.weights.checkpoint import read_checkpoint

QUICK = ("--config", "test.py", "--train.ema_decay", 0.5)
"""The settings of `trained`."""

FULL_AT_THE_SECOND = """
from equivar_jax import train
from equivar_jax.training import loop

append = loop.append_record

def refuse(folder, record):
    if record["epoch"] == 2:
        raise train.InputError("the disk is full")
    append(folder, record)

loop.append_record = refuse
train.main()
"""
"""A training whose second epoch cannot be put on record."""

FULL_IN_THE_FIRST = """
import os
from equivar_jax import train
from equivar_jax.weights.checkpoint import CheckpointWriter

saves, save = [], CheckpointWriter.save

def refuse(self, state, metadata):
    saves.append(metadata.epoch)
    if len(saves) > 2 and os.environ["JAX_PROCESS_ID"] == "0":
        raise train.InputError("the disk is full")
    save(self, state, metadata)

CheckpointWriter.save = refuse
train.main()
"""
"""A training whose first process alone cannot save what follows the first epoch."""


def assert_same_run(folder, other):
    """The same files, numbers and weights, but for rounding in single precision, and for times."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in other.iterdir()}
    for name in ("config.json", "split.json", "set_aside.csv"):
        assert (folder / name).read_bytes() == (other / name).read_bytes()
    records, expected = read_records(folder), read_records(other)
    assert [record["epoch"] for record in records] == [record["epoch"] for record in expected]
    for name in ("train_loss", "validation_mae", "learning_rate"):
        np.testing.assert_allclose(
            [record[name] for record in records], [record[name] for record in expected], rtol=1e-6
        )
    for which in ("best", "last"):
        (state, metadata), (theirs, their_metadata) = (
            read_checkpoint(each, which) for each in (folder, other)
        )
        assert jax.tree.structure(state) == jax.tree.structure(theirs)
        assert distance(state["params"], theirs["params"]) < 1e-6
        assert (metadata.epoch, metadata.batch) == (their_metadata.epoch, their_metadata.batch)
        assert metadata.domain == their_metadata.domain
    overall, theirs = (json.loads((each / "validation.json").read_text()) for each in (folder, other))
    assert overall["overall"]["mae"] == pytest.approx(theirs["overall"]["mae"], rel=1e-6)


def distance(weights, others):
    """Return the norm of the difference of weights relative to that of the others."""
    one, two = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(each)]).astype(float)
        for each in (weights, others)
    )
    return np.linalg.norm(one - two) / np.linalg.norm(two)


def test_a_run_on_one_device_goes_on_within_an_epoch_on_four(trained, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        signal_at(patch, 4, signal.SIGTERM)  # in the middle of the second epoch of three batches
        with pytest.raises(SystemExit) as stop:
            train.main([*map(str, QUICK), "--run-dir", str(folder)])
    assert stop.value.code == 143
    assert read_checkpoint(folder, "last")[1].batch == 1
    output = train_on(4, "--resume", folder)
    assert re.search(r"device  4 x cpu \(cpu\), that share each batch", output)
    assert "compilations: train 1, validate 1, for 1 batch shapes" in output
    assert_same_run(folder, trained.folder)


def test_the_settings_of_a_run_do_not_know_the_number_of_devices(trained):
    assert "devices" not in (trained.folder / "config.json").read_text()


@pytest.mark.slow  # processes of their own
@pytest.mark.parametrize("number", [2, 4])
def test_several_processes_leave_the_run_of_one(trained, tmp_path, number):
    folder = tmp_path / "run"
    ended = end_processes(begin_processes(number, *QUICK, "--run-dir", folder))
    assert [status for status, _, _ in ended] == [0] * number, ended
    assert f"device  {number} x cpu (cpu) of {number} processes" in ended[0][1]
    assert "best validation MAE" in ended[0][1]
    for _, output, errors in ended[1:]:  # one process reports; gloo says on its own that it is connected
        assert all(line.startswith("[Gloo]") for line in output.splitlines())
        assert errors == ""
    assert_same_run(folder, trained.folder)


@pytest.mark.slow  # processes of their own
def test_a_signal_to_one_process_stops_all_and_any_number_of_devices_goes_on(tmp_path):
    folder, copy = tmp_path / "run", tmp_path / "copy"
    words = ("--config", "test.py", "--train.schedule", "constant", "--train.epochs", 100_000)
    processes = begin_processes(2, *words, "--run-dir", folder)
    wait_for_epochs(folder, 2, processes)
    processes[1].send_signal(signal.SIGTERM)
    ended = end_processes(processes)
    assert [status for status, _, _ in ended] == [143, 143], ended
    assert f"SIGTERM: saved; continue with --resume {folder}" in ended[0][2]
    total = read_checkpoint(folder, "last")[1].epoch + 2
    shutil.copytree(folder, copy)
    train.main(["--resume", str(folder), "--train.epochs", str(total)])
    ended = end_processes(begin_processes(3, "--resume", copy, "--train.epochs", total))
    assert [status for status, _, _ in ended] == [0, 0, 0], ended
    assert len(read_records(folder)) == total
    assert_same_run(copy, folder)


JAX_LOG = re.compile(r"[IWE]\d{4} [\d:.]+ +\d+ \w+\.cc:\d+\]")
"""A line that the C++ part of JAX writes to its log."""


@pytest.mark.slow  # processes of their own
def test_a_killed_process_ends_the_others_with_one_line_and_a_whole_checkpoint(tmp_path):
    folder = tmp_path / "run"
    words = (*QUICK, "--train.epochs", 100_000, "--train.checkpoint_minutes", 0, "--run-dir", folder)
    processes = begin_processes(3, *words)
    wait_for_epochs(folder, 3, processes)
    processes[2].kill()
    ended = end_processes(processes)
    assert [status for status, _, _ in ended] == [75, 75, -9], ended
    for place, (_, _, errors) in enumerate(ended[:2]):
        *before, complaint = errors.splitlines()
        ours = [line for line in before if not JAX_LOG.match(line)]
        assert all(line.startswith("epoch") or line.endswith(" ...") for line in ours), ours
        # A collective operation tells of it first, or the watch does, if this process was slow.
        assert re.match(
            rf"error: process {place} of 3: lost (contact with another process \(|process 2;)", complaint
        )
        assert complaint.endswith(f"; continue with --resume {folder}, also on fewer devices")
    done = read_checkpoint(folder, "last")[1].epoch
    assert done >= 2
    train.main(["--resume", str(folder), "--train.epochs", str(done + 1)])
    assert read_checkpoint(folder, "last")[1].epoch == done + 1


@pytest.mark.slow  # processes of their own
def test_processes_with_other_settings_refuse_to_train_together(tmp_path):
    words = ("--config", "test.py", "--run-dir", tmp_path / "run")
    ended = end_processes(begin_processes(2, *words, own={1: ("--train.learning_rate", 0.1)}))
    assert [status for status, _, _ in ended] == [2, 2], ended
    last = ended[0][2].splitlines()[-1]
    assert last.startswith("error: process 1 of 2 has other data, settings or kernel than the first")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow  # processes of their own
def test_what_one_process_cannot_read_is_said_once(tmp_path, labelled_file):
    words = ("--config", "test.py", "--run-dir", tmp_path / "run")
    own = {0: ("--data", labelled_file), 1: ("--data", tmp_path / "absent.extxyz")}
    ended = end_processes(begin_processes(2, *words, own=own))
    assert [status for status, _, _ in ended] == [2, 2], ended
    assert ended[0][2].splitlines()[-1].startswith("error: process 1: ")
    assert "absent.extxyz" in ended[0][2]
    assert ended[1][2] == ""


@pytest.mark.slow  # processes of their own
def test_an_epoch_that_cannot_be_put_on_record_ends_all_processes_with_one_line(tmp_path):
    """The state before it stays, from which it is run again."""
    folder = tmp_path / "run"
    words = (*QUICK, "--train.checkpoint_minutes", 0, "--run-dir", folder)
    ended = end_processes(begin_processes(2, *words, program=("-c", FULL_AT_THE_SECOND)))
    assert [status for status, _, _ in ended] == [2, 2], ended
    assert ended[0][2].splitlines()[-1] == "error: the disk is full"
    assert ended[1][2] == ""
    assert read_checkpoint(folder, "last")[1].epoch == 1
    assert len(read_records(folder)) == 1


@pytest.mark.slow  # processes of their own
def test_a_process_that_alone_cannot_save_says_so_in_one_line_and_ends_the_run(tmp_path):
    folder = tmp_path / "run"
    words = (*QUICK, "--train.checkpoint_minutes", 0, "--run-dir", folder)
    first, second = end_processes(begin_processes(2, *words, program=("-c", FULL_IN_THE_FIRST)))
    assert first[0] == 2, first
    assert "Traceback" not in first[2]
    advice = f"continue with --resume {folder}, also on fewer devices"
    assert first[2].splitlines()[-1] == f"error: process 0 of 2: the disk is full; {advice}"
    assert second[0] != 0  # with a message of its own, unless JAX ends it before
    assert read_checkpoint(folder, "last")[1].epoch == 1


@pytest.mark.slow  # processes of their own
def test_several_processes_take_all_their_devices_or_refuse(tmp_path):
    words = ("--config", "test.py", "--run-dir", tmp_path / "run")
    ended = end_processes(begin_processes(2, *words, "--devices", 1))
    assert [status for status, _, _ in ended] == [2, 2], ended
    assert "--devices 1: the 2 processes of this run use all their 2 devices" in ended[0][2]


def wait_for_epochs(folder, number, processes):
    """Wait until a run has recorded some epochs."""
    while epochs_recorded(folder) < number:
        assert all(process.poll() is None for process in processes), end_processes(processes)
        time.sleep(0.1)
