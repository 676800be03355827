"""Every program refuses what it cannot use with one line (fixture `complaint`) and leaves nothing behind.

Faults within data files: see `test_faulty_data`.
"""

import json
import shutil

import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from helpers.crystals import labelled_crystal
from helpers.frames import GOOD

from equivar_jax import evaluate, predict, train
from equivar_jax.config import load_config, override
from equivar_jax.io import write_structures
from equivar_jax.training import run_directory, start_run


@pytest.mark.parametrize("name", ["absent.extxyz", "absent.cif", "POSCAR", "folder", "absent/in.extxyz"])
def test_files_that_are_not_there_are_named(trained, complaint, tmp_path, name):
    (tmp_path / "folder").mkdir()
    path = tmp_path / name
    found = "no structure files in this folder" if name == "folder" else "no such file"
    for main, *words in (
        (train.main, "--config", "test.py", "--run-dir", tmp_path / "run", "--data.path", path),
        (evaluate.main, "--checkpoint", trained.folder, "--output", tmp_path / "out", "--data", path),
        (predict.main, "--checkpoint", trained.folder, "-o", tmp_path / "o.csv", path),
    ):
        assert complaint(main, *words).startswith(f"{path}: {found}")
    assert {path.name for path in tmp_path.iterdir()} <= {"folder", "out"}


@pytest.mark.parametrize("name", ["in.cif", "POSCAR", "in.json", "in.dat", "in"])
def test_files_that_hold_no_structure_are_named(trained, complaint, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x00\xff nothing that anybody can read\n")
    message = complaint(predict.main, "--checkpoint", trained.folder, path, "-o", tmp_path / "o.csv")
    assert message.startswith(f"{path}: not a structure file that ASE can read")


def test_a_structure_file_without_labels_cannot_train(complaint, tmp_path):
    write(tmp_path / "in.cif", bulk("CaO", "rocksalt", a=4.8))
    message = complaint(
        train.main,
        *("--config", "test.py", "--data.path", tmp_path / "in.cif", "--run-dir", tmp_path / "run"),
    )
    assert f"{tmp_path / 'in.cif'}, frame 0: no Born effective charges" in message
    assert not (tmp_path / "run").exists()


def test_a_refused_start_does_not_block_the_next_one(complaint, labelled_file, tmp_path):
    words = ("--config", "test.py", "--run-dir", tmp_path / "run", "--data.path")
    complaint(train.main, *words, tmp_path / "absent.extxyz")
    config = override(load_config("test"), ["--data.path", str(labelled_file)], "")
    assert run_directory.new_run_directory("test", str(tmp_path / "run")) == tmp_path / "run"
    start_run(config, tmp_path / "run")
    assert (tmp_path / "run" / "split.json").exists()


@pytest.mark.parametrize(("count", "part"), [(1, "validation"), (2, "validation")])
def test_a_part_without_structures_is_refused(complaint, tmp_path, count, part):
    write_structures(tmp_path / "few.extxyz", [labelled_crystal(k) for k in range(count)])
    words = ("--config", "test.py", "--data.path", tmp_path / "few.extxyz", "--run-dir", tmp_path / "run")
    assert f"the {part} part is empty" in complaint(train.main, *words)
    assert not (tmp_path / "run").exists()


def test_a_split_that_trains_on_nothing_is_refused(complaint, labelled_file, tmp_path):
    words = ("--config", "test.py", "--data.path", labelled_file, "--run-dir", tmp_path / "run")
    message = complaint(train.main, *words, "--data.validation_fraction", "0.95")
    assert message.startswith("the training part is empty: 5 structures")
    assert "no 'cell' in its info" in complaint(train.main, *words, "--data.group_key", "cell")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (("--train.epoch", "3"), "unknown setting --train.epoch; did you mean '--train.epochs'?"),
        (("--confg", "bm2"), "did you mean '--config'?"),
        (("--train.epochs", "many"), "--train.epochs got 'many', expected an integer"),
        (("--train.seed", "-1"), "--train.seed -1 is too small"),
        (("--config",), "argument --config: expected one argument"),
        (("--config", "bm7.py"), "bm7.py: no such config file"),
    ],
)
def test_a_mistaken_command_line_is_explained(complaint, tmp_path, monkeypatch, words, found):
    monkeypatch.chdir(tmp_path)
    assert found in complaint(train.main, "--config", "test.py", *words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("main", "found"), [(predict.main, "required: "), (evaluate.main, "give --data FILE")]
)
def test_missing_options_are_named(complaint, main, found):
    assert found in complaint(main)


