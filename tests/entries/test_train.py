import contextlib
import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from ase.io import read
from helpers.crystals import labelled_crystal
from helpers.signals import signal_at

from equivar_jax import load, train
from equivar_jax import predict as prediction
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import from_dict
from equivar_jax.datasets import demonstration_set
from equivar_jax.datasets.load import load_structures
from equivar_jax.io import write_structures
from equivar_jax.reports.run_text import announce_run
from equivar_jax.structures import born_effective_charges
from equivar_jax.training import loop, start_run
from equivar_jax.training.run_directory import read_records
from equivar_jax.weights.checkpoint import read_checkpoint

# One interaction compiles fast, and without a schedule the program is the same for any number of epochs.
QUICK = (
    "--config",
    "test.py",
    "--model.interactions",
    1,
    "--train.schedule",
    "constant",
    "--train.batch_size",
    1,
)
PICTURE = b"\x89PNG"


def run(*words):
    """Run the program; returns exit status, standard output and standard error."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            train.main([str(word) for word in words])
            status = 0
        except SystemExit as stop:
            status = stop.code
    return status, output.getvalue(), errors.getvalue()


def losses(folder):
    """The records without times and compilations, which differ."""
    names = ("epoch", "train_loss", "validation_mae", "learning_rate")
    return [{name: record[name] for name in names} for record in read_records(folder)]


def same_arrays(first, second):
    assert jax.tree.structure(first) == jax.tree.structure(second)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_start_tells_what_is_trained_on_what(trained):
    structures = load_structures(load_config("test").data, None)
    split = json.loads((trained.folder / "split.json").read_text())
    part = [atoms for atoms in structures if atoms.info["source"] in split["training"]]
    told = dict(re.findall(r"^ *(\w+)  (\S.*)$", trained.output, re.MULTILINE))
    assert told["parameters"] == "16,641"
    assert set(told["elements"].split()) == {symbol for atoms in part for symbol in atoms.symbols}
    assert told["structures"] == "10 training, 2 validation"
    assert told["atoms"] == "200 training"
    statistics = read_checkpoint(trained.folder)[1].statistics
    assert told["edges"] == f"{statistics['edges']:,} training, {statistics['edges'] / 200:.2f} an atom"
    assert re.fullmatch(r"\d+ % of a batch's edges are real", told["padding"])
    assert told["data"] == "embedded demonstration set (not DFT)"
    assert "compilations: train 1, validate 1, for 1 batch shapes" in trained.output


def test_the_start_of_bm2_prints_its_139905_parameters(labelled_file, tmp_path):
    config = train.override(load_config("bm2"), ["--data.path", str(labelled_file)], "")
    started = start_run(config, tmp_path / "run")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        announce_run(started)
    assert "parameters  139,905\n" in output.getvalue()


def test_a_run_leaves_all_its_files(trained):
    assert {path.name for path in trained.folder.iterdir()} == {
        "README.md",
        "checkpoints",
        "config.json",
        "history.png",
        "metrics.jsonl",
        "parity.png",
        "split.json",
        "set_aside.csv",
        "validation.json",
    }
    for name in ("history.png", "parity.png"):
        assert (trained.folder / name).read_bytes().startswith(PICTURE)


def test_the_config_is_stored_with_measured_values_filled_in(trained):
    _, metadata = read_checkpoint(trained.folder, "last")
    stored = from_dict(Config, json.loads((trained.folder / "config.json").read_text()))
    assert stored == metadata.config
    assert stored.train.ema_decay == 0.5
    assert stored.model.mean_neighbours == metadata.statistics["mean_neighbours"]


def test_the_split_covers_everything_once(trained):
    split = json.loads((trained.folder / "split.json").read_text())
    assert sorted(split["training"] + split["validation"]) == sorted(
        f"demonstration perovskite {k}" for k in range(12)
    )
    assert len(split["validation"]) == 2


def test_the_record_of_every_epoch_is_kept(trained):
    records = read_records(trained.folder)
    assert [record["epoch"] for record in records] == [1, 2, 3]
    for record in records:
        assert 0 < record["train_loss"] < 10
        assert 0 < record["validation_mae"] < 10
        assert record["ms_per_atom"] > 0
        assert record["compiles"] == {"train": 1, "validate": 1}
    rates = [record["learning_rate"] for record in records]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(5e-5)


def test_the_best_weights_are_those_of_the_lowest_validation_error(trained):
    lowest = min(read_records(trained.folder), key=lambda record: record["validation_mae"])
    _, best = read_checkpoint(trained.folder, "best")
    assert (best.epoch, best.validation_mae) == (lowest["epoch"], lowest["validation_mae"])
    assert best.best_validation_mae == read_checkpoint(trained.folder, "last")[1].best_validation_mae
    written = json.loads((trained.folder / "validation.json").read_text())
    assert written["overall"]["mae"] == pytest.approx(lowest["validation_mae"], abs=1e-5)


def test_prediction_gives_what_training_validated(trained):
    split = json.loads((trained.folder / "split.json").read_text())
    structures = load_structures(load_config("test").data, None)
    structures = [atoms for atoms in structures if atoms.info["source"] in split["validation"]]
    found = load(trained.folder).predict(structures, allow_unseen=True)
    errors = [np.abs(z - born_effective_charges(atoms)) for z, atoms in zip(found, structures, strict=True)]
    _, best = read_checkpoint(trained.folder)
    assert np.concatenate(errors).mean() == pytest.approx(best.validation_mae, abs=1e-5)


def test_the_averaged_weights_are_kept_and_the_latest_go_on(trained):
    last, progress = read_checkpoint(trained.folder, "last")
    best, metadata = read_checkpoint(trained.folder, "best")
    assert progress.epoch == metadata.epoch == 3  # so both are of the same moment
    same_arrays(best["params"], last["ema"])
    assert not np.array_equal(last["ema"]["params"]["embedding"], last["params"]["params"]["embedding"])


def test_two_interruptions_change_no_bit_of_the_result(trained, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        signal_at(patch, 4, signal.SIGINT)  # in the middle of the second epoch of three batches
        status, _, errors = run("--config", "test.py", "--run-dir", folder, "--train.ema_decay", 0.5)
    assert status == 130
    assert f"SIGINT: saved; continue with --resume {folder}" in errors
    progress = read_checkpoint(folder, "last")[1]
    assert (progress.epoch, progress.batch) == (1, 1)
    assert losses(folder) == losses(trained.folder)[:1]

    with monkeypatch.context() as patch:
        signal_at(patch, 2, signal.SIGTERM)  # after the last batch of that epoch, before it is validated
        status, _, errors = run("--resume", folder)
    assert status == 143
    assert "SIGTERM: saved" in errors
    progress = read_checkpoint(folder, "last")[1]
    assert (progress.epoch, progress.batch) == (1, 3)

    status, output, _ = run("--resume", folder)
    assert status == 0
    assert "compilations: train 1, validate 1" in output
    assert losses(folder) == losses(trained.folder)
    for which in ("best", "last"):
        resumed, through = read_checkpoint(folder, which), read_checkpoint(trained.folder, which)
        same_arrays(resumed[0], through[0])
        assert resumed[1] == through[1]
    assert (folder / "validation.json").read_text() == (trained.folder / "validation.json").read_text()


def test_an_interruption_before_the_first_validation_leaves_weights_to_predict_with(
    labelled_file, tmp_path, monkeypatch
):
    signal_at(monkeypatch, 1, signal.SIGTERM)
    assert run(*QUICK, "--data.path", labelled_file, "--run-dir", tmp_path / "run")[0] == 143
    assert read_records(tmp_path / "run") == []
    assert load(tmp_path / "run").predict(labelled_crystal()).shape == (3, 3, 3)


def test_a_signal_after_the_last_batch_of_all_ends_the_run_as_usual(labelled_file, tmp_path, monkeypatch):
    real = loop.validate

    def validate(run):
        os.kill(os.getpid(), signal.SIGTERM)
        return real(run)

    monkeypatch.setattr(loop, "validate", validate)
    words = (*QUICK, "--data.path", labelled_file, "--train.epochs", 1)
    assert run(*words, "--run-dir", tmp_path / "run")[0] == 0
    assert (tmp_path / "run" / "validation.json").exists()


@pytest.mark.slow  # a process of its own; signals are tested in this one, too
@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")  # of a tiny training set
def test_a_terminated_process_has_saved_its_best_weights(tmp_path, cache_folder):
    folder = tmp_path / "run"
    words = ("--config", "test.py", "--run-dir", str(folder), "--train.epochs", "1000000")
    process = subprocess.Popen(
        [sys.executable, "-m", "equivar_jax.train", *words, "--train.checkpoint_minutes", "1e6"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not (folder / "metrics.jsonl").exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 143
    assert f"SIGTERM: saved; continue with --resume {folder}" in errors
    assert "Traceback" not in errors
    records = read_records(folder)
    _, best = read_checkpoint(folder)
    assert best.validation_mae == min(record["validation_mae"] for record in records)
    assert read_checkpoint(folder, "last")[1].epoch == len(records)
    (atoms, *_) = load_structures(load_config("test").data, None)
    tensors = load(folder).predict(atoms, allow_unseen=True)
    assert np.abs(tensors.sum(axis=0)).max() < 1e-8


@pytest.mark.slow  # eight compilations
def test_the_dense_kernel_has_two_shapes_for_two_neighbour_counts_compiled_once_each(tmp_path):
    structures = [labelled_crystal(seed, scale) for scale in (1.0, 0.8) for seed in range(6)]
    write_structures(tmp_path / "data.extxyz", structures)
    words = (
        *QUICK,
        "--data.path",
        tmp_path / "data.extxyz",
        "--train.epochs",
        4,
        "--model.kernel",
        "chunked",
    )
    status, output, _ = run(*words, "--data.validation_fraction", 0.4, "--run-dir", tmp_path / "run")
    assert status == 0
    (shapes,) = re.findall(r"batches  \d+ an epoch, of (.*)", output)
    assert len(shapes.split(";")) == 2
    assert "compilations: train 2, validate 2, for 2 batch shapes" in output
    compiles = [record["compiles"] for record in read_records(tmp_path / "run")]
    assert compiles == [{"train": 2, "validate": 2}] * 4


@pytest.mark.slow  # real training
def test_a_network_fitted_to_one_structure_writes_its_tensors_in_the_order_of_the_labels(tmp_path):
    label = born_effective_charges(labelled_crystal())
    transposed = label.transpose(0, 2, 1)
    assert np.abs(label - transposed).mean() > 0.2
    path, folder = tmp_path / "one.extxyz", tmp_path / "run"
    write_structures(path, [labelled_crystal()])
    # Within 4 Å every atom sees too much to have any symmetry left, so that all tensors can be reached.
    words = ("--config", "test.py", "--train.epochs", 500, "--train.learning_rate", 0.01)
    data = ("--data.path", path, "--data.validation_path", path, "--data.hygiene.enabled", "False")
    assert run(*words, *data, "--model.channels", 8, "--model.cutoff", 4, "--run-dir", folder)[0] == 0
    best = read_checkpoint(folder)[1].validation_mae
    assert best < 0.02

    for name in ("out.csv", "out.extxyz"):
        prediction.main(["--checkpoint", str(folder), str(path), "-o", str(tmp_path / name)])
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = np.array([[[float(row[f"Z{a}{b}"]) for b in "123"] for a in "123"] for row in rows])
    # ASE's own reader, not ours: nine columns, field index first.
    columns = read(tmp_path / "out.extxyz").calc.results["born_effective_charges"].reshape(-1, 3, 3)
    for tensors in (table, columns):
        assert np.abs(tensors - label).mean() == pytest.approx(best, abs=1e-5)
        assert np.abs(tensors - transposed).mean() > 0.2


def test_a_loss_that_is_not_finite_stops_and_keeps_the_best_weights(labelled_file, tmp_path, monkeypatch):
    real = loop.run_epoch

    def run_epoch(run, bar, interruption):
        if run.progress.epoch == 2:
            params = jax.tree.map(lambda leaf: leaf * np.nan, run.state.params)
            run.state = run.state.replace(params=params)
        return real(run, bar, interruption)

    monkeypatch.setattr(loop, "run_epoch", run_epoch)
    folder = tmp_path / "run"
    status, _, errors = run(*QUICK, "--data.path", labelled_file, "--run-dir", folder)
    assert status == 2
    assert re.search(
        r"^error: .*training loss of epoch 3 is nan; the best weights, MAE \d", errors, re.MULTILINE
    )
    assert "--train.learning_rate" in errors
    records = read_records(folder)
    assert len(records) == 2
    _, best = read_checkpoint(folder)
    assert best.validation_mae == min(record["validation_mae"] for record in records)
    assert np.isfinite(load(folder).predict(labelled_crystal())).all()
    with pytest.raises(train.InputError, match="no 'last' checkpoint"):
        read_checkpoint(folder, "last")  # weights that are not finite are never saved


def test_weights_that_are_not_finite_from_the_start_are_not_kept(labelled_file, tmp_path):
    folder = tmp_path / "run"
    words = (*QUICK, "--data.path", labelled_file)
    status, _, errors = run(*words, "--train.learning_rate", 1e30, "--run-dir", folder)
    assert status == 2
    assert "there are no good weights to keep" in errors.splitlines()[-1]
    with pytest.raises(train.InputError, match="no 'best' checkpoint"):
        load(folder)


def test_a_committee_that_could_not_be_calibrated_is_refused_before_it_is_trained(tmp_path, complaint):
    path, folder = tmp_path / "few.extxyz", tmp_path / "run"
    write_structures(path, [*demonstration_set(perovskites=5, li3po4=0, zro2=0, seed=0)])
    words = (*QUICK, "--data.path", path, "--members", 2, "--run-dir", folder)
    found = complaint(train.main, *map(str, words))
    assert f"{path}: 1 structure to validate on" in found
    assert "--data.validation_fraction" in found
    assert not [*folder.glob("member-*")]
    words = (*QUICK, "--data.validation_fraction", 0.1, "--members", 2, "--run-dir", folder)
    found = complaint(train.main, *map(str, words))
    assert "demonstration set: 1 structure to validate on" in found


def test_more_epochs_can_be_added_and_the_config_file_tells(labelled_file, tmp_path):
    folder = tmp_path / "run"
    assert run(*QUICK, "--data.path", labelled_file, "--train.epochs", 1, "--run-dir", folder)[0] == 0
    first = losses(folder)
    status, output, _ = run("--resume", folder, "--train.epochs", 2, "--train.batch_size", 3)
    assert status == 0
    assert re.search(r"note  goes on with --train\.batch_size 3; it began with \d+", output)
    assert "--train.epochs" not in output
    assert losses(folder)[:1] == first
    assert [record["epoch"] for record in losses(folder)] == [1, 2]
    assert json.loads((folder / "config.json").read_text())["train"]["epochs"] == 2


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ((), "all 3 epochs are done; raise --train.epochs"),
        (("--train.epochs", 9, "--data.split_seed", 5), "other data or another split"),
        (("--train.epochs", 9, "--model.channels", 5), "began with --model.channels"),
        (("--train.epochs", 9, "--model.cutoff", 3.4), "not 3.4, which is another network"),
        (("--train.epochs", 9, "--train.ema_decay", "None"), "a run begins and ends with --train.ema_decay"),
        (("--train.epochs", 9, "--config", "test.py"), "leave out --config, --run-dir and --members"),
        (("--train.epochs", 9, "--run-dir", "elsewhere"), "leave out --config, --run-dir and --members"),
    ],
)
def test_a_run_cannot_go_on_as_another(trained, complaint, words, found):
    before = {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()}
    assert found in complaint(train.main, "--resume", trained.folder, *words)
    assert {path: path.read_bytes() for path in trained.folder.rglob("*") if path.is_file()} == before


def test_a_checkpoint_alone_cannot_go_on(trained, complaint):
    checkpoint = next(Path(trained.folder, "checkpoints", "last").iterdir())
    assert "no such run directory" in complaint(train.main, "--resume", checkpoint)
