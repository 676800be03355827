"""A committee of the derivative form, trained side by side on frames of one size (`benchmarks.teacher`)."""

import dataclasses
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

from benchmarks.common.shapes import collate_alone
from benchmarks.teacher.derivative_form import draw_first_weights
from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.config.teaching import form_of_committee
from equivar_jax.graphs.batch import Batch, Sample
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.training.losses import ErrorSums, absolute_errors
from equivar_jax.training.optimizers import learning_rate_schedule, make_optimizer
from equivar_jax.training.run_directory import append_record
from equivar_jax.training.steps import TrainState, initial_state, update_state, weight_shapes


class Teacher(NamedTuple):
    """A committee: networks of one shape, with the leaves of their weights stacked."""

    model: Polarisation
    params: dict

    def tensors(self, structures: Sequence[Atoms]) -> Float[np.ndarray, "frames members atoms 3 3"]:
        """Predict the tensors of frames of one size with every member, in e."""
        frames = stack_frames(structures, self.model.config.cutoff)[1]
        by_all = jax.vmap(self.model.apply, in_axes=(0, None))
        of_frame = jax.jit(lambda params, frames, k: by_all(params, frame_of(frames, k).graph))
        found = [np.asarray(of_frame(self.params, frames, k)) for k in range(len(structures))]
        return np.array(found)[:, :, : len(structures[0])].astype(np.float64)


def stack_frames(structures: Sequence[Atoms], cutoff: float) -> tuple[list[Sample], Batch]:
    """Return frames of one size as samples, and as a batch on the device with leaves [frames, ...]."""
    samples, batches = collate_alone(structures, cutoff)
    return samples, jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *batches))


def frame_of(frames: Batch, k: Int[Array, ""] | int) -> Batch:
    """Return one of the stacked frames."""
    return jax.tree.map(lambda leaf: leaf[k], frames)


def start_members(
    config: ModelConfig, samples: Sequence[Sample], typical: Batch, seeds: Sequence[int]
) -> tuple[Polarisation, dict]:
    """Draw the weights of the members before training.

    Args:
        config: The settings of the network.
        samples: The training part.
        typical: One of its frames, on which variances are measured.
        seeds: The seeds of the members.

    Returns:
        The network, and the weights with the members as first axis.
    """
    typical = jax.tree.map(np.asarray, typical)
    config = form_of_committee(config)
    drawn = [draw_first_weights(config, seed, typical, samples) for seed in seeds]
    return Polarisation(config), jax.tree.map(lambda *leaves: jnp.stack(leaves), *drawn)


def train_members(
    model: Polarisation, params: dict, frames: Batch, config: TrainConfig, seeds: Sequence[int], folder: Path
) -> Teacher:
    """Train the members side by side, each with the frames in an order of its own.

    Every epoch appends a record to the run directory.

    Args:
        model: The network.
        params: The weights of all members.
        frames: The training frames, stacked.
        config: The settings of training.
        seeds: The seeds of the orders, one for each member.
        folder: The run directory.
    """
    count = len(frames.node_mask)
    optimizer = make_optimizer(config, learning_rate_schedule(config, count))
    state = jax.vmap(lambda member: initial_state(member, config, optimizer))(params)
    epoch = jax.jit(lambda state, frames, order: _run_epoch(model, config, optimizer, state, frames, order))
    generators = [np.random.default_rng(seed) for seed in seeds]
    for number in range(1, config.epochs + 1):
        order = np.stack([generator.permutation(count) for generator in generators], axis=1)
        started = time.perf_counter()
        state = dataclasses.replace(state, sums=jax.tree.map(jnp.zeros_like, state.sums))
        state = jax.block_until_ready(epoch(state, frames, order))
        losses = np.asarray(state.sums.ratio()).tolist()
        record = {"epoch": number, "train_loss": losses, "seconds": time.perf_counter() - started}
        append_record(folder, record)
        if number % 10 == 0 or number == 1:
            print(
                f"epoch {number}: training MAE {np.mean(losses):.4f} e, {record['seconds']:.1f} s", flush=True
            )
    return Teacher(model, state.evaluated)


def _run_epoch(
    model: Polarisation,
    config: TrainConfig,
    optimizer: optax.GradientTransformation,
    state: TrainState,
    frames: Batch,
    order: Int[Array, "steps members"],
) -> TrainState:
    """Run one epoch, a step for each frame, all members at once."""

    def step(state: TrainState, k: Int[Array, ""]) -> TrainState:
        batch = frame_of(frames, k)

        def loss(params: dict) -> tuple[Float[Array, ""], ErrorSums]:
            errors = absolute_errors(model.apply(params, batch.graph), batch)
            return errors.ratio(), errors

        gradient, errors = jax.grad(loss, has_aux=True)(state.params)
        return update_state(state, gradient, errors, optimizer, config)

    return jax.lax.scan(lambda state, row: (jax.vmap(step)(state, row), None), state, order)[0]


def write_teacher(teacher: Teacher, path: Path) -> None:
    """Write the weights to a `.npz` file, each array under its path in the tree."""
    arrays: dict[str, Any] = {}
    for place, leaf in jax.tree.leaves_with_path(teacher.params):
        arrays[jax.tree_util.keystr(place)] = np.asarray(leaf)
    np.savez(path, **arrays)


def read_teacher(path: Path, config: ModelConfig) -> Teacher:
    """Read what `write_teacher` wrote.

    Args:
        path: The file.
        config: The settings of the network.
    """
    with np.load(path) as arrays:
        model = Polarisation(form_of_committee(config))
        places, tree = jax.tree.flatten_with_path(weight_shapes(model.config))
        leaves = [jnp.asarray(arrays[jax.tree_util.keystr(place)]) for place, _ in places]
    return Teacher(model, jax.tree.unflatten(tree, leaves))
