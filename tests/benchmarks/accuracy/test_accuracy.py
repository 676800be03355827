import dataclasses
import json
import signal
from types import SimpleNamespace

import numpy as np
import pytest
from helpers.crystals import labelled_crystal, written

from benchmarks.accuracy import __main__ as accuracy
from benchmarks.accuracy import data as accuracy_data
from benchmarks.accuracy import engine as accuracy_engine
from benchmarks.accuracy import protocols as accuracy_protocols
from benchmarks.accuracy import report as accuracy_report
from benchmarks.accuracy.data import demonstration_counts, limit_data, list_sources, with_data
from benchmarks.accuracy.protocols import PROTOCOLS, Request
from benchmarks.accuracy.result_file import keep_row, read_rows
from benchmarks.accuracy.rows import Row, run_name
from benchmarks.real_data.__main__ import change_part_by_part, earlier_deep, taught_rows
from benchmarks.real_data.mean_of_seeds import add_means_of_seeds
from benchmarks.real_data.parts import TEST_FRAMES
from equivar_jax.config.files import load_config
from equivar_jax.datasets import demonstration_set
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.structures import born_effective_charges, with_born_effective_charges
from equivar_jax.training import loop
from equivar_jax.training.loop import NotFiniteError
from equivar_jax.training.run_directory import read_records

pytestmark = [
    pytest.mark.filterwarnings(f"ignore::equivar_jax.{name}")
    for name in ("predict.UnseenElementWarning", "uncertainty.domain.DomainWarning")  # of tiny training sets
]


def tiny(**changed):
    """`configs/test.py` with one interaction, which compiles fast."""
    config = load_config("test")
    train = dataclasses.replace(config.train, epochs=changed.pop("epochs", 2), seed=changed.pop("seed", 0))
    model = dataclasses.replace(config.model, interactions=1, kernel="chunked")  # no C++ to compile
    return dataclasses.replace(config, model=model, train=train)


def row(**changed):
    return Row("tiny, seed 0", tiny(**changed), {"variant": "tiny"})


@pytest.fixture(scope="module")
def finished(tmp_path_factory, cache_folder):
    """One row of the command line, with fresh structures to test on."""
    folder = tmp_path_factory.mktemp("accuracy")
    test = written(folder / "held out.extxyz", list(demonstration_set(2, seed=1, progress=False)))
    words = ["small", "--config", "test.py", "--epochs", "2", "--structures", "12", "--test", test]
    words += ["--model.interactions", "1", "--model.kernel", "chunked"]
    words += ["--runs", f"{folder}/runs", "--output", f"{folder}/small.json"]
    accuracy.main(words)
    return SimpleNamespace(folder=folder, words=words, output=folder / "small.json")


@pytest.fixture
def no_training(monkeypatch):
    """Whoever trains fails."""

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(accuracy_engine, "start_run", refuse)


def test_a_row_says_what_was_run_and_what_came_of_it(finished):
    content = read_rows(finished.output)
    assert content["protocol"] == "small"
    assert "not DFT" in content["data"]
    (found,) = content["rows"]
    assert found["label"] == "test, seed 0"
    assert found["command"].startswith("python -m benchmarks.accuracy small --config test.py")
    assert (found["seed"], found["epochs"]) == (0, 2)
    assert found["structures"] == {"training": 10, "validation": 2}
    assert found["config"]["model"]["interactions"] == 1
    assert found["config"]["data"]["demonstration"]["perovskites"] == 12
    assert found["parameters"] > 1000
    assert found["training_seconds"] > 0
    assert {"processor", "device", "versions", "commit"} <= set(found["machine"])
    test = found["tests"]["held out.extxyz"]
    assert test["structures"] == 2
    for report in (found["validation"], test):
        assert 0 < report["overall"]["mae"] < report["overall"]["rmse"]
        assert report["drift"]["structures"] == 2
    folder = finished.folder / "runs" / found["run"]
    for name, report in (("validation", found["validation"]), ("test-held-out.extxyz", test)):
        whole = json.loads((folder / f"{name}.json").read_text())
        assert "O" in whole.pop("elements")  # the row does without: no table reads them
        assert whole.items() <= report.items()
        assert "elements" not in report
    records = read_records(folder)
    assert [record["epoch"] for record in records] == [1, 2]
    assert found["best_epoch"] == min(records, key=lambda record: record["validation_mae"])["epoch"]
    assert found["config"]["model"]["mean_neighbours"] > 1