def test_an_element_never_trained_on_is_refused(trained, complaint, tmp_path):
    write(tmp_path / "in.cif", bulk("NaCl", "rocksalt", a=5.6))
    message = complaint(
        predict.main, "--checkpoint", trained.folder, tmp_path / "in.cif", "-o", tmp_path / "o.csv"
    )
    assert message.startswith(f"{tmp_path / 'in.cif'}, frame 0: the model has never seen Na, Cl; it knows O")
    assert "--allow-unseen" in message
    write_structures(tmp_path / "mg.extxyz", [labelled_crystal()])
    words = ("--data", tmp_path / "mg.extxyz", "--output", tmp_path / "out")
    assert "frame 0: the model has never seen Mg" in complaint(
        evaluate.main, "--checkpoint", trained.folder, *words
    )


@pytest.mark.parametrize("place", ["nowhere", "empty", "file"])
def test_a_place_that_is_no_run_is_refused(complaint, labelled_file, tmp_path, place):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    run = tmp_path / place
    for main, *words in (
        (predict.main, "--checkpoint", run, labelled_file, "-o", tmp_path / "o.csv"),
        (evaluate.main, "--checkpoint", run, "--data", labelled_file, "--output", tmp_path / "out"),
        (train.main, "--resume", run),
    ):
        assert complaint(main, *words).startswith(str(run))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file", "labelled.extxyz"]


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"architecture": "Other"}, "checkpoint of architecture 'Other'"),
        ({"format": 99}, "format 99, but this program reads 'Equivar', format 1"),
        ({"config": {"model": {"chanels": 3}}}, "unknown setting 'chanels'; did you mean 'channels'"),
        (None, "the checkpoint is of another architecture"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(
    trained, complaint, labelled_file, tmp_path, change, found
):
    run = tmp_path / "run"
    shutil.copytree(trained.folder / "checkpoints", run / "checkpoints")
    for path in run.glob("checkpoints/*/*/metadata/metadata"):
        values = json.loads(path.read_text())
        if change is None:
            values["config"]["model"]["channels"] = 5
            values["config"]["train"]["epochs"] = 9
        else:
            values.update(change)
        path.write_text(json.dumps(values))
    words = (labelled_file, "-o", tmp_path / "o.csv")
    assert found in complaint(predict.main, "--checkpoint", run, *words)
    assert found in complaint(evaluate.main, "--checkpoint", run, "--data", labelled_file)
    assert found in complaint(train.main, "--resume", run)


def test_a_run_folder_in_use_is_refused_and_stays_as_it_is(complaint, labelled_file, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    words = ("--config", "test.py", "--data.path", labelled_file, "--run-dir", tmp_path)
    assert "not empty; choose another --run-dir" in complaint(train.main, *words)
    assert (tmp_path / "thesis.tex").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 2


def test_places_where_a_run_cannot_be_written_are_refused(complaint, labelled_file):
    words = ("--config", "test.py", "--data.path", labelled_file, "--run-dir", labelled_file / "run")
    assert complaint(train.main, *words).startswith(f"{labelled_file / 'run'}: cannot")


@pytest.fixture
def known_file(trained, tmp_path):
    """Labelled structures that the model takes."""
    path = tmp_path / "known.extxyz"
    path.write_text(GOOD)
    return path


def test_places_where_an_evaluation_cannot_be_written_are_refused(trained, complaint, known_file, tmp_path):
    words = ("--checkpoint", trained.folder, "--data", known_file, "--output")
    assert "cannot be written" in complaint(evaluate.main, *words, known_file)
    assert "cannot be written" in complaint(evaluate.main, *words, known_file / "out")
    (tmp_path / "out" / "parity.png").mkdir(parents=True)
    with pytest.raises(SystemExit) as stop:  # a progress bar comes before the complaint
        evaluate.main([str(word) for word in (*words, tmp_path / "out")])
    assert stop.value.code == 2


@pytest.mark.parametrize("name", ["absent/out.csv", "known.extxyz/out.csv", "folder.csv", "out.pdf", "out"])
def test_places_where_a_prediction_cannot_be_written_are_refused(
    trained, complaint, known_file, tmp_path, name
):
    (tmp_path / "folder.csv").mkdir()
    before = sorted(tmp_path.iterdir())
    message = complaint(predict.main, "--checkpoint", trained.folder, known_file, "-o", tmp_path / name)
    assert message.startswith(f"{tmp_path / name}: cannot")
    assert sorted(tmp_path.iterdir()) == before


def test_a_completed_run_has_nothing_to_resume(trained, complaint):
    message = complaint(train.main, "--resume", trained.folder)
    assert message == f"{trained.folder}: all 3 epochs are done; raise --train.epochs"


def test_the_good_frame_is_good(trained, known_file, tmp_path):
    predict.main(["--checkpoint", str(trained.folder), str(known_file), "-o", str(tmp_path / "o.csv")])
    table = np.loadtxt(tmp_path / "o.csv", delimiter=",", skiprows=1, usecols=range(2, 11))
    assert table.shape == (10, 9)
