import contextlib
import dataclasses
import io
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.crystals import labelled_crystal

from equivar_jax import load, train
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config, DataConfig, ModelConfig, TrainConfig
from equivar_jax.errors import InputError
from equivar_jax.network.initial_weights import start_from_labels
from equivar_jax.reports.run_text import announce_run
from equivar_jax.structures import born_effective_charges
from equivar_jax.training import loop, start_run
from equivar_jax.training.losses import ErrorSums
from equivar_jax.training.run_directory import read_records
from equivar_jax.training.starting_point import read_starting_point, use_stored_network
from equivar_jax.training.steps import weight_shapes
from equivar_jax.weights import checkpoint
from equivar_jax.weights.checkpoint import CheckpointWriter, Metadata, read_checkpoint

NETWORK = ModelConfig(
    cutoff=3.5,
    radial_functions=8,
    embedding=4,
    channels=4,
    interactions=1,
    mean_neighbours=10.0,
    kernel="reference",
    edge_hidden=4,
    gates=True,
    self_connection=True,
    element_shift=True,
)
OXYGEN, MAGNESIUM, CALCIUM, TITANIUM = 8, 12, 20, 22


def weights_of(seed, network=NETWORK):
    """Random weights, without zeros that could agree by accident."""
    shapes = weight_shapes(network)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes)


def write_weights(folder, params, network=NETWORK, elements=(OXYGEN, MAGNESIUM, TITANIUM), **more):
    writer = CheckpointWriter(folder, "best")
    writer.save({"params": params}, Metadata(Config(model=network), elements, {"structures": 7}, **more))
    writer.close()
    return folder


@pytest.fixture
def pretrained(tmp_path):
    return write_weights(tmp_path / "pretrained", weights_of(0))


def configured(data, start, model=None, **settings):
    shipped = load_config("finetune")
    settings = {"epochs": 2, "schedule": "constant", "start_from": str(start), **settings}
    return Config(
        DataConfig(path=str(data)),
        model or ModelConfig(kernel="reference"),
        dataclasses.replace(shipped.train, **settings),
    )


def with_settings(config, **settings):
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **settings))


def run(*words):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        train.main([str(word) for word in words])
    return output.getvalue()


def same(first, second):
    jax.tree.map(np.testing.assert_array_equal, first, second)


def test_it_starts_from_exactly_the_weights_and_with_their_network(labelled_file, pretrained, tmp_path):
    config = configured(labelled_file, pretrained, ModelConfig(kernel="chunked"))
    started = start_run(config, tmp_path / "run")
    same(started.state.params, weights_of(0))
    same(started.state.ema, weights_of(0))
    assert started.plan.config.model == dataclasses.replace(NETWORK, kernel="chunked")
    assert started.plan.config.train == config.train
    assert started.progress.elements == (OXYGEN, MAGNESIUM, TITANIUM)
    validation = started.plan.dataset.validation.structures
    found = load(pretrained).predict(list(validation))
    errors = [np.abs(z - born_effective_charges(atoms)) for z, atoms in zip(found, validation, strict=True)]
    assert loop.validate(started) == pytest.approx(np.concatenate(errors).mean(), abs=1e-5)


@pytest.mark.slow  # real training
def test_at_no_rate_a_run_validates_as_the_one_that_it_starts_from(trained, tmp_path):
    words = ("--config", "finetune.py", "--train.start_from", trained.folder, "--run-dir", tmp_path / "run")
    data = ("--data.demonstration.perovskites", 12, "--train.batch_size", 4)
    rates = ("--train.learning_rate", 1e-12, "--train.final_learning_rate", 1e-12, "--train.epochs", 1)
    output = run(*words, *data, *rates)
    assert f"starts from the weights in {trained.folder} (10 structures," in output
    (record,) = read_records(tmp_path / "run")
    before = read_checkpoint(trained.folder)[1]
    assert record["validation_mae"] == pytest.approx(before.validation_mae, abs=1e-5)
    after = read_checkpoint(tmp_path / "run")[1]
    assert after.config.model == before.config.model
    assert after.config.train.start_from == str(trained.folder)


