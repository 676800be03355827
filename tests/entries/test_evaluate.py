import json
import shutil

import numpy as np
import pytest
from ase import Atoms
from helpers.crystals import labelled_crystal

from equivar_jax import evaluate, load
from equivar_jax.config.files import load_config
from equivar_jax.datasets.load import load_structures
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.predict import UnseenElementWarning
from equivar_jax.reports import evaluation
from equivar_jax.structures import born_effective_charges, with_born_effective_charges


@pytest.fixture(scope="module")
def model(trained):
    return load(trained.folder)


@pytest.fixture(scope="module")
def labelled(trained, tmp_path_factory, model):
    """A file with the model's own predictions and known errors: 0.01 e on xy, 0.03 e on zz."""
    structures = load_structures(load_config("test").data, None)
    known = [atoms for atoms in structures if set(atoms.numbers) <= set(model.metadata.elements)][:3]
    error = np.zeros((3, 3))
    error[0, 1], error[2, 2] = 0.01, 0.03
    path = tmp_path_factory.mktemp("labelled") / "data.extxyz"
    write_structures(path, [with_born_effective_charges(a, model.predict(a) + error) for a in known])
    return path


def evaluated(*words):
    evaluate.main([str(word) for word in words])


def test_table_json_and_picture_are_made(trained, labelled, tmp_path, capsys):
    evaluated("--checkpoint", trained.folder, "--data", labelled, "--output", tmp_path / "deep" / "out")
    table = capsys.readouterr().out
    assert {"deep"} == {path.name for path in tmp_path.iterdir()}
    folder = tmp_path / "deep" / "out"
    assert (folder / "parity.png").read_bytes().startswith(b"\x89PNG")
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["overall"]["atoms"] == 60
    assert result["overall"]["mae"] == pytest.approx(0.04 / 9, abs=1e-5)
    assert result["overall"]["mae_diagonal"] == pytest.approx(0.01, abs=1e-5)
    assert result["overall"]["mae_off_diagonal"] == pytest.approx(0.01 / 6, abs=1e-5)
    assert (result["checkpoint"], result["data"]) == (str(trained.folder), str(labelled))
    assert sum(element["atoms"] for element in result["elements"].values()) == 60
    assert result["drift"]["structures"] == 3
    (line,) = [line for line in table.splitlines() if line.startswith("all")]
    assert line.split()[1:3] == ["60", "0.0044"]
    assert f"written: {folder / 'evaluation.json'}" in table


def test_without_a_folder_the_run_keeps_the_evaluation(trained, labelled, tmp_path):
    shutil.copytree(trained.folder / "checkpoints", tmp_path / "run" / "checkpoints")
    evaluated("--checkpoint", tmp_path / "run", "--data", labelled)
    assert {path.name for path in (tmp_path / "run" / "evaluation").iterdir()} == {
        "evaluation.json",
        "parity.png",
    }


def test_a_transposed_label_is_a_large_error(model, labelled):
    structures = list(load_structures(load_config("test").data, str(labelled)))
    transposed = [
        with_born_effective_charges(a, born_effective_charges(a).transpose(0, 2, 1)) for a in structures
    ]
    right = evaluation.evaluate_model(model, structures).overall.mae_off_diagonal
    wrong = evaluation.evaluate_model(model, transposed).overall.mae_off_diagonal
    assert right < 0.002
    assert wrong > 0.01


def test_the_drift_is_that_before_the_sum_rule(model, labelled):
    structures = list(load_structures(load_config("test").data, str(labelled)))
    raw = [prediction.raw.sum(axis=0) for prediction in model.predictions(structures)]
    drift = evaluation.evaluate_model(model, structures).drift
    assert drift.per_cell_mean == pytest.approx(np.mean([np.abs(total).mean() for total in raw]))
    for atoms in structures:
        atoms.info["charge"] = 2.0
    charged = evaluation.evaluate_model(model, structures).drift
    expected = np.mean([np.abs(total - 2 * np.eye(3)).mean() for total in raw])
    assert charged.per_cell_mean == pytest.approx(expected)


def test_a_column_of_another_name_is_named_by_key(trained, labelled, tmp_path, capsys):
    text = labelled.read_text().replace("born_effective_charges", "mine")
    (tmp_path / "mine.extxyz").write_text(text)
    words = ("--checkpoint", trained.folder, "--data", tmp_path / "mine.extxyz", "--output", tmp_path)
    with pytest.raises(SystemExit) as stop:
        evaluated(*words)
    assert stop.value.code == 2
    assert "(columns there: mine)" in capsys.readouterr().err
    evaluated(*words, "--key", "mine")
    assert json.loads((tmp_path / "evaluation.json").read_text())["overall"]["mae"] < 0.005


def test_unseen_elements_are_refused_or_warned_of(model):
    with pytest.raises(InputError, match="never seen Mg"):
        evaluation.evaluate_model(model, [labelled_crystal()])
    with pytest.warns(UnseenElementWarning):
        assert evaluation.evaluate_model(model, [labelled_crystal()], allow_unseen=True).overall.atoms == 3


def test_nothing_and_the_unlabelled_cannot_be_evaluated(model):
    with pytest.raises(InputError, match="no structures to evaluate"):
        evaluation.evaluate_model(model, [])
    with pytest.raises(InputError, match="structure O: no Born effective charges"):
        evaluation.evaluate_model(model, [Atoms("O")])


@pytest.mark.filterwarnings("ignore::equivar_jax.predict.UnseenElementWarning")
def test_without_data_the_validation_part_of_the_run_is_evaluated(trained, tmp_path):
    evaluated("--checkpoint", trained.folder, "--output", tmp_path, "--allow-unseen")
    result = json.loads((tmp_path / "evaluation.json").read_text())
    expected = json.loads((trained.folder / "validation.json").read_text())
    assert result["overall"] == expected["overall"]
    assert result["data"] is None


def test_the_first_index_of_a_column_can_be_said(trained, labelled, tmp_path):
    """Transposing what is stored and saying so gives the errors of the original."""
    structures = list(load_structures(load_config("test").data, str(labelled)))
    turned = [
        with_born_effective_charges(atoms, born_effective_charges(atoms).transpose(0, 2, 1))
        for atoms in structures
    ]
    write_structures(tmp_path / "turned.extxyz", turned)
    errors = []
    for data, words in ((labelled, ()), (tmp_path / "turned.extxyz", ("--first-index", "displacement"))):
        folder = tmp_path / f"evaluation-{len(words)}"
        command = ("--checkpoint", trained.folder, "--data", data, "--output", folder, *words)
        evaluate.main([str(word) for word in command])
        found = json.loads((folder / "evaluation.json").read_text())
        errors.append({name: value for name, value in found.items() if name not in ("checkpoint", "data")})
    assert errors[0] == errors[1]
    assert len(errors[0]) > 2
