import dataclasses
from pathlib import Path

import pytest

from equivar_jax.config.teaching import Teaching, teaching_from
from equivar_jax.teaching.runs import Places, committee_config, epochs_for, student_config

PLACES = Places(Path("run"))


@pytest.mark.parametrize(
    ("steps", "frames", "batch_size", "epochs"),
    [(4000, 38, 1, 105), (4000, 38, 4, 400), (10, 100, 1, 1), (149, 100, 1, 1), (151, 100, 1, 2)],
)
def test_steps_become_whole_epochs_and_one_at_the_least(steps, frames, batch_size, epochs):
    assert epochs_for(steps, frames, batch_size) == epochs


def test_the_forms_differ_in_their_readout_only():
    teaching = teaching_from(None)
    committee, student = committee_config(teaching, PLACES, 40), student_config(teaching, PLACES, 1040)
    assert committee.model.form == "polarisation"
    same = dataclasses.replace(student.model, form="polarisation", element_shift=False)
    assert same == committee.model


@pytest.mark.parametrize(("hold_out", "name"), [(True, "held_out"), (False, "training")])
def test_held_out_frames_are_validated_on_and_without_any_the_training_frames(hold_out, name):
    usual = teaching_from(None)
    teach = dataclasses.replace(usual.teach, hold_out=hold_out)
    teaching = Teaching(data=usual.data, model=usual.model, train=usual.train, teach=teach)
    for config in (committee_config(teaching, PLACES, 40), student_config(teaching, PLACES, 1040)):
        assert config.data.validation_path == f"run/frames/{name}.extxyz"
        assert config.train.keep == "last"
    assert committee_config(teaching, PLACES, 40).data.path == "run/frames/training.extxyz"
    assert student_config(teaching, PLACES, 1040).data.path == "run/frames/labelled.extxyz"
