"""Committees: the mean of their members, their spread, the command that makes them, the weights that ship."""

import csv
import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.io import read, write
from helpers.committees import CONFIG, MEMBERS, drawn, joined, network, with_kernel
from helpers.crystals import titanate

import equivar_jax
from equivar_jax import committee, evaluate, load, predict, weights
from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config, TrainConfig
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import graph_of
from equivar_jax.io import write_structures
from equivar_jax.network.model import born_effective_charges
from equivar_jax.prediction import in_xla, loading
from equivar_jax.prediction.committee import calibrate_committee, join_members
from equivar_jax.prediction.dielectric import electronic_dielectric_tensor
from equivar_jax.reports.committee_report import committee_table
from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.response.dynamics.moving_charges import network_charges
from equivar_jax.structures import with_born_effective_charges
from equivar_jax.uncertainty.domain import FAR
from equivar_jax.uncertainty.residuals import pool_spread
from equivar_jax.weights import checkpoint
from equivar_jax.weights.checkpoint import CheckpointWriter, Metadata
from equivar_jax.weights.stacking import stack_weights


@pytest.fixture(scope="module")
def three():
    return joined()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, cache_folder):
    """Folders like those of three runs on the demonstration set."""
    folder = tmp_path_factory.mktemp("members")
    data, config = load_config("test").data, dataclasses.replace(CONFIG)
    dataset = load_dataset(Config(data, config))
    for seed in range(MEMBERS):
        writer = CheckpointWriter(folder / f"run{seed}", "best")
        metadata = Metadata(
            Config(data, config, TrainConfig(seed=seed)),
            dataset.elements,
            dataset.statistics,
            validation_mae=1.5,
        )
        writer.save({"params": drawn(seed, config)}, metadata)
        writer.close()
    return folder, dataset


@pytest.fixture(scope="module")
def made(runs, tmp_path_factory):
    """The committee of these runs."""
    folder = tmp_path_factory.mktemp("committee") / "deep" / "made"
    committee.main([*(str(runs[0] / f"run{k}") for k in range(MEMBERS)), "-o", str(folder)])
    return folder


@pytest.fixture
def shipped(made, monkeypatch):
    """The committee as if it came with the package."""
    monkeypatch.setattr(checkpoint, "shipped_checkpoint", lambda: made)
    loading._load_shipped.cache_clear()
    yield made
    loading._load_shipped.cache_clear()


def test_the_mean_and_the_spread_are_those_of_the_members(three):
    atoms = titanate()
    members = np.array([three.member(k).predict(atoms) for k in range(MEMBERS)])
    (found,) = three.predictions([atoms])
    scale = np.abs(members).max()
    np.testing.assert_allclose(found.tensors, members.mean(axis=0), atol=2e-6 * scale)
    spread = members.std(axis=0, ddof=1)
    np.testing.assert_allclose(found.spread, pool_spread(spread), atol=2e-6 * scale)
    assert found.spread.max() > 1e-2
    assert np.abs(found.tensors.sum(axis=0)).max() < 1e-8
    atoms.info["charge"] = 2.0
    (charged,) = three.predictions([atoms])
    np.testing.assert_allclose(charged.spread, pool_spread(spread), atol=2e-6 * scale)
    assert np.abs(charged.tensors.sum(axis=0) - 2.0 * np.eye(3)).max() < 1e-8


def test_kernels_with_slots_give_the_same_mean_and_spread(three):
    other = with_kernel(three, "chunked")
    (expected,), (found,) = (one.predictions([titanate()]) for one in (three, other))
    np.testing.assert_allclose(found.tensors, expected.tensors, atol=1e-5 * np.abs(expected.tensors).max())
    np.testing.assert_allclose(found.spread, expected.spread, atol=1e-5 * np.abs(expected.tensors).max())


def test_one_pass_compiles_once(three):
    other = with_kernel(three, "chunked")
    other.predict(titanate())
    before = predict.apply._cache_size()
    for seed in range(3):
        other.predict(titanate(seed=seed), uncertainty=True)
    assert predict.apply._cache_size() == before


def test_layer_by_layer_gives_mean_and_spread_of_the_batch(three, monkeypatch):
    atoms = titanate(3)
    (whole,) = three.predictions([atoms])
    monkeypatch.setattr(in_xla, "plan_batches", lambda *_: iter(()))
    (found,) = with_kernel(three, "chunked").predictions([atoms])
    for name in ("tensors", "raw", "spread"):
        expected = getattr(whole, name)
        np.testing.assert_allclose(getattr(found, name), expected, atol=1e-5 * np.abs(whole.raw).max())