def test_a_config_is_written_as_its_difference_from_defaults_that_stand_in_the_file(finished):
    written_row = json.loads(finished.output.read_text())["rows"][0]
    assert written_row["config"]["model.interactions"] == 1
    assert "model.envelope" not in written_row["config"]
    config = load_config("test")
    whole = read_rows(finished.output)["rows"][0]["config"]
    assert set(whole["model"]) == {field.name for field in dataclasses.fields(config.model)}
    assert whole["data"]["hygiene"] == dataclasses.asdict(config.data.hygiene)


def config_of(**model):
    """As `to_dict` gives it, of a version that may have other settings."""
    return {"model": {"channels": 64, "cutoff": 3.0, **model}, "train": {"epochs": 500, "loss": "l1"}}


def test_what_a_row_was_run_with_stays_true_in_later_versions(tmp_path, monkeypatch):
    """A default changes, a setting comes, another goes; a row is replaced."""
    output, head = tmp_path / "rows.json", {"protocol": "run", "data": "few"}
    defaults, kept = config_of(), {}

    def keep(label, config):
        kept[label] = config
        keep_row(output, head, {"label": label, "config": config})
        assert {row["label"]: row["config"] for row in read_rows(output)["rows"]} == kept

    monkeypatch.setattr("benchmarks.accuracy.result_file.to_dict", lambda _: defaults)
    keep("first", config_of(channels=32))
    assert json.loads(output.read_text())["rows"][0]["config"] == {"model.channels": 32}
    defaults = config_of(channels=32, gates=True)
    del defaults["train"]["loss"]
    keep("second", defaults)
    keep("third", config_of(channels=64, gates=1))  # which is not True
    keep("first", config_of(cutoff=None))
    assert [row["label"] for row in read_rows(output)["rows"]] == ["first", "second", "third"]
    assert {name: read_rows(output)[name] for name in head} == head


def test_errors_of_elements_are_kept_where_a_table_reads_them(tmp_path):
    output, report = tmp_path / "rows.json", {"overall": 1, "elements": {"O": 1}}
    crossed = {"label": "crossed", "validation": report, "cross_validation": {"folds": [report]}}
    for one in (crossed, {"label": "plain", "validation": report, "tests": {"test": report}}):
        keep_row(output, {}, one)
    first, second = read_rows(output)["rows"]
    assert first == crossed
    assert second == {"label": "plain", "validation": {"overall": 1}, "tests": {"test": {"overall": 1}}}


def test_finished_rows_are_skipped(finished, no_training, capsys):
    before = finished.output.read_text()
    accuracy.main(finished.words)
    assert "finished" in capsys.readouterr().out
    assert finished.output.read_text() == before


def test_other_settings_under_the_same_label_are_refused(finished, no_training, complaint):
    words = [*finished.words, "--train.learning_rate", "0.001"]
    assert "with other settings" in complaint(accuracy.main, *words)


def test_the_report_is_made_of_the_files(finished):
    accuracy.main(["drift", "--output", str(finished.folder / "drift.json")])
    accuracy.main(["report", "--output", str(finished.folder / "any.json")])
    text = (finished.folder / "README.md").read_text()
    (found,) = read_rows(finished.output)["rows"]
    assert f"{found['validation']['overall']['mae']:.4f}" in text
    assert f"{found['tests']['held out.extxyz']['overall']['mae']:.4f}" in text
    assert f"{found['validation']['drift']['per_cell_mean']:.4f}" in text
    assert found["command"] in text
    assert "| published | 131k | 224 in all |  |  | 0.0117 |" in text
    assert "polarisable-ion model, not from DFT" in text
    drift = read_rows(finished.folder / "drift.json")
    assert [one["set"] for one in drift["rows"]] == ["validation", "held out.extxyz"]


