"""A training run: set up or restored, then epoch after epoch until it is done or interrupted."""

import dataclasses
import functools
import math
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import serialization
from tqdm import tqdm

from equivar_jax.config.schema import Config
from equivar_jax.datasets.load import Dataset, load_dataset
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Batch, collate, prefetch
from equivar_jax.graphs.packing import Budget, epoch_batches, pack, plan_budgets
from equivar_jax.kernels import needs_slots
from equivar_jax.runtime import Interruption
from equivar_jax.training.losses import DielectricErrors, DielectricSummary, ErrorSums
from equivar_jax.training.run_directory import append_record, describe_run, drop_records_after
from equivar_jax.training.starting_point import (
    first_progress,
    first_weights,
    last_state,
    read_starting_point,
    with_network_of,
)
from equivar_jax.training.steps import (
    Steps,
    TrainState,
    initial_state,
    learning_rate_schedule,
    make_optimizer,
    make_steps,
    weight_shapes,
)
from equivar_jax.weights.checkpoint import CheckpointWriter, Metadata, read_checkpoint


@dataclass
class Run:
    """A training run in progress: what is fixed, then what changes."""

    folder: Path
    config: Config
    dataset: Dataset
    budgets: tuple[Budget, ...]
    validation_batches: list[Batch]
    steps: Steps
    schedule: optax.Schedule
    state: TrainState
    progress: Metadata
    """Epochs and batches done, and the best validation so far; saved with the state."""
    kept: tuple[dict, Metadata] | None = None
    """Weights for the best checkpoint and what they mean, if they are not on disk yet."""
    remarks: tuple[str, ...] = ()
    """What the user should know of where it started."""

    @functools.cached_property
    def batches_per_epoch(self) -> int:
        """Of the first epoch; packing structures of different sizes may need one more or less later."""
        return len(self.epoch(0))

    def epoch(self, number: int) -> list[tuple[int, list[int]]]:
        """The batches of an epoch."""
        return epoch_batches(self.dataset.training.sizes, self.budgets, self.config.train.seed, number)

    def collate(self, batch: tuple[int, list[int]]) -> Batch:
        """Build a training batch."""
        bucket, members = batch
        return collate([self.dataset.training[k] for k in members], self.budgets[bucket])


def start_run(config: Config, folder: Path, resume: bool = False) -> Run:
    """Load data, plan shapes, make or restore the state.

    With `train.start_from` the network becomes that of the weights (see `starting_point.with_network_of`).

    Raises:
        InputError: unusable data or checkpoint, or a setting that contradicts it.
    """
    saved, progress = read_checkpoint(last_checkpoint(folder), "last") if resume else (None, None)
    if progress is not None and progress.epoch >= config.train.epochs:
        raise InputError(f"{folder}: all {progress.epoch} epochs are done; raise --train.epochs")
    start = None if resume else read_starting_point(config.train)
    if start is not None:
        config = with_network_of(config, start.network, start.location)
    elif progress is not None and config.train.start_from is not None:
        config = with_network_of(config, progress.config.model, str(folder))
    dataset = load_dataset(config)
    if config.model.mean_neighbours is None:
        mean = dataset.statistics["mean_neighbours"] or 1.0
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, mean_neighbours=mean))

    training_sizes, validation_sizes = dataset.training.sizes, dataset.validation.sizes
    dense = needs_slots(config.model.kernel, config.model.channels)
    budgets = plan_budgets(training_sizes.joined(validation_sizes), config.train.batch_size, dense)
    validation = [
        jax.device_put(collate([dataset.validation[k] for k in members], budgets[bucket]))
        for bucket, members in pack(validation_sizes, budgets, range(len(dataset.validation)))
    ]
    batches = epoch_batches(training_sizes, budgets, config.train.seed, 0)
    schedule = learning_rate_schedule(config.train, len(batches))
    optimizer = make_optimizer(config.train, schedule)
    bucket, members = batches[0]
    typical = collate([dataset.training[k] for k in members], budgets[bucket])
    if saved is None or progress is None:
        state = initial_state(first_weights(config, dataset, typical, start), config.train, optimizer)
        progress = first_progress(config, dataset, start)
    else:
        shapes = weight_shapes(config.model, typical)
        state = initial_state(optax.tree.zeros_like(shapes), config.train, optimizer)
        state = last_state(state, saved, progress, config, dataset, folder)
        progress = dataclasses.replace(progress, config=config)
    describe_run(folder, config, dataset)
    if resume:
        drop_records_after(folder, progress.epoch)
    steps = make_steps(config.model, config.train, optimizer)
    remarks = () if start is None else start.remarks(dataset, config)
    return Run(
        folder, config, dataset, budgets, validation, steps, schedule, state, progress, remarks=remarks
    )


def last_checkpoint(folder: Path) -> Path:
    """Where a run keeps its last state; a single checkpoint cannot be gone on with."""
    return folder / "checkpoints" / "last"


