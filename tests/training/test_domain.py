"""What a run remembers of its training part, and a committee of runs that one command trains."""

import contextlib
import dataclasses
import io
import json

import numpy as np
import pytest
from ase.io import read
from helpers.crystals import labelled_crystal, titanate

from equivar_jax import load, predict, train
from equivar_jax.datasets.load import load_dataset
from equivar_jax.io import write_structures
from equivar_jax.training import loop, start_run
from equivar_jax.uncertainty.domain import DomainWarning, domain_of
from equivar_jax.weights.checkpoint import read_checkpoint

QUICK = (
    "--config",
    "test.py",
    "--model.interactions",
    "1",
    "--train.epochs",
    "1",
    "--train.schedule",
    "constant",
)


def run(*words):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        train.main([str(word) for word in words])
    return output.getvalue()


def test_every_run_knows_its_domain(trained):
    predictor = load(trained.folder)
    metadata = predictor.metadata
    dataset = load_dataset(metadata.config)
    assert metadata.domain == domain_of(dataset.training, metadata.config.model.cutoff)
    (features,) = metadata.features
    assert features.elements == dataset.elements
    held_out = np.concatenate(predictor.domain_distance(list(dataset.validation.structures)))
    known = np.isfinite(held_out)
    assert np.mean(held_out[known] > 1.001) < 0.03
    assert np.mean(np.concatenate(predictor.domain_distance(list(dataset.training.structures))) > 1) < 0.05


def test_a_fine_tuned_network_knows_the_elements_of_its_own_data(trained, tmp_path):
    """It takes those of the weights that it began with, but not without a word."""
    frames = [labelled_crystal(k) for k in range(6)]
    write_structures(tmp_path / "mine.extxyz", frames)
    own = {*frames[0].symbols}
    run(
        *(
            "--config",
            "finetune.py",
            "--train.start_from",
            trained.folder,
            "--data",
            tmp_path / "mine.extxyz",
        ),
        *("--train.epochs", 1, "--data.hygiene.enabled", False, "--run-dir", tmp_path / "run"),
    )
    predictor = load(tmp_path / "run")
    assert {*predictor.metadata.domain.structures} == own
    other = next(
        atoms
        for atoms in load_dataset(load(trained.folder).metadata.config).training.structures
        if {*atoms.symbols} - own
    )
    with pytest.warns(DomainWarning) as shown:  # and not an InputError
        predictor.predict(other)
    said = " ".join(str(one.message) for one in shown)
    assert all(f"{symbol} (0)" in said for symbol in {*other.symbols} - own)


@pytest.fixture(scope="module")
def committee(tmp_path_factory):
    folder = tmp_path_factory.mktemp("committee") / "two"
    return folder, run(*QUICK, "--members", 2, "--train.seed", 5, "--run-dir", folder)


def test_members_are_trained_joined_and_calibrated_by_one_command(committee):
    folder, said = committee
    assert "member 1 (2 of 2)" in said
    assert "2 members of" in said
    predictor = load(folder)
    assert predictor.members == 2
    assert predictor.calibration.components > 0
    seeds = [read_checkpoint(folder / f"member-{k}")[1].config.train.seed for k in range(2)]
    assert seeds == [5, 6]
    alone = [load(folder / f"member-{k}") for k in range(2)]
    assert predictor.metadata.features == tuple(one.metadata.features[0] for one in alone)
    atoms = titanate(2, seed=9)
    each = np.mean([one.domain_distance(atoms) for one in alone], axis=0)
    np.testing.assert_allclose(predictor.domain_distance(atoms), each, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")
def test_networks_of_a_polarisation_know_their_domain_alone_joined_and_fine_tuned(tmp_path):
    write_structures(tmp_path / "mine.extxyz", [labelled_crystal(k) for k in range(8)])
    data = ("--data", tmp_path / "mine.extxyz", "--data.hygiene.enabled", False, "--train.batch_size", 4)
    form = ("--model.form", "polarisation", "--model.envelope", True)
    run(*QUICK, *form, *data, "--members", 2, "--run-dir", tmp_path / "two")
    run(
        *("--config", "finetune.py", "--train.start_from", tmp_path / "two" / "member-0", *data),
        *("--train.epochs", 1, "--run-dir", tmp_path / "tuned"),
    )
    committee, tuned = load(tmp_path / "two"), load(tmp_path / "tuned")
    assert {one.metadata.config.model.form for one in (committee, tuned)} == {"polarisation"}
    assert [len(one.metadata.features) for one in (committee, tuned)] == [2, 1]
    assert tuned.metadata.features[0] != committee.metadata.features[0]
    predict.main(
        [
            *("--checkpoint", str(tmp_path / "two"), str(tmp_path / "mine.extxyz"), "--distance"),
            *("--uncertainty", "-o", str(tmp_path / "found.extxyz")),
        ]
    )
    atoms = read(tmp_path / "found.extxyz", "3")
    expected = committee.predictions([atoms])[0]
    np.testing.assert_allclose(atoms.arrays["domain_distance"], expected.distances, rtol=1e-3)
    sigma = committee.calibration.sigma(expected.spread, expected.tensors, atoms.numbers, expected.distances)
    np.testing.assert_allclose(atoms.arrays["born_effective_charges_std"], sigma.reshape(-1, 9), rtol=2e-3)


def test_what_is_finished_is_not_trained_again(committee, monkeypatch):
    folder, _ = committee
    monkeypatch.setattr(loop, "run_epoch", None)
    assert run("--resume", folder).count("is finished: ") == 2


def test_mistakes_are_one_line(committee, tmp_path, complaint):
    assert "needs two members or more" in complaint(
        train.main, *QUICK, "--members", "1", "--run-dir", tmp_path / "one"
    )
    folder, _ = committee
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "members.json").write_text(json.dumps({"members": 2}))
    assert "not the settings of a committee" in complaint(train.main, "--resume", tmp_path / "broken")
    assert "leave out --config, --run-dir and --members" in complaint(
        train.main, "--resume", folder, "--members", "3"
    )


def test_weights_that_are_not_finite_have_no_features(trained, monkeypatch, tmp_path):
    found = start_run(load(trained.folder).metadata.config, tmp_path / "run")
    params = dataclasses.replace(found.state).params
    broken = loop.jax.tree.map(lambda leaf: leaf * np.nan, params)
    assert loop.measure_features(found.plan, broken) is None
    assert loop.measure_features(found.plan, params) is not None