@pytest.mark.slow  # real training
def test_an_interrupted_row_goes_on_and_a_test_set_can_come_later(tmp_path, monkeypatch):
    begun = []

    def one_epoch(run):
        begun.append(run.progress.epoch)
        config = run.plan.config
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=1))
        run.plan = dataclasses.replace(run.plan, config=config)
        assert loop.run_training(run) is None
        return signal.SIGTERM

    def to_the_end(run):
        begun.append(run.progress.epoch)
        return loop.run_training(run)

    output = tmp_path / "rows.json"
    monkeypatch.setattr(accuracy_engine, "run_training", one_epoch)
    assert accuracy_engine.run_rows([row()], output, tmp_path) is signal.SIGTERM
    assert not output.exists()
    monkeypatch.setattr(accuracy_engine, "run_training", to_the_end)
    assert accuracy_engine.run_rows([row()], output, tmp_path) is None
    assert begun == [0, 1]
    (found,) = read_rows(output)["rows"]
    assert [record["epoch"] for record in read_records(tmp_path / found["run"])] == [1, 2]
    tests = {"later": list(demonstration_set(1, seed=2, progress=False))}
    accuracy_engine.run_rows([row()], output, tmp_path, tests=tests)
    (again,) = read_rows(output)["rows"]
    assert begun == [0, 1]
    assert again["validation"] == found["validation"]
    assert again["tests"]["later"]["structures"] == 1


def test_a_diverged_row_is_kept_and_not_tried_again(tmp_path, monkeypatch):
    def diverge(run):
        raise NotFiniteError("the loss is nan")

    monkeypatch.setattr(accuracy_engine, "run_training", diverge)
    output = tmp_path / "small.json"
    for _ in range(2):
        assert accuracy_engine.run_rows([row()], output, tmp_path, protocol="small") is None
    (found,) = read_rows(output)["rows"]
    assert found["failed"] == "the loss is nan"
    assert "1 diverged" in accuracy_report.make_section(output)


def test_a_full_disk_is_no_result_of_a_row(tmp_path, monkeypatch):
    def fill(run):
        raise InputError("the disk is full")

    monkeypatch.setattr(accuracy_engine, "run_training", fill)
    output = tmp_path / "small.json"
    with pytest.raises(InputError, match="the disk is full"):
        accuracy_engine.run_rows([row()], output, tmp_path, protocol="small")
    assert not output.exists()


@pytest.mark.slow  # real training
def test_the_mean_of_seeds_is_a_row_of_its_own(tmp_path):
    test = list(demonstration_set(2, seed=1, progress=False))
    written(tmp_path / "few-test.extxyz", test)
    facts = {"variant": "few, BM3", "set": "few"}
    rows = [Row(f"few, BM3, seed {k}", tiny(seed=k, epochs=1), facts, {"test": test}) for k in (0, 1)]
    output, runs = tmp_path / "real_targets.json", tmp_path / "runs"
    accuracy_engine.run_rows(rows, output, runs, protocol="targets")
    for _ in range(2):
        add_means_of_seeds(output, runs, tmp_path, (), "the command")
    *single, mean = read_rows(output)["rows"]
    assert len(single) == 2
    assert mean["label"] == "few, BM3, mean of 2"
    assert mean["parameters"] == 2 * single[0]["parameters"]
    assert mean["seeds"] == [0, 1]
    errors = [row["tests"]["test"]["overall"]["mae"] for row in (*single, mean)]
    assert errors[2] < np.mean(errors[:2])  # the mean of tensors is never worse than the mean of errors
    assert "| few, BM3, mean of 2 | " in accuracy_report.make_section(output)
    with pytest.raises(InputError, match="no BM3 of two seeds"):
        add_means_of_seeds(output, runs, tmp_path, ("many",), "the command")


def test_a_run_is_named_by_what_changes_it(tmp_path):
    output = tmp_path / "rows.json"
    assert run_name(row(), output) == run_name(row(), tmp_path / "elsewhere" / "rows.json")
    assert run_name(row(), output) != run_name(row(epochs=3), output)
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    split = [dataclasses.replace(tiny().data, split_path=str(path)) for path in paths]
    split = [Row("", dataclasses.replace(tiny(), data=data)) for data in split]
    for path in paths:
        path.write_text('{"training": ["a"], "validation": ["b"]}')
    assert run_name(split[0], output) == run_name(split[1], output)
    paths[1].write_text('{"training": ["b"], "validation": ["a"]}')
    assert run_name(split[0], output) != run_name(split[1], output)


