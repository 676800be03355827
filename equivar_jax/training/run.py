"""A training run: begun, or taken up where it stopped."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

from equivar_jax.config.schema import Config
from equivar_jax.distributed import is_first_process, require_same, together
from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.progress import announce_if_slow
from equivar_jax.training.devices import Devices, choose_devices
from equivar_jax.training.losses import Loss, l1_loss
from equivar_jax.training.plan import Plan, plan_run
from equivar_jax.training.run_directory import (
    describe_run,
    drop_closing_files,
    drop_records_after,
    missing_closing_files,
)
from equivar_jax.training.starting_point import (
    compare_settings,
    describe_new_run,
    make_first_weights,
    read_starting_point,
    restore_last_state,
    use_stored_network,
)
from equivar_jax.training.steps import TrainState, initial_state, weight_shapes
from equivar_jax.uncertainty.domain import Domain
from equivar_jax.weights.checkpoint import Metadata, read_checkpoint


@dataclass
class Run:
    """A training run in progress."""

    plan: Plan
    """What is fixed."""
    state: TrainState
    progress: Metadata
    """Epochs and batches done, and the best validation so far; saved with the state."""
    kept: tuple[dict, Metadata] | None = None
    """Weights for the best checkpoint and what they mean, if they are not on disk yet."""
    domain: Domain | None = None
    """Of the training part, once it was measured."""
    remarks: tuple[str, ...] = ()
    """What the user should know of where it started, or of what it changes as it goes on."""


def start_run(
    config: Config,
    folder: Path,
    resume: bool = False,
    loss: Loss = l1_loss,
    devices: Devices | None = None,
) -> Run:
    """Begin a run, or take up the one in `folder` where it stopped.

    With `train.start_from` the network becomes that of the weights (see `starting_point.use_stored_network`).
    Of several processes, all must call this, and the first one writes.

    Args:
        config: Every setting; of a resumed run those it goes on with.
        folder: Of the run; README, config and split are written into it.
        resume: Go on from the last state that is saved there. Of a run whose epochs are done its closing
            evaluation can be made, if something of it is missing.
        loss: What to make small (a run does not remember it: give it again to resume).
        devices: That share each batch (`choose_devices`); None for a single one, and for all those of several
            processes. The numbers of a run do not depend on them, but for rounding, so that it can go on with
            others.

    Raises:
        InputError: unusable data or checkpoint, or a setting that contradicts it.
    """
    if devices is None and jax.process_count() > 1:
        devices = choose_devices(None)
    start = _resume if resume else _begin
    run = together(lambda: start(config, folder, loss, devices), first_alone=True)
    if devices is not None:
        require_same(run.plan.fingerprint(), "data, settings or kernel")
        run.state = devices.replicate_first(run.state)
    together(lambda: _prepare_folder(run))
    return run


def _prepare_folder(run: Run) -> None:
    """Write what is known before the first epoch, and drop what is no longer true; the first process does."""
    if not is_first_process():
        return
    folder = run.plan.folder
    with input_error_unless_writable(folder, "--run-dir"):
        if run.progress.epoch < run.plan.config.train.epochs:
            drop_closing_files(folder)
        describe_run(folder, run.plan.config, run.plan.dataset)
        drop_records_after(folder, run.progress.epoch)  # all of them after a kill before the first state


def _begin(config: Config, folder: Path, loss: Loss, devices: Devices | None) -> Run:
    """Plan a new run, with fresh weights or those that `train.start_from` names."""
    start = read_starting_point(config.train)
    if start is not None:
        config = use_stored_network(config, start.network, start.location)
    plan = plan_run(config, folder, loss, devices)
    with announce_if_slow("making the first weights"):
        params = make_first_weights(plan.config, plan.dataset, plan.typical, start)
    state = initial_state(params, plan.config.train, plan.optimizer)
    remarks = () if start is None else start.remarks(plan.dataset, plan.config)
    return Run(plan, state, describe_new_run(plan.config, plan.dataset, start), remarks=remarks)


def _resume(config: Config, folder: Path, loss: Loss, devices: Devices | None) -> Run:
    """Plan the rest of a run and restore its last state."""
    saved, progress = read_checkpoint(last_checkpoint(folder), "last")
    if progress.epoch >= config.train.epochs:
        if not (missing := missing_closing_files(folder)):
            raise InputError(f"{folder}: all {progress.epoch} epochs are done; raise --train.epochs")
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, epochs=progress.epoch))
    if config.train.start_from is not None:
        config = use_stored_network(config, progress.config.model, str(folder))
    remarks = compare_settings(progress.config, config, folder)
    if progress.epoch == config.train.epochs:
        names = ", ".join(missing)
        remarks = (*remarks, f"all {progress.epoch} epochs are done; what is missing is made: {names}")
    plan = plan_run(config, folder, loss, devices)
    shapes = weight_shapes(plan.config.model)
    zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    empty = initial_state(zeros, plan.config.train, plan.optimizer)
    state = restore_last_state(empty, saved, progress, plan.config, plan.dataset, folder)
    return Run(plan, state, dataclasses.replace(progress, config=plan.config), remarks=remarks)


def last_checkpoint(folder: Path) -> Path:
    """Return the folder in which a run keeps its last state, from which alone it can be resumed."""
    return folder / "checkpoints" / "last"


def has_state(folder: Path) -> bool:
    """Return whether a run has saved a state from which it can be resumed."""
    return any(path.name.isdecimal() for path in last_checkpoint(folder).glob("*"))