@pytest.mark.parametrize(
    ("config", "words", "found"),
    [
        ("finetune.py", ("--model.channels", 64), "--model.channels is 64, but"),  # the default, but named
        ("finetune.py", ("--model.mean_neighbours", "None"), "--model.mean_neighbours is None, but"),
        ("finetune.py", ("--model.gates=False",), "--model.gates is False, but"),
        ("bm2.py", (), "--model.channels is 32, but"),
    ],
)
def test_a_setting_that_contradicts_the_weights_is_refused(
    config, words, found, labelled_file, pretrained, complaint
):
    start = ("--config", config, "--data", labelled_file, "--train.start_from", pretrained)
    message = complaint(train.main, *start, *words)
    assert message.startswith(found)
    assert f"the network of the weights in {pretrained} has " in message
    assert "leave it out" in message


def test_what_agrees_with_the_weights_may_be_said():
    config = Config(model=ModelConfig(channels=4, gates=True, kernel="reference"))
    assert use_stored_network(config, NETWORK, "there", {"model.channels"}) == Config(model=NETWORK)
    assert use_stored_network(Config(model=NETWORK), NETWORK, "there").model == NETWORK
    with pytest.raises(InputError, match=r"--model\.cutoff is 3\.0, but .* in there has 3\.5"):
        use_stored_network(config, NETWORK, "there", {"model.cutoff"})


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_a_place_without_weights_is_named(place, labelled_file, tmp_path, complaint):
    folder = tmp_path / place
    words = ("--config", "finetune.py", "--data", labelled_file, "--train.start_from", folder)
    message = complaint(train.main, *words, "--run-dir", tmp_path / "run")
    assert message.startswith(f"--train.start_from {folder}: no ")
    assert not (tmp_path / "run").exists()


def test_elements_that_are_new_start_from_their_relatives_and_the_labels(labelled_file, tmp_path):
    stored = weights_of(3)
    start = write_weights(tmp_path / "start", stored, elements=(OXYGEN, CALCIUM))
    started = start_run(configured(labelled_file, start), tmp_path / "run")
    assert started.progress.elements == (OXYGEN, MAGNESIUM, CALCIUM, TITANIUM)
    assert any("never seen Mg Ti" in remark for remark in started.remarks)
    old, new = stored["params"], started.state.params["params"]
    labelled = start_from_labels(stored, started.plan.dataset.training)["params"]
    rest = [k for k in range(NETWORK.species) if k not in (MAGNESIUM, TITANIUM)]
    for before, after in (
        (old["embedding"], new["embedding"]),
        (old["interaction_0"]["self_factors"], new["interaction_0"]["self_factors"]),
    ):
        np.testing.assert_array_equal(after[MAGNESIUM], before[CALCIUM])  # of one group
        mean = (before[OXYGEN] + before[CALCIUM]) / 2
        np.testing.assert_allclose(after[TITANIUM], mean, rtol=1e-6)
        np.testing.assert_array_equal(np.asarray(after)[rest], before[rest])
    for name in ("element_shift", "element_scale"):
        for number in (MAGNESIUM, TITANIUM):
            assert new[name][number] == labelled[name][number] != old[name][number]
        np.testing.assert_array_equal(np.asarray(new[name])[rest], old[name][rest])
    same(new["lin1_weight"], old["lin1_weight"])
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        announce_run(started)
    assert "note  the weights have never seen Mg Ti" in output.getvalue()


def test_new_elements_need_no_tables_in_the_readout(labelled_file, tmp_path):
    network = dataclasses.replace(NETWORK, element_shift=False)
    stored = weights_of(3, network)
    start = write_weights(tmp_path / "start", stored, elements=(OXYGEN, CALCIUM), network=network)
    new = start_run(configured(labelled_file, start), tmp_path / "run").state.params["params"]
    np.testing.assert_array_equal(new["embedding"][MAGNESIUM], stored["params"]["embedding"][CALCIUM])
    assert new.keys() == stored["params"].keys()