@pytest.mark.parametrize("name", ["bm3", "bm3_deep"])
def test_an_ablation_turns_every_part_off_or_on(name):
    base = load_config(name)
    whole, *changed = change_part_by_part(name, base)
    assert whole.config == base
    assert len({row.label for row in changed}) == len(changed) == 7
    for one in changed:
        way, part = one.label.partition(",")[0].split()
        assert bool(getattr(base.model, part)) == (way == "without")
        assert bool(getattr(one.config.model, part)) == (way == "with")


def test_taught_rows_are_trained_on_labels_of_the_teacher_and_tested_as_the_others(tmp_path):
    for name in TEST_FRAMES:
        written(tmp_path / f"{name}-test.extxyz", list(demonstration_set(2, seed=1, progress=False)))
    rows = list(taught_rows(tmp_path, 3))
    assert [row.facts["set"] for row in rows] == list(TEST_FRAMES)
    for row, name in zip(rows, TEST_FRAMES, strict=True):
        assert row.label == f"{name}, BM3 taught, seed 3"
        assert row.config.train.seed == 3
        assert row.config.train.keep == "last"  # the training frames cannot choose
        assert row.config.data.path == str(tmp_path / f"{name}-taught.extxyz")
        assert row.config.data.validation_path == str(tmp_path / f"{name}-train.extxyz")
        model = dataclasses.replace(row.config.model, channels=earlier_deep().model.channels)
        assert model == earlier_deep().model
        assert len(row.tests["test"]) == 2


def test_a_fine_tuning_is_named_by_the_weights_that_the_package_has(tmp_path, monkeypatch):
    train = dataclasses.replace(tiny().train, start_from="shipped")
    tuned = Row("", dataclasses.replace(tiny(), train=train))
    (tmp_path / "weights").write_text("some")
    monkeypatch.setattr("equivar_jax.weights.shipped_checkpoint", lambda: tmp_path)
    before = run_name(tuned, tmp_path / "rows.json")
    assert run_name(tuned, tmp_path / "rows.json") == before
    (tmp_path / "weights").write_text("others")
    assert run_name(tuned, tmp_path / "rows.json") != before


def test_cross_validations_have_no_other_tests(tmp_path):
    crossed = dataclasses.replace(row(), cross_validated=True)
    with pytest.raises(InputError, match="validated by its folds"):
        accuracy_engine.run_rows([crossed], tmp_path / "rows.json", tmp_path, tests={"more": []})


@pytest.fixture
def few(monkeypatch):
    """Few structures to test on."""
    monkeypatch.setattr(accuracy_protocols, "FRESH_TESTS", 3)
    monkeypatch.setattr(accuracy_data, "SUPERCELLS", {(2, 1, 1): 2})


def rows_of(protocol, tmp_path, counts, structures=None, seeds=(0,), path=None, kind_key=None):
    config = with_data(tiny(), path, None, counts)
    request = Request({"tiny": config}, seeds, structures, kind_key, tmp_path / "splits")
    return list(PROTOCOLS[protocol].rows(request))


def parts(config):
    dataset = load_dataset(config)
    return [set(list_sources(part.structures)) for part in (dataset.training, dataset.validation)]


def test_table1_holds_the_same_structures_of_a_kind_out_of_every_model(few, tmp_path):
    with pytest.raises(InputError, match="no ZrO2 in one of the parts"):
        rows_of("table1", tmp_path, (6, 6, 1))
    rows = rows_of("table1", tmp_path, (15, 15, 15))
    labels = [f"tiny {kind}, seed 0" for kind in ("perovskite", "Li3PO4", "ZrO2", "all")]
    assert sorted(found.label for found in rows) == sorted(labels)
    *single, combined = rows
    training, validation = parts(combined.config)
    found = [parts(one.config) for one in single]
    assert set.union(*(one[0] for one in found)) == training
    assert set.union(*(one[1] for one in found)) == validation
    for one, (_, held_out) in zip(single, found, strict=True):
        kind = one.facts["trained_on"]
        assert set(list_sources(one.tests[f"{kind}, validation"])) == held_out
        assert {kind} == {str(atoms.info["group"]).split()[0] for atoms in one.tests[f"{kind}, fresh"]}
    assert len(combined.tests) == 6


def test_kinds_of_a_file_are_named_by_a_key(few, tmp_path):
    crystals = [labelled_crystal(seed) for seed in range(12)]
    path = written(tmp_path / "my.extxyz", crystals, sort=["a", "b"] * 6)
    with pytest.raises(InputError, match="--kind-key"):
        rows_of("table1", tmp_path, (), path=path)
    rows = rows_of("table1", tmp_path, (), path=path, kind_key="sort")
    assert {found.facts["trained_on"] for found in rows} == {"a", "b", "all"}


