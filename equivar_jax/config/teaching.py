"""Settings of teaching: a committee in the form of a polarisation labels frames for a fast network."""

import dataclasses
from dataclasses import dataclass, field
from typing import Annotated

from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config, ModelConfig
from equivar_jax.config.settings import AtLeast, Count, NonNegative, Positive
from equivar_jax.errors import InputError

CONFIG = "bm4.py"
"""The shipped config whose network is taken where none is named."""
DECIDED = {
    "model.form": "both forms are trained",
    "model.element_shift": "the fast network has it, and a polarisation always does",
    "model.dielectric": "teaching is about Born effective charges",
    "train.epochs": "they follow from --teach.steps and --teach.student_steps",
    "train.keep": "the last weights are kept, so that held-out frames choose nothing",
    "train.start_from": "both networks start from fresh weights",
    "train.freeze": "both networks start from fresh weights",
    "data.folds": "there is one division; use --data.validation_fraction",
    "data.fold": "there is one division; use --data.validation_fraction",
}
"""Settings that teaching chooses itself, and why."""


@dataclass(frozen=True)
class TeachConfig:
    """How long to train, which frames to make, and which of their labels to keep."""

    hold_out: bool = True
    """Keep frames out of training, as the settings of `data` divide them, to measure errors and to calibrate
    the uncertainty; False trains on every frame and has neither."""
    members: Annotated[int, AtLeast(2)] = 3
    """Networks of the committee."""
    steps: Count = 1200
    """Steps of training of each member, rounded to whole epochs."""
    frames: Count = 1000
    """Frames to make and label."""
    student_steps: Count = 8000
    """Steps of training of the fast network, rounded to whole epochs."""
    student_learning_rate: Positive = 0.04
    """Highest rate of the fast network; that of the committee is `train.learning_rate`."""
    mixed: NonNegative = 0.4
    """Share of made frames that mix the displacements of two frames."""
    stronger: NonNegative = 0.3
    """Share of those whose mixed displacements are larger by a factor between 1 and `amplitude`."""
    walls: NonNegative = 0.1
    """Share of those that go from one frame to another (or to its inverted image) across the cell."""
    rattled: NonNegative = 0.2
    """Share of frames with random displacements added; all, if the frames differ in atoms or cell."""
    amplitude: Annotated[float, AtLeast(1)] = 1.3
    """Largest factor of stronger displacements."""
    rattle: Positive | None = None
    """Standard deviation in Å of random displacements by coordinate; None takes a third of those in the
    frames, or 0.05 Å where these are not known."""
    agreement: Positive = 1.6
    """Labels are kept of frames in which no atom has a larger spread over the members than this many times
    what 99 % of the atoms of the held-out frames (or, of none, of the training frames) have."""


@dataclass(frozen=True)
class Teaching(Config):
    """One teaching: data, network and optimisation of both forms, and how to teach."""

    teach: TeachConfig = field(default_factory=TeachConfig)


def teaching_from(config_file: str | None) -> Teaching:
    """Return the settings that a config file begins with, or those of teaching without one.

    Args:
        config_file: Path, name of a shipped config, or None for `CONFIG`.
    """
    config = load_config(config_file or CONFIG)
    return Teaching(data=config.data, model=config.model, train=config.train)


def check_teaching(teaching: Teaching, named: set[str]) -> None:
    """Refuse settings that teaching chooses itself, and shares that make no frame.

    Args:
        teaching: All settings.
        named: Names of the settings that the command line has.

    Raises:
        InputError: the message names the setting.
    """
    for name in sorted(named & DECIDED.keys()):
        raise InputError(f"--{name} is not for teaching: {DECIDED[name]}; leave it out")
    if teaching.model.dielectric:
        raise InputError(
            f"the config has a dielectric readout, but {DECIDED['model.dielectric']}; name another"
        )
    if teaching.data.path is None:
        raise InputError("teaching needs frames of one material; give --data FILE")
    how = teaching.teach
    if how.mixed + how.stronger + how.walls + how.rattled == 0:
        raise InputError("the shares of made frames are all zero; leave one of --teach.mixed, stronger, ...")


def form_of_committee(model: ModelConfig) -> ModelConfig:
    """Return the network in the form of a polarisation, which has charges of elements of its own."""
    return dataclasses.replace(model, form="polarisation", element_shift=False, dielectric=False)


def form_of_student(model: ModelConfig) -> ModelConfig:
    """Return the same network in the fast form, which gives the tensors directly."""
    return dataclasses.replace(model, form="direct", element_shift=True, dielectric=False)