def test_seeds_start_from_the_members_of_a_committee_in_turn(tmp_path):
    members = [weights_of(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *members)
    start = write_weights(tmp_path / "committee", stacked, members=3)
    for seed in (0, 1, 2, 4):
        found = read_starting_point(TrainConfig(start_from=str(start), seed=seed))
        same(found.params, members[seed % 3])


def test_the_shipped_weights_are_a_word(pretrained, monkeypatch):
    monkeypatch.setattr(checkpoint, "shipped_checkpoint", lambda: pretrained)
    assert load_config("finetune").train.start_from == "shipped"
    same(read_starting_point(TrainConfig(start_from="shipped")).params, weights_of(0))
    assert read_starting_point(TrainConfig()) is None


def test_the_averaged_weights_of_a_last_state_are_taken(trained):
    last = trained.folder / "checkpoints" / "last"
    found = read_starting_point(TrainConfig(start_from=str(last)))
    same(found.params, read_checkpoint(last)[0]["ema"])


def test_a_readout_that_the_run_does_not_train_is_left_out(labelled_file, tmp_path):
    network = dataclasses.replace(NETWORK, dielectric=True)
    stored = weights_of(1, network)
    start = write_weights(tmp_path / "start", stored, network)
    started = start_run(configured(labelled_file, start), tmp_path / "run")
    kept = {name: leaf for name, leaf in stored["params"].items() if not name.startswith("dielectric_")}
    same(started.state.params["params"], kept)
    assert not started.plan.config.model.dielectric
    assert any("is left out (--model.dielectric True keeps it)" in remark for remark in started.remarks)


def test_weights_of_another_shape_are_refused(labelled_file, tmp_path):
    wrong = write_weights(tmp_path / "wrong", weights_of(0), dataclasses.replace(NETWORK, channels=5))
    with pytest.raises(InputError, match=r"wrong: weight .* the checkpoint is of another architecture"):
        start_run(configured(labelled_file, wrong), tmp_path / "run")


@pytest.mark.slow  # real training
def test_a_frozen_fine_tuning_goes_on_without_the_weights_that_it_started_from(
    labelled_file, pretrained, tmp_path
):
    config = configured(labelled_file, pretrained, freeze="elements", keep="last", warmup_epochs=0.0)
    assert loop.run_training(start_run(config, tmp_path / "through")) is None
    shorter, run = with_settings(config, epochs=1), tmp_path / "run"
    assert loop.run_training(start_run(shorter, run)) is None
    shutil.rmtree(pretrained)
    for change, found in (
        ({"freeze": "nothing"}, "began with --train.freeze elements, not nothing; start a new run"),
        ({"start_from": None}, "was trained on other|of another architecture|began with"),
    ):
        with pytest.raises(InputError, match=found):
            start_run(with_settings(read_checkpoint(run)[1].config, epochs=2, **change), run, resume=True)
    assert loop.run_training(start_run(config, run, resume=True)) is None

    for which in ("best", "last"):
        resumed, through = (read_checkpoint(tmp_path / name, which) for name in ("run", "through"))
        same(resumed[0], through[0])
        assert resumed[1] == through[1]
    (best, metadata), (last, progress) = (read_checkpoint(run, which) for which in ("best", "last"))
    same(best["params"], last["ema"])
    maes = [record["validation_mae"] for record in read_records(run)]
    assert (metadata.epoch, metadata.validation_mae, progress.best_validation_mae) == (2, maes[-1], min(maes))
    old, new = weights_of(0)["params"], best["params"]["params"]
    for name in ("embedding", "species_basis"):
        same(new[name], old[name])
    assert not np.array_equal(new["lin1_weight"], old["lin1_weight"])
    assert "weights of the last epoch" in (run / "README.md").read_text()
    assert load(run).predict(labelled_crystal()).shape == (3, 3, 3)


def test_the_weights_of_the_last_epoch_are_kept_if_asked_for(
    labelled_file, pretrained, tmp_path, monkeypatch
):
    errors = iter([0.1, 0.3, 0.2, 0.4])
    monkeypatch.setattr(loop, "validate", lambda _: next(errors))
    found = {}
    for keep in ("best", "last"):
        started = start_run(configured(labelled_file, pretrained, keep=keep), tmp_path / keep)
        steps = started.plan.steps._replace(
            train=lambda state, _: state.replace(sums=ErrorSums(jnp.ones(()), jnp.ones(())))
        )
        started.plan = dataclasses.replace(started.plan, steps=steps)
        assert loop.run_training(started) is None
        metadata = read_checkpoint(tmp_path / keep)[1]
        assert metadata.validation_mae == loop.kept_validation_mae(started)
        found[keep] = (metadata.epoch, metadata.validation_mae, metadata.best_validation_mae)
    assert found == {"best": (1, 0.1, 0.1), "last": (2, 0.4, 0.2)}
