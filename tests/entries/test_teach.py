import contextlib
import io
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from helpers.titanates import IDEAL, QUICK_CONFIG, thermal_frames

from equivar_jax import ensemble, load, teach
from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import born_effective_charges, with_born_effective_charges
from equivar_jax.training import loop
from equivar_jax.training.run_directory import read_records

FRAMES, MADE, EPOCHS, STUDENT_EPOCHS = 10, 12, 3, 2
QUICK = (
    *("--teach.members", 2, "--teach.frames", MADE, "--teach.agreement", 20.0),
    *("--teach.steps", 8 * EPOCHS, "--teach.student_steps", (8 + MADE) * STUDENT_EPOCHS),
)
pytestmark = pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")


class Taught(NamedTuple):
    """A finished teaching, the words that made it, and what it printed."""

    folder: Path
    words: tuple
    output: str


def run(*words):
    """Run the program; returns exit status, standard output and standard error."""
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            teach.main([str(word) for word in words])
            status = 0
        except SystemExit as stop:
            status = stop.code
    return status, output.getvalue(), errors.getvalue()


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    """A file of frames, and a config of small networks."""
    folder = tmp_path_factory.mktemp("material")
    write_structures(folder / "frames.extxyz", thermal_frames(FRAMES))
    (folder / "quick.py").write_text(QUICK_CONFIG)
    return folder


@pytest.fixture(scope="module")
def taught(material, tmp_path_factory, cache_folder):
    """A teaching from beginning to end."""
    words = ("--data", material / "frames.extxyz", "--config", material / "quick.py", *QUICK)
    folder = tmp_path_factory.mktemp("taught") / "run"
    status, output, errors = run(*words, "--run-dir", folder)
    assert status == 0, errors
    return Taught(folder, words, output)


@pytest.fixture
def copy(taught, tmp_path):
    """The finished teaching, to be damaged."""
    return shutil.copytree(taught.folder, tmp_path / "copy")


@pytest.fixture
def no_training(monkeypatch):
    """Whoever trains fails."""

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(ensemble, "run_training", refuse)


def report_of(folder):
    return json.loads((folder / "report.json").read_text())


def test_the_folder_is_that_of_the_fast_network_and_the_committee_stands_beside_it(taught):
    model, committee = load(taught.folder), load(taught.folder / "committee")
    assert (model.config.form, model.members) == ("direct", 1)
    assert (committee.config.form, committee.members) == ("polarisation", 2)
    atoms = thermal_frames(1, seed=7)[0]
    np.testing.assert_array_equal(model.predict(atoms), load(taught.folder / "student").predict(atoms))
    _, sigma = committee.predict(atoms, uncertainty=True)
    assert np.all(sigma > 0)
    assert str(taught.folder / "committee") in taught.output
    readme = (taught.folder / "README.md").read_text()
    assert f"--checkpoint {taught.folder}/committee structure.cif --uncertainty" in readme


def test_both_networks_have_the_settings_of_the_config_and_their_own_length(taught):
    student, committee = (load(taught.folder / name).metadata.config for name in ("", "committee"))
    for config in (student, committee):
        assert (config.model.channels, config.model.radial_functions) == (2, 4)
        assert config.train.keep == "last"
    assert (student.model.element_shift, committee.model.element_shift) == (True, False)
    assert (student.train.learning_rate, committee.train.learning_rate) == (0.04, 0.05)
    assert [len(read_records(taught.folder / "committee" / f"member-{k}")) for k in (0, 1)] == [EPOCHS] * 2
    assert len(read_records(taught.folder / "student")) == STUDENT_EPOCHS