def test_uncertainty_comes_with_each_structure(three):
    structures = [titanate(), titanate(2)]
    pairs = three.predict(structures, uncertainty=True)
    for atoms, (tensors, sigma), found in zip(structures, pairs, three.predictions(structures), strict=True):
        assert tensors.shape == sigma.shape == (len(atoms), 3, 3)
        np.testing.assert_array_equal(tensors, found.tensors)
        np.testing.assert_allclose(sigma, 0.5 * (np.hypot(found.spread, 0.02 * found.tensors) + 0.01))
    tensors, sigma = three.predict(titanate(), uncertainty=True)
    np.testing.assert_allclose(sigma, pairs[0][1], atol=1e-5)
    assert three.predict([], uncertainty=True) == []


def test_uncertainty_without_a_calibrated_committee_is_refused(three):
    for alone in (network(0), three.member(1)):
        with pytest.raises(InputError, match=r"needs a committee.*equivar committee"):
            alone.predict(titanate(), uncertainty=True)
    with pytest.raises(InputError, match="needs a calibrated committee"):
        joined(calibration=None).predict(titanate(), uncertainty=True)


@pytest.mark.slow
def test_one_member_serves_where_weights_are_needed(three):
    atoms = titanate()
    for use in (lambda: three.params, lambda: network_charges(three, atoms)):
        with pytest.raises(InputError, match=r"committee of 3; take one of them: load\(\.\.\., member=0\)"):
            use()
    one = three.member(2)
    tensors = born_effective_charges(one.network, one.params, graph_of(atoms, CONFIG.cutoff))
    np.testing.assert_allclose(tensors, network(2).predict(atoms), atol=1e-5)
    assert network_charges(one, atoms).model == one.network
    assert one.member(0) is one
    for number in (-1, MEMBERS):
        with pytest.raises(InputError, match="the model has 3 members; count from 0"):
            three.member(number)


def test_the_calculator_takes_a_committee(three, monkeypatch):
    atoms = titanate(2)
    charges = EquivarCalculator(three)
    expected = three.predict(atoms)
    found = charges.get_property("born_effective_charges", atoms)
    np.testing.assert_allclose(found, expected, atol=3e-6 * np.abs(expected).max())
    monkeypatch.setattr("equivar_jax.prediction.in_cpp.LARGE", 1)
    atoms.positions += 1e-9
    found = charges.get_property("born_effective_charges", atoms)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())


def test_the_electronic_dielectric_tensor_is_the_mean():
    config = dataclasses.replace(CONFIG, interactions=1, dielectric=True)
    three, atoms = joined(config), titanate()
    members = [electronic_dielectric_tensor(three.member(k), atoms) for k in range(MEMBERS)]
    np.testing.assert_allclose(
        electronic_dielectric_tensor(three, atoms), np.mean(members, axis=0), rtol=1e-5
    )


