"""The folder of a teaching, and the configs of the runs in it."""

import dataclasses
from pathlib import Path

from equivar_jax.config.schema import Config, DataConfig, HygieneConfig, ModelConfig
from equivar_jax.config.teaching import Teaching, form_of_committee, form_of_student


@dataclasses.dataclass(frozen=True)
class Places:
    """What is where in the folder of a teaching."""

    root: Path
    """With the weights of the fast network, so that it can be used like a run."""

    @property
    def settings(self) -> Path:
        """Every setting, and a digest of the data."""
        return self.root / "teach.json"

    @property
    def speed(self) -> Path:
        """Measured seconds of a training step."""
        return self.root / "speed.json"

    @property
    def training(self) -> Path:
        """The frames that are trained on."""
        return self.root / "frames" / "training.extxyz"

    @property
    def held_out(self) -> Path:
        """The frames that are not; there is no such file if every frame is trained on."""
        return self.root / "frames" / "held_out.extxyz"

    @property
    def labelled(self) -> Path:
        """The frames that are trained on, and made ones with labels of the committee."""
        return self.root / "frames" / "labelled.extxyz"

    @property
    def counts(self) -> Path:
        """How many frames were made, and how many labels dropped."""
        return self.root / "frames" / "labels.json"

    @property
    def committee(self) -> Path:
        """The committee, a checkpoint, with the runs of its members."""
        return self.root / "committee"

    @property
    def student(self) -> Path:
        """The run of the fast network."""
        return self.root / "student"

    def member(self, number: int) -> Path:
        """Return the run of a member of the committee."""
        return self.committee / f"member-{number}"


def committee_config(teaching: Teaching, places: Places, frames: int) -> Config:
    """Return the config of the members, which are trained on this many frames."""
    return _run_config(
        teaching,
        places,
        places.training,
        form_of_committee(teaching.model),
        epochs_for(teaching.teach.steps, frames, teaching.train.batch_size),
        teaching.train.learning_rate,
    )


def student_config(teaching: Teaching, places: Places, frames: int, path: Path | None = None) -> Config:
    """Return the config of the fast network.

    Args:
        teaching: All settings.
        places: The folder.
        frames: Number of frames to train on.
        path: File of these frames; None takes those with labels of the committee.
    """
    return _run_config(
        teaching,
        places,
        path or places.labelled,
        form_of_student(teaching.model),
        epochs_for(teaching.teach.student_steps, frames, teaching.train.batch_size),
        teaching.teach.student_learning_rate,
    )


def epochs_for(steps: int, frames: int, batch_size: int) -> int:
    """Return the number of epochs, one at the least, that is nearest to a number of steps."""
    return max(1, round(steps / -(-frames // batch_size)))


def _run_config(
    teaching: Teaching, places: Places, path: Path, model: ModelConfig, epochs: int, learning_rate: float
) -> Config:
    """Return the config of a run on frames that were checked before; the last weights are kept.

    Without held-out frames the training frames are validated on: its validation error is a training error.
    """
    validation = places.held_out if teaching.teach.hold_out else places.training
    data = DataConfig(path=str(path), validation_path=str(validation), hygiene=HygieneConfig(enabled=False))
    train = dataclasses.replace(teaching.train, epochs=epochs, learning_rate=learning_rate, keep="last")
    return Config(data=data, model=model, train=train)