def test_the_frames_are_divided_and_the_made_ones_carry_the_mean_of_the_committee(taught):
    parts = {
        name: read_structures(taught.folder / "frames" / f"{name}.extxyz")
        for name in ("training", "held_out", "labelled")
    }
    assert {name: len(part) for name, part in parts.items()} == {
        "training": 8,
        "held_out": 2,
        "labelled": 8 + MADE,
    }
    places = {tuple(atoms.positions.ravel()) for atoms in thermal_frames(FRAMES)}
    assert {tuple(a.positions.ravel()) for a in (*parts["training"], *parts["held_out"])} == places
    for atoms, real in zip(parts["labelled"], parts["training"], strict=False):
        np.testing.assert_array_equal(born_effective_charges(atoms), born_effective_charges(real))
    made = parts["labelled"][8:]
    mean = load(taught.folder / "committee").predict(made)
    for atoms, tensors in zip(made, mean, strict=True):
        np.testing.assert_allclose(born_effective_charges(atoms), tensors, atol=1e-6)


def test_the_errors_are_those_on_the_held_out_frames(taught):
    report = report_of(taught.folder)
    held_out = read_structures(taught.folder / "frames" / "held_out.extxyz")
    labels = np.concatenate([born_effective_charges(atoms) for atoms in held_out])
    committee = load(taught.folder / "committee")
    models = {"committee": committee, "member 1": committee.member(1), "student": load(taught.folder)}
    for name, model in models.items():
        errors = np.concatenate(model.predict(held_out)) - labels
        assert report["errors"][name]["mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-4)
        worst = np.sqrt(np.square(errors).mean(axis=(1, 2))).max()
        assert report["errors"][name]["atoms_largest"] == pytest.approx(worst, rel=1e-4)
        assert f"{report['errors'][name]['mae']:.4f}" in taught.output
    assert 0 <= report["uncertainty"]["within_one"] <= report["uncertainty"]["within_two"] <= 1
    sums = {name: sum(kind[name] for kind in report["labels"]["kinds"].values()) for name in ("made", "kept")}
    assert sums == {"made": MADE, "kept": MADE}


def test_the_start_says_how_long_it_takes(taught):
    assert re.search(r"time  about \d+ minutes \(committee \d+, labels \d+, student \d+\)", taught.output)
    speed = json.loads((taught.folder / "speed.json").read_text())["seconds_per_step"]
    assert all(speed[name] > 0 for name in ("committee", "student"))


def test_the_same_command_repeats_nothing(taught, copy, no_training):
    (copy / "report.json").unlink()
    status, output, _ = run(*taught.words, "--run-dir", copy)
    assert status == 0
    assert "0 minutes (committee 0, labels 0, student 0)" in output
    assert report_of(copy)["errors"] == report_of(taught.folder)["errors"]


@pytest.mark.parametrize(
    ("stage", "batch"), [("member", 13), pytest.param("student", 30, marks=pytest.mark.slow)]
)
def test_interrupted_and_begun_again_it_ends_the_same(taught, copy, monkeypatch, stage, batch):
    """By a signal in the second epoch of a member, and in that of the fast network."""
    shutil.rmtree(copy / "student")
    shutil.rmtree(copy / "checkpoints")
    (copy / "report.json").unlink()
    if stage == "member":
        shutil.rmtree(copy / "committee")
        (copy / "frames" / "labelled.extxyz").unlink()

    class Bar(loop.ProgressBar):
        def update(self, n=1):
            super().update(n)
            if self.n == batch:
                os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(loop, "ProgressBar", Bar)
        status, _, errors = run(*taught.words, "--run-dir", copy)
    assert status == 128 + signal.SIGTERM
    assert f"the same command continues the teaching in {copy}" in errors
    assert not (copy / "report.json").exists()
    status, _, errors = run(*taught.words, "--run-dir", copy)
    assert status == 0, errors
    expected, found = report_of(taught.folder), report_of(copy)
    assert found["labels"] == expected["labels"]
    for name, numbers in expected["errors"].items():
        assert found["errors"][name] == pytest.approx(numbers, rel=1e-5)


def test_a_folder_goes_on_only_with_its_own_settings_and_data(taught, copy, complaint, tmp_path):
    words = (*taught.words, "--run-dir", copy)
    assert "began with --train.seed 0, not 1" in complaint(teach.main, *words, "--train.seed", 1)
    stored = json.loads((copy / "teach.json").read_text())
    (copy / "teach.json").write_text(json.dumps({**stored, "data": "other"}))
    assert "has changed since" in complaint(teach.main, *words)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert "holds something else" in complaint(teach.main, *taught.words, "--run-dir", tmp_path / "full")


def test_with_nothing_held_out_there_are_neither_errors_nor_sigma(taught, tmp_path):
    words = ("--run-dir", tmp_path / "run", "--teach.hold_out", False)
    status, output, errors = run(*taught.words, *words)
    assert status == 0, errors
    assert "No frame was held out" in output
    report = report_of(tmp_path / "run")
    assert report["frames"] == {"training": FRAMES, "held_out": 0}
    assert "errors" not in report
    committee = load(tmp_path / "run" / "committee")
    with pytest.raises(InputError, match="calibrated committee"):
        committee.predict(IDEAL, uncertainty=True)
    assert committee.predictions([IDEAL])[0].spread.max() > 0
    assert load(tmp_path / "run").predict(IDEAL).shape == (5, 3, 3)
    assert "--uncertainty" not in (tmp_path / "run" / "README.md").read_text()


def change(kind):
    """Frames that cannot be taught."""
    frames = thermal_frames(6)
    if kind == "one frame":
        return frames[:1]
    if kind == "epsilon only":
        for atoms in frames:
            atoms.calc = None
            atoms.info["epsilon_inf"] = 5.0 * np.eye(3)
    if kind == "no labels":
        for atoms in frames:
            atoms.calc = None
    if kind == "not periodic":
        frames[2].pbc = (True, True, False)
    if kind == "charged":
        tensors = born_effective_charges(frames[3]) + np.eye(3) / 5
        frames[3] = with_born_effective_charges(frames[3], tensors)
        frames[3].info["charge"] = 1.0
    return frames


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("one frame", "1 labelled frame, but teaching takes 2 to train on"),
        ("epsilon only", "no Born effective charges"),
        ("no labels", "no Born effective charges"),
        ("not periodic", "frame 2: not periodic in all directions"),
        ("charged", "frame 3: a net charge of 1 e"),
    ],
)
def test_frames_that_cannot_be_taught_are_refused_and_leave_nothing(
    material, complaint, tmp_path, kind, message
):
    write_structures(tmp_path / "in.extxyz", change(kind))
    words = (
        "--data",
        tmp_path / "in.extxyz",
        "--config",
        material / "quick.py",
        "--run-dir",
        tmp_path / "run",
    )
    assert message in complaint(teach.main, *words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "give --data FILE"),
        (("--train.epochs", 3), "--train.epochs is not for teaching: they follow from --teach.steps"),
        (("--model.form", "direct"), "--model.form is not for teaching"),
        (("--teach.members", 1), "--teach.members 1 is too small"),
        (("--teach.member", 3), "did you mean '--teach.members'?"),
        (("--teach.amplitude", 0.5), "--teach.amplitude 0.5 is too small"),
        (("--config", "dielectric.py"), "dielectric readout"),
        (
            (
                "--data",
                "a",
                *(w for kind in ("mixed", "stronger", "walls", "rattled") for w in (f"--teach.{kind}", 0)),
            ),
            "are all zero",
        ),
    ],
)
def test_settings_that_make_no_sense_are_refused(complaint, words, message):
    assert message in complaint(teach.main, *words)


def test_without_a_config_the_networks_are_those_of_one_material():
    from equivar_jax.config.files import load_config
    from equivar_jax.config.teaching import form_of_committee, form_of_student, teaching_from

    teaching = teaching_from(None)
    committee, student = load_config("bm4.py"), load_config("bm3_deep.py")
    assert (form_of_committee(teaching.model), teaching.train) == (committee.model, committee.train)
    assert (form_of_student(teaching.model), teaching.train) == (student.model, student.train)