def test_members_must_belong_together():
    def refuse(*members):
        with pytest.raises(InputError) as caught:
            join_members(members, [f"run{k}" for k in range(len(members))])
        return str(caught.value)

    assert "two members or more" in refuse(network(0))
    other = dataclasses.replace(CONFIG, mean_neighbours=8.0)
    assert refuse(network(0), network(1, other)).startswith(
        "run1: --model.mean_neighbours is 8.0, but that of run0 is 9.0; train each with the same config"
    )
    slower = network(1)
    config = dataclasses.replace(slower.metadata.config, train=TrainConfig(learning_rate=0.001, seed=1))
    slower = dataclasses.replace(slower, metadata=dataclasses.replace(slower.metadata, config=config))
    assert refuse(network(0), slower).startswith(
        "run1: --train.learning_rate is 0.001, but that of run0 is 0.005"
    )
    assert "other elements than run0" in refuse(network(0), network(1, elements=(8,)))
    assert refuse(network(0), network(1), network(0)).startswith("run2: has the same weights as run0")
    assert "run1: this is a committee already" in refuse(network(0), joined())
    kernel = dataclasses.replace(CONFIG, kernel="chunked")
    assert join_members([network(0), network(1, kernel)], ["a", "b"]).members == 2


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")
def test_the_command_writes_a_checkpoint_that_knows_its_data(runs, made):
    assert {path.name for path in made.iterdir()} == {"checkpoints", "calibration.json", "calibration.png"}
    found = load(made)
    assert found.members == MEMBERS
    numbers = json.loads((made / "calibration.json").read_text())
    assert numbers["mae"] == found.metadata.validation_mae
    assert numbers["scale"] == found.calibration.scale
    training, validation = runs[1].training.structures, runs[1].validation.structures
    assert sum(found.metadata.domain.atoms.values()) == sum(map(len, training))
    pairs = [found.predict(atoms, uncertainty=True) for atoms in validation]
    of_atoms = np.concatenate([sigma.mean(axis=(1, 2)) for _, sigma in pairs])
    assert found.metadata.domain.largest_sigma == pytest.approx(FAR * np.quantile(of_atoms, 0.99), rel=1e-3)
    errors = np.concatenate(
        [z - a.calc.results["born_effective_charges"] for (z, _), a in zip(pairs, validation, strict=True)]
    )
    sigmas = np.concatenate([sigma for _, sigma in pairs])
    within = [np.mean(np.abs(errors) < k * sigmas) for k in (1, 2)]
    assert within[0] > 0.68
    assert within[1] == pytest.approx(0.9545, abs=0.01)  # the wider of the two decides
    one = load(made, member=1)
    np.testing.assert_allclose(
        one.predict(validation[0]), load(runs[0] / "run1").predict(validation[0]), atol=1e-5
    )


