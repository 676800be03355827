"""A slow teacher for fast networks: `python -m benchmarks.teacher BaTiO3-300K`.

The command trains a committee of the derivative form (`derivative_form`) of `bm3_deep.py` on the training
frames of a trajectory. From few frames it learns more than the direct form, whose tensors need not be
derivatives of anything, at about ten times the cost (`derivative_head.json`). It then labels many frames that
are mixed from the training frames, and `python -m benchmarks.real_data taught` trains the direct form on
these and on the real ones.

The members are trained side by side, an epoch in one call; this is made for a GPU, and minutes there. For
frames of your own, and on a CPU, there is `equivar teach`, whose mixtures of frames are those used here. The
command writes `NAME-taught.extxyz` beside the parts of the real data, settings and weights of the run to
`runs/accuracy/real_teacher/`, and a row to `results/accuracy/real_teacher.json`. If the weights exist
already, it only labels. With `--held-out N` the last N training frames are the test part, and nothing is
labelled.
"""

import argparse
import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.accuracy.result_file import keep_row
from benchmarks.accuracy.rows import digest_tests, slug
from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS
from benchmarks.real_data.__main__ import EPOCHS, earlier_deep
from benchmarks.real_data.parts import TEST_FRAMES, data_folder, write_parts
from benchmarks.teacher.side_by_side import (
    Teacher,
    frame_of,
    read_teacher,
    stack_frames,
    start_members,
    train_members,
    write_teacher,
)
from equivar_jax.config.schema import Config, ModelConfig, TrainConfig
from equivar_jax.config.settings import to_dict
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.graphs.batch import Sample
from equivar_jax.io import read_structures, write_structures
from equivar_jax.network.model import count_parameters
from equivar_jax.reports.metrics import summarise_errors
from equivar_jax.structures import born_effective_charges, with_born_effective_charges
from equivar_jax.teaching.made_frames import mix_frames
from equivar_jax.training.run_directory import write_json

LEARNING_RATE = {"BaTiO3-300K": 0.08, "SiO2-300K": 0.04}
"""Learning rates, chosen by the error on the last training frames after 60 epochs.

On 8 frames of BaTiO3 it was 0.0133 e (0.0164 at a rate of 0.02, 0.0141 at 0.04, 0.0136 at 0.06, 0.0137 at
0.12); on 10 frames of SiO2 0.0049 e (0.0051 at 0.02, 0.0110 at 0.08).
"""


def settings_of_teacher(
    options: argparse.Namespace, samples: Sequence[Sample]
) -> tuple[ModelConfig, TrainConfig]:
    """Return those of the earlier `bm3_deep.py`, the measured number of neighbours and the options."""
    config = earlier_deep()
    edges = sum(len(sample.graph.senders) for sample in samples)
    atoms = sum(len(sample.graph.nodes["species"]) for sample in samples)
    model = dataclasses.replace(config.model, mean_neighbours=edges / atoms, kernel="auto")
    train = dataclasses.replace(config.train, epochs=options.epochs, learning_rate=options.learning_rate)
    return model, dataclasses.replace(train, batch_size=1, keep="last")


def evaluate_teacher(teacher: Teacher, structures: Sequence[Atoms]) -> dict[str, Any]:
    """Evaluate the mean of the members on structures, and the MAE of each member."""
    tensors = teacher.tensors(structures)
    labels = np.array([born_effective_charges(atoms) for atoms in structures])
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    mean = summarise_errors(numbers, np.concatenate(tensors.mean(axis=1)), np.concatenate(labels)).to_dict()
    each = np.abs(tensors - labels[:, None]).mean(axis=(0, 2, 3, 4))
    sizes = {"structures": len(structures), "mean_atoms": len(structures[0])}
    return {"digest": digest_tests(structures), **sizes, **mean, "members_mae": each.tolist()}


