"""The fixed part of a training run: settings, data, batch shapes, compiled steps."""

import dataclasses
import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import optax
from jaxtyping import Array

from equivar_jax.config.schema import Config
from equivar_jax.config.settings import to_dict
from equivar_jax.datasets.load import Dataset, load_dataset
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Batch
from equivar_jax.graphs.packing import Budget, epoch_batches, pack, plan_budgets
from equivar_jax.graphs.parts import plan_parts
from equivar_jax.kernels import needs_slots
from equivar_jax.network.initial_weights import COMPILE_QUICKLY
from equivar_jax.training.batches import BatchMaker
from equivar_jax.training.devices import Devices
from equivar_jax.training.losses import Loss, l1_loss
from equivar_jax.training.optimizers import learning_rate_schedule, make_optimizer
from equivar_jax.training.steps import Steps, make_steps


@dataclass(frozen=True)
class Plan:
    """The fixed part of a training run."""

    folder: Path
    config: Config
    """Complete: the mean neighbour count is that of the training part."""
    dataset: Dataset
    budgets: tuple[Budget, ...]
    """Batch shapes, each compiled once."""
    devices: Devices | None
    """The devices that share each batch; None for a single one."""
    training_batches: BatchMaker
    validation_batches: list[Batch]
    """On the device, or the devices."""
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    steps: Steps

    @functools.cached_property
    def batches_per_epoch(self) -> int:
        """Batches of the first epoch; a later one may need one more or less, as structures are packed."""
        return len(self.epoch(0))

    @functools.cached_property
    def typical(self) -> Batch:
        """The first training batch, whole, for the shapes and the scale of the weights."""
        return self.collate(self.epoch(0)[0])

    @functools.cached_property
    def learning_rate(self) -> Callable[[int], Array]:
        """The schedule, compiled as a whole: the rate after a number of steps."""
        return jax.jit(self.schedule, compiler_options=COMPILE_QUICKLY)

    def fingerprint(self) -> bytes:
        """Return bytes that differ if settings, statistics, sizes of structures or the form of batches do.

        The latter follows from the kernel: one process may have a C++ compiler, and another one none.
        """
        parts = [json.dumps(to_dict(self.config), sort_keys=True).encode()]
        parts.append(json.dumps(self.dataset.statistics, sort_keys=True).encode())
        parts.append(repr(self.budgets).encode())
        parts += [column.tobytes() for column in self.training_batches.sizes]
        return b"".join(parts)

    def epoch(self, number: int) -> list[tuple[int, list[int]]]:
        """Divide the training part into batches: for each, the number of its budget and its structures."""
        return epoch_batches(self.dataset.training.sizes, self.budgets, self.config.train.seed, number)

    def collate(self, batch: tuple[int, list[int]]) -> Batch:
        """Build one of the batches of `epoch` as a whole, in NumPy."""
        return self.training_batches.whole(batch)

    def training_batch(self, epoch: int, numbered: tuple[int, tuple[int, list[int]]]) -> Batch:
        """Build one of the batches of `epoch` to train on, with atoms displaced by `train.position_noise`.

        Displacements follow from seed, epoch and place alone, so that a resumed run draws the same ones, also
        on another number of devices.

        Args:
            epoch: The number of the epoch.
            numbered: The place of the batch in the epoch, and the batch.
        """
        place, batch = numbered
        noise = self.config.train.position_noise
        if not noise:
            return self.training_batches.make(batch)
        rng = np.random.default_rng((self.config.train.seed, epoch, place))
        moved = rng.normal(scale=noise, size=(self.budgets[batch[0]].nodes, 3))
        return self.training_batches.make(batch, moved)


def plan_run(config: Config, folder: Path, loss: Loss = l1_loss, devices: Devices | None = None) -> Plan:
    """Load the data, choose batch shapes, and make the compiled functions.

    Args:
        config: With the network of the weights to start from, if there are any.
        folder: Of the run; nothing is written.
        loss: What to make small.
        devices: That share each batch; None for a single one.

    Raises:
        InputError: unusable data, a part of the data is empty, or a batch has fewer structures than there are
            devices.
    """
    if devices is not None and devices.count > config.train.batch_size:
        raise InputError(
            f"{devices.count} devices share each batch, but --train.batch_size {config.train.batch_size} has "
            "fewer structures; take a larger batch or fewer devices"
        )
    dataset = load_dataset(config)
    if config.model.mean_neighbours is None:
        mean = dataset.statistics["mean_neighbours"] or 1.0
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, mean_neighbours=mean))
    training, validation = dataset.training.sizes, dataset.validation.sizes
    dense = needs_slots(config.model.kernel, config.model.channels)
    budgets = plan_budgets(training.join(validation), config.train.batch_size, dense)
    held_out = pack(validation, budgets, range(len(dataset.validation)))
    first_epoch = epoch_batches(training, budgets, config.train.seed, 0)
    part_budgets = budgets
    if devices is not None:
        # The first epoch has every structure, also those that are difficult to divide.
        measured = ((training, first_epoch), (validation, held_out))
        part_budgets = plan_parts(measured, budgets, devices.count)
    makers = [
        BatchMaker(part, sizes, budgets, devices, part_budgets)
        for part, sizes in ((dataset.training, training), (dataset.validation, validation))
    ]
    validation_batches = [makers[1].make(batch) for batch in held_out]
    if devices is None:
        validation_batches = jax.device_put(validation_batches)
    schedule = learning_rate_schedule(config.train, len(first_epoch))
    optimizer = make_optimizer(config.train, schedule)
    steps = make_steps(config.model, config.train, optimizer, loss, devices)
    return Plan(
        folder, config, dataset, budgets, devices, makers[0], validation_batches, schedule, optimizer, steps
    )