def test_the_command_prints_the_table(runs, tmp_path, capsys):
    names = [str(runs[0] / f"run{k}") for k in range(2)]
    committee.main([*names, "-o", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert "2 members of " in said
    assert "in training, the members alone: 1.5000, 1.5000 e" in said
    for name in ("fitted   two-fold  expected", "Spearman", "domain: "):
        assert name in said
    assert re.search(r"within 1 sigma +(6[89]|[789]\d)\.", said)
    assert re.search(r"within 2 sigma +9[5-9]\.", said)
    assert f"written: {tmp_path / 'out'}" in said


def test_members_of_another_division_need_data(runs, tmp_path, complaint):
    folder, dataset = runs
    other = tmp_path / "other"
    shutil.copytree(folder / "run1", other)
    for path, names in ((folder / "run0", ["a"]), (other, ["b"])):
        (path / "split.json").write_text(json.dumps({"training": names, "validation": []}))
    words = (folder / "run0", other, "-o", tmp_path / "out")
    message = complaint(committee.main, *words)
    assert message.startswith(f"{other}: trained on another division of the data than {folder / 'run0'}")
    assert "give --data FILE" in message
    (folder / "run0" / "split.json").unlink()
    write_structures(tmp_path / "new.extxyz", list(dataset.validation.structures))
    committee.main([*map(str, words), "--data", str(tmp_path / "new.extxyz")])
    assert load(tmp_path / "out").calibration.two_fold_one is not None


def test_mistakes_are_one_line(runs, made, tmp_path, complaint):
    folder, dataset = runs
    two = (folder / "run0", folder / "run1")
    assert "not an empty folder" in complaint(committee.main, *two, "-o", made)
    write_structures(tmp_path / "one.extxyz", [dataset.validation.structures[0]])
    words = ("--data", tmp_path / "one.extxyz", "-o", tmp_path / "out")
    assert "too few structures to calibrate with: 1" in complaint(committee.main, *two, *words)
    write(tmp_path / "none.extxyz", titanate())
    words = ("--data", tmp_path / "none.extxyz", "-o", tmp_path / "out")
    assert "no Born effective charges" in complaint(committee.main, *two, *words)
    assert not (tmp_path / "out").exists()


def test_weights_that_do_not_fit_their_number_are_refused(tmp_path):
    writer = CheckpointWriter(tmp_path, "best")
    metadata = Metadata(Config(model=CONFIG), (8,), members=4)
    writer.save({"params": stack_weights([drawn(k) for k in range(2)])}, metadata)
    writer.close()
    with pytest.raises(InputError, match=r"has shape \(2,.*needs \(4,"):
        load(tmp_path)


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")
def test_deviations_are_written_as_columns(made, tmp_path, complaint):
    structures = [titanate(), titanate(2, seed=1)]
    write(tmp_path / "in.extxyz", structures)
    words = ["--checkpoint", str(made), str(tmp_path / "in.extxyz"), "--uncertainty", "-o"]
    assert "no place for standard deviations" in complaint(predict.main, *words, tmp_path / "out.traj")
    for name in ("out.csv", "out.extxyz"):
        predict.main([*words, str(tmp_path / name)])
    pairs = load(made).predict(structures, uncertainty=True)
    with (tmp_path / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    names = [f"S{a}{b}" for a in "123" for b in "123"]
    assert list(rows[0])[-9:] == names
    table = np.array([[float(row[name]) for name in names] for row in rows])
    np.testing.assert_allclose(table, np.concatenate([s for _, s in pairs]).reshape(-1, 9), rtol=1e-3)
    found = read(tmp_path / "out.extxyz", ":")
    np.testing.assert_array_equal(
        np.concatenate([atoms.arrays["born_effective_charges_std"] for atoms in found]), table
    )


def test_deviations_need_a_committee_and_are_an_option_of_the_sweep(runs, made, tmp_path, complaint):
    write(tmp_path / "in.extxyz", titanate())
    words = [tmp_path / "in.extxyz", "-o", tmp_path / "o.csv", "--checkpoint", runs[0] / "run0"]
    assert "uncertainty needs a committee" in complaint(predict.main, *words, "--uncertainty")
    assert [path.name for path in tmp_path.iterdir()] == ["in.extxyz"]


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")
def test_predict_needs_nothing_but_a_structure(shipped, tmp_path):
    atoms = titanate()
    expected = load(shipped).predict(atoms)
    np.testing.assert_array_equal(equivar_jax.predict(atoms), expected)
    np.testing.assert_array_equal(load("shipped").predict(atoms), expected)
    pairs = predict([atoms], uncertainty=True)
    np.testing.assert_array_equal(pairs[0][0], expected)
    assert load() is load() is load("shipped")
    assert load(member=0).members == 1
    assert EquivarCalculator().model is load()
    write(tmp_path / "in.extxyz", atoms)
    for words in ([], ["--checkpoint", "shipped"]):
        predict.main([str(tmp_path / "in.extxyz"), "-o", str(tmp_path / "o.csv"), *words])
        assert len((tmp_path / "o.csv").read_text().splitlines()) == 6
    with pytest.raises(InputError, match=r"never seen Na.*--allow-unseen"):
        predict(Atoms("Na"))


@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")
def test_the_shipped_weights_are_evaluated_on_data_of_yours(
    shipped, runs, tmp_path, monkeypatch, capsys, complaint
):
    monkeypatch.chdir(tmp_path)
    assert "give --data FILE" in complaint(evaluate.main)
    write_structures("data.extxyz", list(runs[1].validation.structures))
    evaluate.main(["--data", "data.extxyz"])
    said = capsys.readouterr().out
    assert re.search(r"Uncertainty: (6[89]|[789]\d)\.", said)
    result = json.loads((tmp_path / "evaluation" / "evaluation.json").read_text())
    assert result["checkpoint"] == "shipped"
    assert result["uncertainty"]["within_two"] == pytest.approx(0.9545, abs=0.01)


def test_a_checkpoint_can_be_moved_and_is_not_written_to_when_it_is_read(made, tmp_path):
    moved = tmp_path / "site-packages" / "weights"
    shutil.copytree(made, moved)

    def state():
        return sorted((path, path.stat().st_mtime_ns, path.stat().st_size) for path in moved.rglob("*"))

    for path in moved.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = state()
    assert load(moved).members == MEMBERS
    assert state() == before


def test_an_installation_without_weights_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr(weights, "files", lambda _: tmp_path)
    with pytest.raises(InputError, match=r"has no weights.*load\(RUN\), --checkpoint RUN"):
        weights.shipped_checkpoint()


def labelled_titanates():
    tensors = np.random.default_rng(0).normal(size=(3, 5, 3, 3))
    return [with_born_effective_charges(titanate(seed=k), tensors[k]) for k in range(3)]


def test_a_committee_can_be_calibrated_without_a_domain():
    result = calibrate_committee(joined(calibration=None), labelled_titanates())
    assert result.predictor.metadata.domain is None
    assert result.predictor.calibration.scale > 0
    table = committee_table(result, [network(0), network(1)], 3, 0)
    assert "calibrated on 3 structures" in table
    assert "domain" not in table


def test_the_dielectric_tensor_is_not_evaluated_without_labels():
    predictor = network(0, dataclasses.replace(CONFIG, dielectric=True))
    assert evaluate_model(predictor, labelled_titanates()).dielectric is None
