"""The task `screen`: one row a structure, what is refused, resuming, rankings."""

import csv
import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.checkpoints import saved
from helpers.committees import calibrated_with_dielectric, network

from equivar_jax import load
from equivar_jax.io import read_structures, write_structures
from equivar_jax.io.appending import TextOutput
from equivar_jax.prediction import Predictor
from equivar_jax.prediction.sweep import inputs as sweep_inputs
from equivar_jax.response.__main__ import main
from equivar_jax.response.screening import nominal
from equivar_jax.response.screening.columns import COLUMNS
from equivar_jax.structures import EPSILON, labels_of


def perovskite(constant=3.9, shift=0.0):
    sites = [[0, 0, 0], [0.5, 0.5, 0.5 + shift], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Atoms("CaTiO3", scaled_positions=sites, cell=[constant] * 3, pbc=True)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A committee of tiny networks for Ca, Ti and O that nobody trained, with uncertainties and eps_inf."""
    return saved(calibrated_with_dielectric(), tmp_path_factory.mktemp("committee"))


@pytest.fixture
def crystals(tmp_path):
    """A folder with 11 good structures, and two that cannot be used."""
    folder = tmp_path / "in"
    folder.mkdir()
    many = [perovskite(3.8 + 0.02 * k, 0.004 * k) for k in range(9)]
    many[4].info |= {"mp_id": "mp-4", EPSILON: 5.5 * np.eye(3)}
    write_structures(folder / "a.extxyz", many)
    write_structures(folder / "b.extxyz", [bulk("CaO", "rocksalt", a=4.8), bulk("NaCl", "rocksalt", a=5.6)])
    (folder / "broken.cif").write_text("nothing that anybody can read\n")
    write_structures(folder / "c.extxyz", [Atoms("CaO", [[0, 0, 0], [0, 0, 2.0]])])
    return folder


def screened(checkpoint, inputs, folder, *words):
    main(["screen", str(inputs), "--checkpoint", checkpoint, "-o", str(folder), *words])
    with (folder / "screen.csv").open() as file:
        return list(csv.DictReader(file))


def test_there_is_one_row_for_each_structure_and_for_each_that_is_refused(
    checkpoint, crystals, tmp_path, capsys
):
    rows = screened(checkpoint, crystals, tmp_path / "out")
    assert list(rows[0]) == ["rank", *COLUMNS]
    assert sorted(int(row["index"]) for row in rows) == [*range(13)]
    good = [row for row in rows if not row["error"]]
    assert [row["error"] for row in rows[: len(good)]] == [""] * 11
    assert [(Path(row["file"]).name, row["frame"]) for row in rows[11:]] == [
        ("b.extxyz", "1"),
        ("broken.cif", ""),
    ]
    assert rows[11]["error"].startswith("the model has never seen Na, Cl")
    assert rows[11]["formula"] == rows[11]["anomaly"] == ""
    said = capsys.readouterr().out
    assert said.startswith("13 structures: 11 predicted, 2 could not be used\n")
    assert f"  {crystals / 'b.extxyz'}, frame 1: the model has never seen Na, Cl" in said
    assert f"  {crystals / 'broken.cif'}: not a structure file" in said


def test_the_numbers_are_those_of_the_model(checkpoint, crystals, tmp_path):
    rows = screened(checkpoint, crystals, tmp_path / "out")
    model = load(checkpoint)
    structures = read_structures(crystals / "a.extxyz")
    (row,) = (row for row in rows if row["index"] == "4")
    (tensors, sigma), (epsilon, deviation) = model.predict(structures[4], uncertainty=True, dielectric=True)
    largest = [np.linalg.svd(tensor)[1][0] for tensor in tensors]
    ratios = np.array(largest) / [2, 4, 2, 2, 2]
    approx = lambda value: pytest.approx(value, rel=1e-4)  # noqa: E731
    assert float(row["largest_charge_e"]) == approx(max(largest))
    assert float(row["anomaly"]) == approx(max(ratios))
    assert int(row["anomaly_atom"]) == np.argmax(ratios)
    assert float(row["charge_std_max_e"]) == approx(sigma.max())
    assert float(row["charge_std_mean_e"]) == approx(sigma.mean())
    assert float(row["epsilon_inf"]) == approx(np.trace(epsilon) / 3)
    assert float(row["epsilon_inf_std"]) == approx(np.trace(deviation) / 3)
    assert (row["formula"], row["spacegroup"], row["atoms"], row["frame"]) == ("CaTiO3", "99", "5", "4")
    assert row["nominal_charges_e"] == "Ca 2; Ti 4; O -2"


def test_the_structures_carry_tensors_and_numbers_and_keep_what_they_had(checkpoint, crystals, tmp_path):
    rows = screened(checkpoint, crystals, tmp_path / "out")
    found = read_structures(tmp_path / "out" / "screen.extxyz")
    assert [atoms.info["screen_index"] for atoms in found] == [*range(10), 12]
    by_index = {int(row["index"]): row for row in rows}
    for atoms in found:
        row = by_index[atoms.info["screen_index"]]
        assert atoms.info["screen_anomaly"] == pytest.approx(float(row["anomaly"]), rel=1e-4)
    expected = load(checkpoint).predict(read_structures(crystals / "a.extxyz"))
    np.testing.assert_allclose(labels_of(found[4]), expected[4], atol=1e-5)
    assert found[4].info["mp_id"] == "mp-4"
    np.testing.assert_array_equal(found[4].info[EPSILON], 5.5 * np.eye(3))
    assert np.trace(found[4].info["screen_epsilon_inf_tensor"]) / 3 == pytest.approx(
        found[4].info["screen_epsilon_inf"]
    )
    assert np.trace(found[3].info[EPSILON]) / 3 == pytest.approx(found[3].info["screen_epsilon_inf"])
    assert by_index[12]["spacegroup"] == by_index[12]["epsilon_inf"] == ""  # a molecule
    assert EPSILON not in found[-1].info


@pytest.mark.parametrize(
    ("ranking", "column"),
    [("anomaly", "anomaly"), ("uncertainty", "charge_std_max_e"), ("epsilon", "epsilon_inf")],
)
def test_a_ranking_begins_with_the_largest(checkpoint, crystals, tmp_path, capsys, ranking, column):
    rows = screened(checkpoint, crystals, tmp_path / "out", "--rank", ranking)
    ranked = [row for row in rows if row["rank"]]
    assert [int(row["rank"]) for row in ranked] == [*range(1, len(ranked) + 1)]
    values = [float(row[column]) for row in ranked]
    assert values == sorted(values, reverse=True)
    assert len({*values}) > 5
    assert len(ranked) == (10 if ranking == "epsilon" else 11)  # none of a molecule
    assert not any(row[column] for row in rows[len(ranked) :])
    _, _, top = capsys.readouterr().out.partition(f"Ranked by {ranking}")
    assert top.splitlines()[1].split()[0] == "1"
    assert f"{values[0]:.3g}" in top.splitlines()[1]


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(sweep_inputs, "WINDOW_STRUCTURES", 3)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_an_interrupted_screening_goes_on_without_predicting_twice(
    checkpoint, crystals, small_windows, tmp_path, monkeypatch, capsys
):
    out, whole = tmp_path / "out", tmp_path / "whole"
    original, sent = TextOutput.commit, []

    def signalled(self):
        sent or os.kill(os.getpid(), signal.SIGTERM)
        sent.append(1)
        return original(self)

    with monkeypatch.context() as patch:
        patch.setattr(TextOutput, "commit", signalled)
        with pytest.raises(SystemExit) as stop:
            screened(checkpoint, crystals, out)
    assert stop.value.code == 128 + signal.SIGTERM
    assert "give the same command again to resume from there" in capsys.readouterr().err
    assert not (out / "screen.csv").exists()
    done = json.loads((out / "screen.progress").read_text().splitlines()[-1])
    assert 0 < done["structures"] < 11
    predicted = []
    predict = Predictor.predict_samples
    with monkeypatch.context() as patch:
        patch.setattr(
            Predictor,
            "predict_samples",
            lambda self, samples, **how: predicted.append(len(samples)) or predict(self, samples, **how),
        )
        screened(checkpoint, crystals, out)
    assert sum(predicted) == 11 - done["structures"]
    screened(checkpoint, crystals, whole)
    assert contents(out) == contents(whole)
    assert sorted(contents(out)) == ["screen.csv", "screen.extxyz", "screen.html"]


def test_a_screening_of_a_folder_does_not_read_its_own_output(checkpoint, crystals, capsys):
    first = screened(checkpoint, crystals, crystals / "out")
    assert screened(checkpoint, crystals, crystals / "out") == first


def test_many_warned_structures_are_named_in_a_file(checkpoint, tmp_path, capsys):
    write_structures(tmp_path / "in.extxyz", [bulk("NaCl", "rocksalt", a=5 + 0.1 * k) for k in range(21)])
    rows = screened(checkpoint, tmp_path / "in.extxyz", tmp_path / "out", "--allow-unseen")
    assert {row["unseen_element"] for row in rows} == {"True"}
    named = (tmp_path / "out" / "warned.txt").read_text().splitlines()
    assert len(named) == 21
    assert (
        sum(f"frame {k} (NaCl): the model has never seen Na, Cl" in "\n".join(named) for k in range(21)) == 21
    )
    assert f"is named in {tmp_path / 'out' / 'warned.txt'}" in capsys.readouterr().out


def test_without_the_package_there_is_no_anomaly_and_no_ranking_by_it(
    checkpoint, crystals, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(nominal, "find_spec", lambda _: None)
    with pytest.raises(SystemExit):
        screened(checkpoint, crystals, tmp_path / "out", "--rank", "anomaly")
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert 'pip install "equivar_jax[screen]"' in error
    rows = screened(checkpoint, crystals, tmp_path / "out")
    assert {row["anomaly"] for row in rows} == {""}
    said = capsys.readouterr()
    assert "Ranked by uncertainty" in said.out
    assert 'pip install "equivar_jax[screen]"' in said.err


def test_what_a_model_does_not_know_cannot_be_ranked_by(crystals, tmp_path, complaint):
    single = saved(network(0), tmp_path / "single")
    words = ("screen", crystals, "--checkpoint", single, "-o", tmp_path / "out", "--rank")
    assert "no readout for the electronic dielectric tensor" in complaint(main, *words, "epsilon")
    assert "uncertainty needs a committee" in complaint(main, *words, "uncertainty")
    rows = screened(single, crystals, tmp_path / "out")
    assert {row["epsilon_inf"] for row in rows} == {row["charge_std_max_e"] for row in rows} == {""}


def test_nothing_that_can_be_predicted_is_an_error_and_leaves_nothing(checkpoint, tmp_path, complaint):
    write_structures(tmp_path / "in.extxyz", [bulk("NaCl", "rocksalt", a=5.6)] * 2)
    words = ("screen", tmp_path / "in.extxyz", "--checkpoint", checkpoint, "-o", tmp_path / "out")
    message = complaint(main, *words)
    assert message.endswith("(and none of the 2 structures can be predicted)")
    assert list((tmp_path / "out").iterdir()) == []
    assert complaint(main, "screen") == "no structures; name files, folders or patterns, or try --example"


@pytest.mark.slow  # the weights of the package
def test_the_example_ranks_ferroelectric_perovskites_first(tmp_path, capsys):
    main(["screen", "--example", "-o", str(tmp_path / "out")])
    with (tmp_path / "out" / "screen.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["formula"] for row in rows[:4]} == {"WO3", "KNbO3", "SrTiO3", "BaTiO3"}
    assert {row["formula"] for row in rows if row["likely_metal"] == "True"} == {"CuZn"}