def test_one_setting_is_changed_at_a_time(tmp_path):
    rows = rows_of("hyperparameters", tmp_path, (12, 0, 0), seeds=(0, 1))
    base, others = rows[0].config, rows[2:]
    for found in others:
        train = dataclasses.replace(base.train, seed=found.config.train.seed)
        seeded = dataclasses.replace(base, train=train)
        setting, value = found.facts["setting"], found.facts["value"]
        assert accuracy_protocols.with_setting(seeded, setting, value) == found.config
        assert found.config != seeded
    assert len({found.label for found in rows}) == len(rows)
    changes = {(found.facts["setting"], found.facts["value"]) for found in others}
    assert {("interactions", 12), ("learning_rate", 0.02), ("envelope", True)} <= changes
    assert {("interactions", 1), ("channels", 16), ("learning_rate", 0.005)}.isdisjoint(changes)


def test_the_learning_curve_nests_its_parts_and_keeps_the_number_of_steps(tmp_path):
    rows = rows_of("learning_curve", tmp_path, (15, 0, 0), structures=(3, 6, 12))
    found = [parts(one.config) for one in rows]
    assert [len(training) for training, _ in found] == [3, 6, 12]
    assert found[0][0] < found[1][0] < found[2][0]
    assert found[0][1] == found[1][1] == found[2][1]
    assert [one.config.train.epochs for one in rows] == [8, 4, 2]


def test_supercells_have_vacancies_and_the_labels_of_the_model(few, tmp_path):
    (found,) = rows_of("transfer", tmp_path, (0, 6, 0))
    assert list(found.tests) == ["fresh, 1x1x1", "2x1x1"]
    for atoms in found.tests["2x1x1"]:
        assert 64 - 2 * 3 <= len(atoms) < 64
        assert (atoms.numbers == 15).sum() == 8
        assert (atoms.numbers == 3).sum() < 48
        tensors = born_effective_charges(atoms)
        np.testing.assert_allclose(tensors.sum(axis=0), 0, atol=1e-10)
        assert abs(tensors[atoms.numbers == 3].trace(axis1=1, axis2=2).mean() / 3 - 1.05) < 0.1


def test_small_cells_of_a_file_are_trained_on_and_large_ones_tested_on(tmp_path):
    crystals = [labelled_crystal(seed) for seed in range(10)]
    large = []
    for unit in (labelled_crystal(seed) for seed in range(20, 26)):
        tensors = born_effective_charges(unit)
        doubled = with_born_effective_charges(unit.repeat((2, 1, 1)), np.concatenate([tensors, tensors]))
        large.append(doubled)
    path = written(tmp_path / "sizes.extxyz", crystals + large)
    (found,) = rows_of("transfer", tmp_path, (), path=path)
    assert found.facts["largest_trained_on"] == 3
    dataset = load_dataset(found.config)
    assert {len(atoms) for part in (dataset.training, dataset.validation) for atoms in part.structures} == {3}
    assert sum(map(len, found.tests.values())) == 6


def test_a_part_of_a_file_can_be_asked_for(tmp_path):
    path = written(tmp_path / "all.extxyz", [labelled_crystal(seed) for seed in range(20)])
    config = limit_data(with_data(tiny(), path, None, ()), 10, tmp_path)
    training, validation = parts(config)
    assert (len(training), len(validation)) == (8, 2)
    assert training.isdisjoint(validation)
    with pytest.raises(InputError, match="the data have 20"):
        limit_data(with_data(tiny(), path, None, ()), 21, tmp_path)


def test_counts_of_the_demonstration_set():
    assert demonstration_counts(None, (224, 0, 0)) == [224, 0, 0]
    assert demonstration_counts([8], (200, 0, 200)) == [8, 0, 8]
    assert demonstration_counts([1, 2, 3], (200, 0, 0)) == [1, 2, 3]
    with pytest.raises(InputError, match="got 2 numbers"):
        demonstration_counts([1, 2], (1, 1, 1))


def test_every_protocol_has_a_section():
    assert set(PROTOCOLS) - {"run"} <= set(accuracy_report.SECTIONS)
