import dataclasses

import pytest

from equivar_jax.config.command_line import OptionParser, expand_data_option, named_settings, override
from equivar_jax.config.schema import Config, TrainConfig
from equivar_jax.config.settings import setting_types
from equivar_jax.errors import InputError


def changed(*words, config=None):
    return override(config or Config(), words, "program", "What it does.", ("config", "run-dir"))


def complaint(*words):
    with pytest.raises(InputError) as caught:
        changed(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nothing_given_changes_nothing():
    config = Config(train=TrainConfig(epochs=7, ema_decay=0.9))
    assert changed(config=config) == config


def test_several_settings_of_every_section_are_replaced_and_the_others_kept():
    config = Config(train=TrainConfig(batch_size=3))
    new = changed("--train.epochs", "20", "--data.path", "my.extxyz", "--train.seed", "3", config=config)
    assert new.data.path == "my.extxyz"
    assert new.train == dataclasses.replace(config.train, epochs=20, seed=3)
    assert new.model == config.model


@pytest.mark.parametrize(
    ("words", "section", "name", "value"),
    [
        (["--model.mean_neighbours", "None"], "model", "mean_neighbours", None),
        (["--model.mean_neighbours", "8.5"], "model", "mean_neighbours", 8.5),
        (["--train.gradient_clip", "None"], "train", "gradient_clip", None),
        (["--model.envelope", "True"], "model", "envelope", True),
        (["--train.schedule", "constant"], "train", "schedule", "constant"),
        (["--train.learning_rate", "1e-3"], "train", "learning_rate", 1e-3),
        (["--train.learning_rate=1"], "train", "learning_rate", 1.0),
        (["--train.batch-size", "5"], "train", "batch_size", 5),
        (["--data.path", "a b=c,d.extxyz"], "data", "path", "a b=c,d.extxyz"),
    ],
)
def test_values_of_every_type_are_read(words, section, name, value):
    found = getattr(getattr(changed(*words), section), name)
    assert found == value
    assert type(found) is type(value)


def test_the_innermost_settings_can_be_replaced():
    assert changed("--data.demonstration.zro2", "4").data.demonstration.zro2 == 4


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("--train.epoch", "--train.epochs"),
        ("--data.pth", "--data.path"),
        ("--seed", "--train.seed"),
        ("--confg", "--config"),
        ("--run_dir", "--run-dir"),
        ("--demonstration.perovskites", "--data.demonstration.perovskites"),
        ("--train.learning-rat=0.1", "--train.learning_rate"),
    ],
)
def test_an_unknown_setting_names_the_nearest_right_one(word, nearest):
    message = complaint("--train.epochs", "3", word, "3")
    assert message.startswith(f"unknown setting {word.partition('=')[0]}; did you mean '{nearest}'?")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--train.epochs", "many"], "--train.epochs got 'many', expected an integer"),
        (["--train.epochs", "2.5"], "--train.epochs got '2.5', expected an integer"),
        (["--train.epochs=x-y"], "--train.epochs got 'x-y', expected an integer"),
        (["--train.epochs"], "--train.epochs got '', expected an integer"),
        (["--train.epochs", "--train.seed", "3"], "--train.epochs got '--train.seed', expected an integer"),
        (["--model.envelope", "perhaps"], "--model.envelope got 'perhaps', expected True or False"),
        (["--train.ema_decay", "x"], "--train.ema_decay got 'x', expected a number or None"),
        (
            ["--train.schedule", "linear"],
            "--train.schedule got 'linear', expected one of cosine, exponential, constant",
        ),
        (["--train.epochs", "-3"], "--train.epochs -3 is too small; give 1 or more"),
    ],
)
def test_a_wrong_type_names_the_setting_and_what_it_takes(words, message):
    assert complaint("--train.seed", "1", *words) == message


def test_a_stray_word_is_refused():
    assert "bm2.py" in complaint("bm2.py")


def test_help_lists_every_setting(capsys):
    with pytest.raises(SystemExit) as stop:
        changed("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "What it does." in text
    assert all(f"--{name}" in text for name in setting_types(Config))


def test_data_is_short_for_its_path():
    words = ("--train.epochs", "3")
    assert expand_data_option(None, words) == [*words]
    assert changed(*expand_data_option("-my file.extxyz", words)).data.path == "-my file.extxyz"
    with pytest.raises(InputError, match=r"--data a is short for --data\.path; give one of them"):
        expand_data_option("a", ["--data.path=b"])


def test_the_settings_that_words_are_about_are_known():
    words = ("--model.mean-neighbours=3", "--train.seed", "4", "--model.chanels", "3", "model.cutoff")
    assert named_settings(words) >= {"model.mean_neighbours", "train.seed"}
    assert "model.chanels" not in named_settings(words)


def test_options_that_cannot_be_read_are_an_input_error():
    parser = OptionParser(prog="program")
    parser.add_argument("--checkpoint", required=True)
    with pytest.raises(InputError, match=r"required: --checkpoint; --help explains"):
        parser.parse_args([])
    with pytest.raises(InputError, match="expected one argument"):
        parser.parse_args(["--checkpoint"])