def teach(name: str, options: argparse.Namespace, command: str) -> None:
    """Train and test a teacher unless its weights exist, then label mixed frames.

    Args:
        name: The data set.
        options: Those of the command line.
        command: The command that is kept with the row.

    Raises:
        InputError: The numbers make no sense, frames cannot be mixed, or a run was left unfinished.
    """
    parts = options.runs / "parts"
    if not (parts / f"{name}-test.extxyz").is_file():
        write_parts(parts, data_folder(), [name])
    training, test = (read_structures(parts / f"{name}-{part}.extxyz") for part in ("train", "test"))
    label = f"{name}, teacher"
    if options.held_out:
        training, test = training[: -options.held_out], training[-options.held_out :]
        label += f", {options.epochs} epochs at {options.learning_rate}, last {len(test)} frames held out"
    if len(training) < 2 or min(options.members, options.epochs) < 1:
        raise InputError(
            f"{label}: {options.members} members, {options.epochs} epochs, {len(training)} training frames; "
            "a teacher takes at least one member, one epoch and two frames"
        )
    made = [] if options.held_out else mix_frames(training, options.frames)
    samples, frames = stack_frames(training, earlier_deep().model.cutoff)
    network, optimisation = settings_of_teacher(options, samples)
    config, seeds = Config(model=network, train=optimisation), list(range(options.members))
    folder = options.runs / "real_teacher" / slug(label)
    if (folder / "weights.npz").is_file():
        teacher = read_teacher(folder / "weights.npz", network)
    elif folder.exists():
        raise InputError(f"{folder} has a run that was not finished; remove the folder and start again")
    else:
        folder.mkdir(parents=True)
        write_json(folder / "config.json", {**to_dict(config), "seeds": seeds})
        started = time.perf_counter()
        model, params = start_members(network, samples, frame_of(frames, 0), seeds)
        teacher = train_members(model, params, frames, optimisation, seeds, folder)
        seconds = time.perf_counter() - started
        write_teacher(teacher, folder / "weights.npz")
        row: dict[str, Any] = {
            "label": label,
            "run": str(folder.relative_to(options.runs)),
            "facts": {"variant": label, "set": name},
            "seed": seeds[0],
            "seeds": seeds,
            "command": command,
            "epochs": optimisation.epochs,
            "config": to_dict(config),
            "parameters": count_parameters(teacher.params),
            "structures": {"training": len(training), "validation": len(training)},
            "training_seconds": seconds,
            "ms_per_atom_epoch": 1e3 * seconds / optimisation.epochs / sum(map(len, training)),
            "validation": evaluate_teacher(teacher, training),
            "tests": {"test": evaluate_teacher(teacher, test)},
            "machine": describe_machine(),
        }
        keep_row(options.output, {"protocol": "teacher", "data": "DFPT"}, row)
        print(f"{label}: {row['tests']['test']['overall']['mae']:.4f} e", flush=True)
    if made:
        labelled = map(with_born_effective_charges, made, teacher.tensors(made).mean(axis=1))
        write_structures(parts / f"{name}-taught.extxyz", [*training, *labelled])


def main() -> None:
    """Train a teacher for one data set."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("set", choices=[*TEST_FRAMES])
    parser.add_argument("--epochs", type=int, help="default: those of `real_data targets`")
    parser.add_argument("--learning-rate", type=float, help=f"default: {LEARNING_RATE}")
    parser.add_argument("--members", type=int, default=4)
    parser.add_argument("--frames", type=int, default=2000, help="to label")
    parser.add_argument("--held-out", type=int, default=0, help="training frames to test on")
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"))
    parser.add_argument("--output", type=Path, default=RESULTS / "accuracy" / "real_teacher.json")
    options = parser.parse_args()
    if options.epochs is None:
        options.epochs = EPOCHS[options.set]
    if options.learning_rate is None:
        options.learning_rate = LEARNING_RATE[options.set]
    with plain_messages():
        teach(options.set, options, shlex.join(["python", "-m", "benchmarks.teacher", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
