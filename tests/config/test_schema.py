import copy
import dataclasses
import json
import math
from typing import get_args

import pytest

from equivar_jax.config import files as module
from equivar_jax.config.files import load_config, shipped_configs
from equivar_jax.config.schema import (
    Config,
    DataConfig,
    DemonstrationConfig,
    HygieneConfig,
    ModelConfig,
    TrainConfig,
    check_config,
)
from equivar_jax.config.settings import (
    did_you_mean,
    from_dict,
    setting_bounds,
    setting_types,
    to_dict,
)
from equivar_jax.errors import InputError

HEAD = "from equivar_jax.config import *\n"


def test_the_shipped_configs_are_there():
    assert {"bm1.py", "bm2.py", "finetune.py", "quickstart.py", "test.py"} <= shipped_configs().keys()


@pytest.mark.parametrize("name", ["bm2.py", "bm2"])
def test_a_shipped_config_is_found_by_name_from_any_directory(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = load_config(name)
    assert (config.model.channels, config.train.epochs) == (32, 500)


def test_in_a_wheel_the_configs_lie_inside_the_package(tmp_path, monkeypatch):
    package = tmp_path / "equivar_jax"
    (package / "configs").mkdir(parents=True)
    (package / "configs" / "mine.py").write_text(HEAD + "def get_config(): return Config()\n")
    monkeypatch.setattr(module, "__file__", str(package / "config" / "files.py"))
    assert load_config("mine") == Config()
    (package / "configs" / "mine.py").unlink()
    (package / "configs").rmdir()
    assert shipped_configs() == {}


def test_a_file_of_ones_own_is_found_by_path_and_comes_first(tmp_path, monkeypatch):
    (tmp_path / "bm2.py").write_text(
        HEAD + "def get_config(): return Config(model=ModelConfig(channels=7))\n"
    )
    assert load_config(str(tmp_path / "bm2.py")).model.channels == 7
    monkeypatch.chdir(tmp_path)
    assert load_config("bm2.py").model.channels == 7


@pytest.mark.parametrize("config", [load_config(name) for name in shipped_configs()])
def test_every_shipped_config_is_sound_and_survives_json(config):
    check_config(config)
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


def test_every_setting_survives_json():
    config = Config(
        DataConfig(
            path="a.extxyz",
            key="bec",
            first_index="displacement",
            validation_path="b.extxyz",
            split="block",
            split_path="split.json",
            validation_fraction=0.3,
            folds=5,
            fold=2,
            split_seed=4,
            group_key="group",
            hygiene=HygieneConfig(enabled=False),
            demonstration=DemonstrationConfig(1, 2, 3, 4),
        ),
        ModelConfig(
            *(4.5, 16, True, 60, 8, 4, 2, 7.25, "polarisation", "reference"),
            edge_hidden=8,
            periodic_table=True,
            node_products=True,
            gates=True,
            self_connection=True,
            element_shift=True,
            dielectric=True,
        ),
        TrainConfig(
            *(9, 2, 0.1, "constant", 0.01, 2.5, 0.3, None, 0.99, 0.05, 8, 3.0, 0.7),
            start_from="runs/mine",
            freeze="elements",
            keep="last",
            optimizer="muon",
        ),
    )
    for name in ("data", "model", "train"):
        for field in dataclasses.fields(getattr(config, name)):
            assert getattr(getattr(config, name), field.name) != field.default
    assert from_dict(Config, json.loads(json.dumps(to_dict(config)))) == config


@pytest.mark.parametrize(
    ("place", "key", "nearest"),
    [((), "modle", "model"), (("train",), "epoch", "epochs"), (("data", "demonstration"), "sede", "seed")],
)
def test_unknown_stored_settings_are_refused_and_the_nearest_is_named(place, key, nearest):
    values = to_dict(Config())
    inner = values
    for name in place:
        inner = inner[name]
    inner[key] = 1
    with pytest.raises(InputError, match=f"unknown setting '{key}'; did you mean '{nearest}'") as caught:
        from_dict(Config, values, "RUN: config")
    assert str(caught.value).startswith(".".join(["RUN: config", *place]))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("x = 1\n", r"defines no get_config\(\)"),
        ("def get_config(): return 3\n", "gave int, expected equivar_jax.config.schema.Config"),
        ("def get_config(:\n", "invalid syntax"),
        (
            "def get_config():\n    return Config(train=TrainConfig(epoch=3))\n",
            "line 3: unknown setting 'epoch'; did you mean 'epochs'",
        ),
        ("import nothing_of_this_name\n", "line 2: No module named 'nothing_of_this_name'"),
    ],
)
def test_a_faulty_config_file_is_one_clear_line(tmp_path, text, found):
    path = tmp_path / "mine.py"
    path.write_text(HEAD + text)
    with pytest.raises(InputError, match=found) as caught:
        load_config(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_an_unknown_config_names_the_shipped_ones_and_the_nearest():
    with pytest.raises(InputError, match=r"bm9\.py: no such config file.*bm1\.py, bm2\.py.*did you mean 'bm"):
        load_config("bm9.py")


@pytest.mark.parametrize(
    ("setting", "value", "found"),
    [
        ("model.cutoff", 0.0, "not above zero"),
        ("model.cutoff", math.inf, "not finite"),
        ("model.cutoff", math.nan, "not finite"),
        ("model.radial_functions", 1, "give 2 or more"),
        ("model.channels", 0, "give 1 or more"),
        ("model.interactions", -1, "give 1 or more"),
        ("model.mean_neighbours", 0.0, "not above zero"),
        ("model.kernel", "fast", "'fast', expected one of auto, native, chunked, reference"),
        ("train.epochs", 0, "give 1 or more"),
        ("train.epochs", "20", "'20', expected an integer"),
        ("train.epochs", 2.0, "expected an integer"),
        ("train.epochs", True, "expected an integer"),
        ("train.learning_rate", -0.1, "not above zero"),
        ("train.gradient_clip", 0.0, "not above zero"),
        ("train.schedule", "step", "'step', expected one of cosine"),
        ("train.freeze", "all", "'all', expected one of nothing, elements, interactions"),
        ("train.keep", "first", "'first', expected one of best, last"),
        ("train.start_from", 3, "expected a text or None"),
        ("train.ema_decay", 1.0, "not between 0 and 1"),
        ("train.seed", -1, "give 0 or more"),
        ("model.gates", 1, "expected True or False"),
        ("data.validation_fraction", 1.0, "not between 0 and 1"),
        ("data.split_seed", -3, "give 0 or more"),
        ("data.path", 5, "expected a text or None"),
        ("data.demonstration.seed", -1, "give 0 or more"),
    ],
)
def test_impossible_settings_are_refused_by_name(setting, value, found):
    with pytest.raises(InputError, match=found) as caught:
        check_config(changed(Config(), setting, value))
    assert str(caught.value).startswith(f"--{setting} ")
    assert str(value) in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("train.learning_rate", 1),
        ("train.gradient_clip", None),
        ("train.warmup_epochs", 0.0),
        ("data.path", "x"),
    ],
)
def test_unusual_but_possible_settings_are_taken(setting, value):
    check_config(changed(Config(), setting, value))


def test_every_number_among_the_settings_has_a_limit():
    numbers = {name for name, hint in setting_types(Config).items() if {int, float} & {hint, *get_args(hint)}}
    assert numbers == setting_bounds(Config).keys()


def test_a_word_far_from_all_choices_gets_no_suggestion():
    assert did_you_mean("zzz", ["epochs"]) == ""
    assert did_you_mean("epoch", ["epochs", "seed"], "--") == "; did you mean '--epochs'?"


def changed(config, setting, value):
    name, _, rest = setting.partition(".")
    inner = changed(getattr(config, name), rest, value) if rest else value
    new = copy.copy(config)
    object.__setattr__(new, name, inner)  # frozen, and under test type-checked, which a user's is not
    return new
