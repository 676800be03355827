"""What a resumed run may change, and what is said of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from equivar_jax.config import Config
from equivar_jax.errors import InputError
from equivar_jax.training.starting_point import compare_settings

BEGAN = Config()
RUN = Path("runs/mine")


@pytest.mark.parametrize(
    ("name", "value"), [("cutoff", 5.0), ("channels", 8), ("envelope", True), ("mean_neighbours", 9.0)]
)
def test_another_network_is_refused_by_the_name_of_the_setting(name, value):
    began = replace(BEGAN, model=replace(BEGAN.model, mean_neighbours=12.0))
    goes_on = replace(began, model=replace(began.model, **{name: value}))
    with pytest.raises(
        InputError, match=f"runs/mine: began with --model.{name} .* not {value}, which is another"
    ):
        compare_settings(began, goes_on, RUN)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("train", "batch_size", 3),
        ("train", "seed", 7),
        ("train", "learning_rate", 0.1),
        ("model", "kernel", "chunked"),
        ("data", "path", "moved.extxyz"),
        ("data", "first_index", "displacement"),
    ],
)
def test_other_changes_are_said(part, name, value):
    goes_on = replace(BEGAN, **{part: replace(getattr(BEGAN, part), **{name: value})})
    (said,) = compare_settings(BEGAN, goes_on, RUN)
    before = getattr(getattr(BEGAN, part), name)
    assert said.startswith(f"goes on with --{part}.{name} {value}; it began with {before}")


def test_more_epochs_and_a_measured_number_need_no_word():
    began = replace(BEGAN, model=replace(BEGAN.model, mean_neighbours=12.0))
    goes_on = replace(BEGAN, train=replace(BEGAN.train, epochs=900, checkpoint_minutes=9.0))
    assert compare_settings(began, goes_on, RUN) == ()