def train(run: Run) -> signal.Signals | None:
    """Run the epochs that are left.

    Returns:
        The signal that interrupted it (everything is saved), or None if it came to the end.

    Raises:
        InputError: the loss is no longer finite.
    """
    epochs, done = run.config.train.epochs, run.progress.epoch
    best, last = CheckpointWriter(run.folder, "best"), CheckpointWriter(run.folder, "last")
    saved_at = time.monotonic()
    total = run.batches_per_epoch * (epochs - done) - run.progress.batch
    with Interruption() as interruption, tqdm(total=total, unit="batch", dynamic_ncols=True) as bar:
        try:
            while run.progress.epoch < epochs and interruption.signal is None:
                bar.set_description(f"epoch {run.progress.epoch + 1}/{epochs}")
                record = run_epoch(run, bar, interruption)
                if record is not None:
                    append_record(run.folder, record)
                    bar.set_postfix_str(
                        f"loss {record['train_loss']:.4f} e, validation MAE {record['validation_mae']:.4f} e "
                        f"(best {run.progress.best_validation_mae:.4f}), {record['ms_per_atom']:.3f} ms/atom"
                    )
                if time.monotonic() - saved_at > 60 * run.config.train.checkpoint_minutes:
                    save(run, best, last)
                    saved_at = time.monotonic()
        finally:
            save(run, best, last)
            best.close()
            last.close()
    if run.progress.epoch < epochs and interruption.signal is not None:
        print(f"{interruption.signal.name}: saved; continue with --resume {run.folder}", file=sys.stderr)
        return interruption.signal
    return None


def run_epoch(run: Run, bar: tqdm, interruption: Interruption) -> dict[str, Any] | None:
    """Train on every batch once (from where an interrupted epoch stopped), then validate.

    Returns:
        The record of the epoch, or None if it was interrupted.
    """
    epoch, first = run.progress.epoch, run.progress.batch
    left = run.epoch(epoch)[first:]
    started, atoms = time.perf_counter(), 0
    for count, batch in enumerate(prefetch(run.collate, left), start=1):
        run.state = run.steps.train(run.state, batch)
        atoms += int(batch.node_mask.sum())
        bar.update()
        if interruption.signal is not None:
            run.progress = dataclasses.replace(run.progress, batch=first + count)
            return None
    loss = run.state.sums.mean()  # waits for the device, once an epoch
    seconds = time.perf_counter() - started
    _require_finite(run, "training loss", loss)
    mae = validate(run)
    _require_finite(run, "validation MAE", mae)
    improved = run.progress.best_validation_mae is None or mae < run.progress.best_validation_mae
    run.state = dataclasses.replace(run.state, sums=ErrorSums.zero())
    run.progress = dataclasses.replace(
        run.progress,
        epoch=epoch + 1,
        batch=0,
        validation_mae=mae,
        best_validation_mae=mae if improved else run.progress.best_validation_mae,
    )
    if improved or run.config.train.keep == "last":
        run.kept = jax.tree.map(jnp.copy, run.state.evaluated), run.progress
    rate = float(run.schedule((epoch + 1) * run.batches_per_epoch))
    dielectric = {}
    if run.config.model.dielectric:
        dielectric = {"validation_dielectric": dataclasses.asdict(validate_dielectric(run))}
    return {
        "epoch": epoch + 1,
        "train_loss": loss,
        "validation_mae": mae,
        **dielectric,
        "learning_rate": rate,
        "ms_per_atom": 1e3 * seconds / max(atoms, 1),
        "seconds": seconds,
        "compiles": dict(run.steps.compiles),
    }


def _require_finite(run: Run, what: str, value: float) -> None:
    """Stop a run that has diverged."""
    if math.isfinite(value):
        return
    kept = "there are no good weights to keep"
    if (mae := kept_validation_mae(run)) is not None:
        kept = f"the {run.config.train.keep} weights, MAE {mae:.4f} e, are saved"
    where = f"{run.folder}: the {what} of epoch {run.progress.epoch + 1}"
    rate = run.config.train.learning_rate
    raise InputError(f"{where} is {value}; {kept}; start anew with --train.learning_rate below {rate:g}")


def kept_validation_mae(run: Run) -> float | None:
    """Validation MAE in e of the weights that the best checkpoint holds or will hold."""
    progress = run.progress
    return progress.best_validation_mae if run.config.train.keep == "best" else progress.validation_mae


def validate(run: Run) -> float:
    """Mean absolute error over the validation part after the sum rule, in e."""
    sums = ErrorSums.zero()
    for batch in run.validation_batches:
        sums = run.steps.validate(run.state.evaluated, sums, batch)
    return sums.mean()


def validate_dielectric(run: Run) -> DielectricSummary:
    """Errors of the electronic dielectric tensor over the validation part."""
    sums = DielectricErrors.zero()
    for batch in run.validation_batches:
        sums = run.steps.validate_dielectric(run.state.evaluated, sums, batch)
    return sums.summary()


def save(run: Run, best: CheckpointWriter, last: CheckpointWriter) -> None:
    """Write the state, and the weights to keep if they are new; never weights that are not finite."""
    finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(run.state.params))
    if finite and run.kept is None and run.progress.best_validation_mae is None:
        run.kept = run.state.evaluated, run.progress  # interrupted before the first validation
    if run.kept is not None:
        params, metadata = run.kept
        best.save({"params": params}, metadata)
        run.kept = None
    if finite:
        last.save(serialization.to_state_dict(run.state), run.progress)
