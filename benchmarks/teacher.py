"""A slow teacher for fast networks: `python -m benchmarks.teacher BaTiO3-300K`.

Trains a committee of the derivative form (`benchmarks.polarisation`) of `bm3_deep.py` on the training frames
of a trajectory. From few frames it learns more than the direct form, whose tensors need not be derivatives
of anything, at several times the cost. So it labels many frames that are mixed from the training frames, and
`python -m benchmarks.real_data taught` trains the direct form on these and on the real ones.

Members are trained side by side, an epoch in one call: for a GPU (minutes there, days on a CPU). Writes
`NAME-taught.extxyz` beside the parts of the real data, the run's settings and weights to
`runs/accuracy/real_teacher/`, and a row to `results/accuracy/real_teacher.json`. With `--held-out N` the last
N training frames are tested on instead, and nothing is labelled: so the rates below were chosen.
"""

import argparse
import dataclasses
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ase import Atoms
from jaxtyping import Array, Float, Int

from benchmarks.accuracy_rows import keep_row, slug, tests_digest
from benchmarks.machine import describe_machine
from benchmarks.mixed_frames import mixed_frames
from benchmarks.polarisation import Polarisation, derivative_tensors, first_weights, unit_for
from benchmarks.real_data import DEEP, EPOCHS
from benchmarks.real_parts import TEST_FRAMES, data_folder, write_parts
from benchmarks.timing import RESULTS
from equivar_jax.batch import Batch, Sample, collate
from equivar_jax.config import Config, ModelConfig, TrainConfig, load_config
from equivar_jax.graph import build_graph
from equivar_jax.io import read_structures, write_structures
from equivar_jax.metrics import evaluate
from equivar_jax.model import count_parameters
from equivar_jax.packing import Budget, GraphSizes
from equivar_jax.run_directory import append_record, write_json
from equivar_jax.settings import to_dict
from equivar_jax.steps import (
    ErrorSums,
    TrainState,
    absolute_errors,
    initial_state,
    learning_rate_schedule,
    make_optimizer,
    updated,
)
from equivar_jax.structures import born_effective_charges, with_born_effective_charges

LEARNING_RATE = {"BaTiO3-300K": 0.08, "SiO2-300K": 0.04}


class Teacher(NamedTuple):
    """Networks of one shape, the leaves of their weights stacked."""

    model: Polarisation
    params: dict

    def tensors(self, structures: Sequence[Atoms]) -> Float[np.ndarray, "frames members atoms 3 3"]:
        """What every member says of frames of one size, in e."""
        frames = stacked(structures, self.model.config.cutoff)[1]
        by_all = jax.vmap(derivative_tensors, in_axes=(None, 0, None))
        of_frame = jax.jit(lambda params, frames, k: by_all(self.model, params, _frame(frames, k).graph))
        found = [np.asarray(of_frame(self.params, frames, k)) for k in range(len(structures))]
        return np.array(found)[:, :, : len(structures[0])].astype(np.float64)


def stacked(structures: Sequence[Atoms], cutoff: float) -> tuple[list[Sample], Batch]:
    """Frames of one size as samples, and as one array a leaf on the device: [frames, ...]."""
    samples = [Sample(build_graph(atoms, cutoff), born_effective_charges(atoms)) for atoms in structures]
    atoms, edges, width = (int(np.max(each)) for each in GraphSizes.of(s.graph for s in samples))
    batches = [collate([sample], Budget(atoms + 1, edges, width, 2)) for sample in samples]
    return samples, jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *batches))


def _frame(frames: Batch, k: Int[Array, ""] | int) -> Batch:
    return jax.tree.map(lambda leaf: leaf[k], frames)


def settings(options: argparse.Namespace, samples: Sequence[Sample]) -> tuple[ModelConfig, TrainConfig]:
    """Those of `bm3_deep.py`, with the measured number of neighbours and what the command says."""
    config = load_config(DEEP)
    edges = sum(len(sample.graph.senders) for sample in samples)
    atoms = sum(len(sample.graph.nodes["species"]) for sample in samples)
    model = dataclasses.replace(config.model, mean_neighbours=edges / atoms, kernel="dense")
    train = dataclasses.replace(config.train, epochs=options.epochs, learning_rate=options.learning_rate)
    return model, dataclasses.replace(train, batch_size=1, keep="last")


def begin(
    config: ModelConfig, samples: Sequence[Sample], typical: Batch, seeds: Sequence[int]
) -> tuple[Polarisation, dict]:
    """The networks before training: one unit for all, since it is part of the network."""
    typical = jax.tree.map(np.asarray, typical)
    draw = jax.vmap(lambda seed: first_weights(Polarisation(config), seed, typical, samples))
    params = draw(jnp.asarray(seeds))
    units = jax.jit(jax.vmap(lambda member: unit_for(Polarisation(config), member, typical)))(params)
    return Polarisation(config, unit=float(units.mean())), params


