"""The fixed part of a training run: settings, data, batch shapes, compiled steps."""

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import optax
from jaxtyping import Array

from equivar_jax.config.schema import Config
from equivar_jax.datasets.load import Dataset, load_dataset
from equivar_jax.graphs.batch import Batch, collate
from equivar_jax.graphs.packing import Budget, epoch_batches, pack, plan_budgets
from equivar_jax.kernels import needs_slots
from equivar_jax.network.initial_weights import COMPILE_QUICKLY
from equivar_jax.training.losses import Loss, l1_loss
from equivar_jax.training.steps import Steps, learning_rate_schedule, make_optimizer, make_steps


@dataclass(frozen=True)
class Plan:
    """The fixed part of a training run."""

    folder: Path
    config: Config
    """Complete: the mean neighbour count is that of the training part."""
    dataset: Dataset
    budgets: tuple[Budget, ...]
    """Batch shapes, each compiled once."""
    validation_batches: list[Batch]
    """On the device."""
    schedule: optax.Schedule
    optimizer: optax.GradientTransformation
    steps: Steps

    @functools.cached_property
    def batches_per_epoch(self) -> int:
        """Batches of the first epoch; a later one may need one more or less, as structures are packed."""
        return len(self.epoch(0))

    @functools.cached_property
    def typical(self) -> Batch:
        """The first training batch, for the shapes and the scale of the weights."""
        return self.collate(self.epoch(0)[0])

    @functools.cached_property
    def learning_rate(self) -> Callable[[int], Array]:
        """The schedule, compiled as a whole: the rate after a number of steps."""
        return jax.jit(self.schedule, compiler_options=COMPILE_QUICKLY)

    def epoch(self, number: int) -> list[tuple[int, list[int]]]:
        """Divide the training part into batches: for each, the number of its budget and its structures."""
        return epoch_batches(self.dataset.training.sizes, self.budgets, self.config.train.seed, number)

    def collate(self, batch: tuple[int, list[int]]) -> Batch:
        """Build one of the batches of `epoch`."""
        bucket, members = batch
        return collate([self.dataset.training[k] for k in members], self.budgets[bucket])

    def training_batch(self, epoch: int, numbered: tuple[int, tuple[int, list[int]]]) -> Batch:
        """Build one of the batches of `epoch` to train on, with atoms displaced by `train.position_noise`.

        Displacements follow from seed, epoch and place alone, so that a resumed run draws the same ones.

        Args:
            epoch: The number of the epoch.
            numbered: The place of the batch in the epoch, and the batch.
        """
        place, chosen = numbered
        batch, noise = self.collate(chosen), self.config.train.position_noise
        if not noise:
            return batch
        rng = np.random.default_rng((self.config.train.seed, epoch, place))
        graph = batch.graph
        moved = rng.normal(scale=noise, size=(len(batch.node_mask), 3))
        vectors = graph.edges["vectors"]
        # Edges of padding stay as long as they are: they lead from a node to itself.
        vectors = vectors + (moved[graph.senders] - moved[graph.receivers]).astype(vectors.dtype)
        return batch._replace(graph=graph._replace(edges={**graph.edges, "vectors": vectors}))


def plan_run(config: Config, folder: Path, loss: Loss = l1_loss) -> Plan:
    """Load the data, choose batch shapes, and make the compiled functions.

    Args:
        config: With the network of the weights to start from, if there are any.
        folder: Of the run; nothing is written.
        loss: What to make small.

    Raises:
        InputError: unusable data, or a part of the data is empty.
    """
    dataset = load_dataset(config)
    if config.model.mean_neighbours is None:
        mean = dataset.statistics["mean_neighbours"] or 1.0
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, mean_neighbours=mean))
    training, validation = dataset.training.sizes, dataset.validation.sizes
    dense = needs_slots(config.model.kernel, config.model.channels)
    budgets = plan_budgets(training.join(validation), config.train.batch_size, dense)
    batches = [
        jax.device_put(collate([dataset.validation[k] for k in members], budgets[bucket]))
        for bucket, members in pack(validation, budgets, range(len(dataset.validation)))
    ]
    per_epoch = len(epoch_batches(training, budgets, config.train.seed, 0))
    schedule = learning_rate_schedule(config.train, per_epoch)
    optimizer = make_optimizer(config.train, schedule)
    steps = make_steps(config.model, config.train, optimizer, loss)
    return Plan(folder, config, dataset, budgets, batches, schedule, optimizer, steps)
