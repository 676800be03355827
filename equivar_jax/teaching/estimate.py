"""How long a teaching takes, from measured training steps."""

import json
import time
from typing import NamedTuple

import jax
import numpy as np

from equivar_jax.config.schema import Config
from equivar_jax.config.teaching import Teaching
from equivar_jax.progress import announce_if_slow
from equivar_jax.teaching.frames import Frames
from equivar_jax.teaching.runs import Places, committee_config, student_config
from equivar_jax.training.plan import plan_run
from equivar_jax.training.run_directory import read_records, write_json
from equivar_jax.training.starting_point import make_first_weights
from equivar_jax.training.steps import initial_state

FORWARD = 0.4
"""Share of a training step that a prediction takes."""
TIMED_STEPS = 5


class Estimate(NamedTuple):
    """Seconds that the stages still take."""

    committee: float
    labels: float
    student: float

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {seconds / 60:.0f}" for name, seconds in self._asdict().items())
        return f"about {sum(self) / 60:.0f} minutes ({parts}), compilation apart"


def estimate_time(teaching: Teaching, places: Places, frames: Frames) -> Estimate:
    """Estimate how long the stages take that are left; measure steps if nobody has.

    Args:
        teaching: All settings.
        places: The folder; the measured speed is written there.
        frames: The frames.
    """
    how, batch = teaching.teach, teaching.train.batch_size
    training, checked = len(frames.training), len(frames.held_out) or len(frames.training)
    made = how.frames
    committee = committee_config(teaching, places, training)
    student = student_config(teaching, places, training + made, places.training)
    if places.speed.is_file():
        speed = json.loads(places.speed.read_text())
    else:
        with announce_if_slow("compiling and timing a step of both networks"):
            speed = {
                "seconds_per_step": {
                    "committee": time_step(committee, places),
                    "student": time_step(student, places),
                }
            }
        write_json(places.speed, speed)
    slow, fast = (speed["seconds_per_step"][name] for name in ("committee", "student"))

    def epoch(structures: int) -> float:
        return -(-structures // batch) + FORWARD * -(-checked // batch)

    begun = [len(read_records(places.member(number))) for number in range(how.members)]
    left = sum(max(0, committee.train.epochs - done) for done in begun)
    is_labelled = places.labelled.is_file()
    student_left = max(0, student.train.epochs - len(read_records(places.student)))
    return Estimate(
        committee=0.0 if is_labelled else left * epoch(training) * slow,
        labels=0.0 if is_labelled else how.members * FORWARD * slow * made / batch,
        student=student_left * epoch(training + made) * fast,
    )


def time_step(config: Config, places: Places) -> float:
    """Return the seconds that a training step takes, without its compilation: the median of a few."""
    plan = plan_run(config, places.root)
    params = make_first_weights(plan.config, plan.dataset, plan.typical, None)
    state = initial_state(params, plan.config.train, plan.optimizer)
    state = jax.block_until_ready(plan.steps.train(state, plan.typical))
    seconds = []
    for _ in range(TIMED_STEPS):
        started = time.perf_counter()
        state = jax.block_until_ready(plan.steps.train(state, plan.typical))
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))
