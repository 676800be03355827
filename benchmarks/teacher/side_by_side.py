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

from benchmarks.common.shapes import alone
from benchmarks.teacher.derivative_form import Polarisation, derivative_tensors, first_weights, unit_for
from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.graphs.batch import Batch, Sample
from equivar_jax.training.losses import ErrorSums, absolute_errors
from equivar_jax.training.run_directory import append_record
from equivar_jax.training.steps import (
    TrainState,
    initial_state,
    learning_rate_schedule,
    make_optimizer,
    updated,
)


class Teacher(NamedTuple):
    """Networks of one shape, the leaves of their weights stacked."""

    model: Polarisation
    params: dict

    def tensors(self, structures: Sequence[Atoms]) -> Float[np.ndarray, "frames members atoms 3 3"]:
        """What every member says of frames of one size, in e."""
        frames = stacked(structures, self.model.config.cutoff)[1]
        by_all = jax.vmap(derivative_tensors, in_axes=(None, 0, None))
        of_frame = jax.jit(lambda params, frames, k: by_all(self.model, params, frame_of(frames, k).graph))
        found = [np.asarray(of_frame(self.params, frames, k)) for k in range(len(structures))]
        return np.array(found)[:, :, : len(structures[0])].astype(np.float64)


def stacked(structures: Sequence[Atoms], cutoff: float) -> tuple[list[Sample], Batch]:
    """Frames of one size as samples, and as one array a leaf on the device: [frames, ...]."""
    samples, batches = alone(structures, cutoff)
    return samples, jax.device_put(jax.tree.map(lambda *leaves: np.stack(leaves), *batches))


def frame_of(frames: Batch, k: Int[Array, ""] | int) -> Batch:
    """One of the stacked frames."""
    return jax.tree.map(lambda leaf: leaf[k], frames)


def begin(
    config: ModelConfig, samples: Sequence[Sample], typical: Batch, seeds: Sequence[int]
) -> tuple[Polarisation, dict]:
    """The networks before training: one unit for all, since it is part of the network.

    Args:
        config: Of the network.
        samples: The training part.
        typical: One of its frames, which measures variances.
        seeds: Of the members.

    Returns:
        The network, and the members' weights with an axis in front.
    """
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
        batch = frame_of(frames, k)

        def loss(params: dict) -> tuple[Float[Array, ""], ErrorSums]:
            errors = absolute_errors(derivative_tensors(model, params, batch.graph), batch)
            return errors.ratio(), errors

        gradient, errors = jax.grad(loss, has_aux=True)(state.params)
        return updated(state, gradient, errors, optimizer, config)

    return jax.lax.scan(lambda state, row: (jax.vmap(step)(state, row), None), state, order)[0]


def write(teacher: Teacher, path: Path) -> None:
    """Unit and weights, each under its path in the tree."""
    arrays: dict[str, Any] = {"unit": teacher.model.unit}
    for place, leaf in jax.tree.leaves_with_path(teacher.params):
        arrays[jax.tree_util.keystr(place)] = np.asarray(leaf)
    np.savez(path, **arrays)


def read(path: Path, config: ModelConfig, typical: Batch) -> Teacher:
    """What `write` wrote.

    Args:
        path: The file.
        config: Of the network.
        typical: Any frame, for the shapes.
    """
    with np.load(path) as arrays:
        model = Polarisation(config, unit=float(arrays["unit"]))
        shapes = {"params": jax.eval_shape(model.init, jax.random.key(0), typical.graph)["params"]}
        places, tree = jax.tree.flatten_with_path(shapes)
        leaves = [jnp.asarray(arrays[jax.tree_util.keystr(place)]) for place, _ in places]
    return Teacher(model, jax.tree.unflatten(tree, leaves))