def train(
    model: Polarisation, params: dict, frames: Batch, config: TrainConfig, seeds: Sequence[int], folder: Path
) -> Teacher:
    """Members side by side, each with the frames in an order of its own; a record an epoch."""
    count = len(frames.node_mask)
    optimizer = make_optimizer(config, learning_rate_schedule(config, count))
    state = jax.vmap(lambda member: initial_state(member, config, optimizer))(params)
    epoch = jax.jit(lambda state, frames, order: _epoch(model, config, optimizer, state, frames, order))
    generators = [np.random.default_rng(seed) for seed in seeds]
    for number in range(1, config.epochs + 1):
        order = np.stack([generator.permutation(count) for generator in generators], axis=1)
        started, before = time.perf_counter(), state.sums
        state = jax.block_until_ready(epoch(state, frames, order))
        sums = jax.tree.map(jnp.subtract, state.sums, before)
        losses = np.asarray(sums.absolute / sums.count).tolist()
        record = {"epoch": number, "train_loss": losses, "seconds": time.perf_counter() - started}
        append_record(folder, record)
        if number % 10 == 0 or number == 1:
            print(
                f"epoch {number}: training MAE {np.mean(losses):.4f} e, {record['seconds']:.1f} s", flush=True
            )
    return Teacher(model, state.evaluated)


def _epoch(
    model: Polarisation,
    config: TrainConfig,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    frames: Batch,
    order: Int[Array, "steps members"],
) -> TrainState:
    """A step a frame, all members at once."""

    def step(state: TrainState, k: Int[Array, ""]) -> TrainState:
        batch = _frame(frames, k)

        def loss(params: dict) -> tuple[Float[Array, ""], ErrorSums]:
            errors = absolute_errors(derivative_tensors(model, params, batch.graph), batch)
            return errors.absolute / errors.count, errors

        gradient, errors = jax.grad(loss, has_aux=True)(state.params)
        return updated(state, gradient, errors, optimizer, config)

    return jax.lax.scan(lambda state, row: (jax.vmap(step)(state, row), None), state, order)[0]


def report(teacher: Teacher, structures: Sequence[Atoms]) -> dict[str, Any]:
    """Errors of the mean of the members, and the MAE of each."""
    tensors = teacher.tensors(structures)
    labels = np.array([born_effective_charges(atoms) for atoms in structures])
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    mean = evaluate(numbers, np.concatenate(tensors.mean(axis=1)), np.concatenate(labels)).to_dict()
    each = np.abs(tensors - labels[:, None]).mean(axis=(0, 2, 3, 4))
    sizes = {"structures": len(structures), "mean_atoms": len(structures[0])}
    return {"digest": tests_digest(structures), **sizes, **mean, "members_mae": each.tolist()}


def teach(name: str, options: argparse.Namespace, command: str) -> None:
    """Train, test, label; everything that is written."""
    parts = options.runs / "parts"
    if not (parts / f"{name}-test.extxyz").is_file():
        write_parts(parts, data_folder(), [name])
    training, test = (read_structures(parts / f"{name}-{part}.extxyz") for part in ("train", "test"))
    label = f"{name}, teacher"
    if options.held_out:
        training, test = training[: -options.held_out], training[-options.held_out :]
        label += f" at {options.learning_rate}, last {len(test)} training frames held out"
    samples, frames = stacked(training, load_config(DEEP).model.cutoff)
    model_config, train_config = settings(options, samples)
    config, seeds = Config(model=model_config, train=train_config), list(range(options.members))
    folder = options.runs / "real_teacher" / slug(label)
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {**to_dict(config), "seeds": seeds})
    model, params = begin(model_config, samples, _frame(frames, 0), seeds)
    started = time.perf_counter()
    teacher = train(model, params, frames, train_config, seeds, folder)
    seconds = time.perf_counter() - started
    save(teacher, folder / "weights.npz")
    row: dict[str, Any] = {
        "label": label,
        "run": str(folder.relative_to(options.runs)),
        "facts": {"variant": label, "set": name},
        "seed": seeds[0],
        "seeds": seeds,
        "command": command,
        "epochs": train_config.epochs,
        "config": to_dict(config),
        "parameters": count_parameters(teacher.params),
        "structures": {"training": len(training), "validation": len(training)},
        "training_seconds": seconds,
        "ms_per_atom_epoch": 1e3 * seconds / train_config.epochs / sum(map(len, training)),
        "validation": report(teacher, training),
        "tests": {"test": report(teacher, test)},
        "machine": describe_machine(),
    }
    keep_row(options.output, {"protocol": "teacher", "data": "DFPT"}, row)
    print(f"{label}: {row['tests']['test']['overall']['mae']:.4f} e", flush=True)
    if not options.held_out:
        made = mixed_frames(training, options.frames)
        labels = teacher.tensors(made).mean(axis=1)
        labelled = map(with_born_effective_charges, made, labels)
        write_structures(parts / f"{name}-taught.extxyz", [*training, *labelled])


def save(teacher: Teacher, path: Path) -> None:
    """Write unit and weights, each under its path in the tree."""
    arrays: dict[str, Any] = {"unit": teacher.model.unit}
    for place, leaf in jax.tree.leaves_with_path(teacher.params):
        arrays[jax.tree_util.keystr(place)] = np.asarray(leaf)
    np.savez(path, **arrays)


def main() -> None:
    """Teach one set."""
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
    options.epochs = options.epochs or EPOCHS[options.set]
    options.learning_rate = options.learning_rate or LEARNING_RATE[options.set]
    teach(options.set, options, shlex.join(["python", "-m", "benchmarks.teacher", *sys.argv[1:]]))


if __name__ == "__main__":
    main()
