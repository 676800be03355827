"""The epochs of a run: train until it is done or interrupted, validate, and save."""

import dataclasses
import functools
import math
import signal
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import numpy as np
from flax import serialization

from equivar_jax.distributed import AgreedError, is_first_process, together
from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import prefetch
from equivar_jax.progress import ProgressBar, announce_if_slow
from equivar_jax.runtime import Interruption
from equivar_jax.training.devices import SharedInterruption
from equivar_jax.training.domain import measure_domain, measure_features
from equivar_jax.training.losses import DielectricErrors, DielectricSummary, ErrorSums
from equivar_jax.training.run import Run
from equivar_jax.training.run_directory import append_record
from equivar_jax.weights.checkpoint import CheckpointWriter, read_checkpoint


class NotFiniteError(InputError):
    """The loss or the error of a run is no longer finite, so that it cannot go on."""


def run_training(run: Run) -> signal.Signals | None:
    """Train for the epochs that are left; of several processes, all must call this.

    Returns:
        The signal that interrupted it (everything is saved), or None if it came to the end.

    Raises:
        NotFiniteError: the loss is no longer finite.
        InputError: the disk is full.
    """
    epochs, done = run.plan.config.train.epochs, run.progress.epoch
    saved_at, recorded = time.monotonic(), True
    total = run.plan.batches_per_epoch * (epochs - done) - run.progress.batch
    is_first, devices = is_first_process(), run.plan.devices
    with Interruption() as own, ProgressBar(total=total, unit="batch", disable=not is_first) as bar:
        interruption = SharedInterruption(own, devices)
        best, last = CheckpointWriter(run.plan.folder, "best"), CheckpointWriter(run.plan.folder, "last")
        try:
            while run.progress.epoch < epochs and interruption.signal is None:
                bar.set_description(f"epoch {run.progress.epoch + 1}/{epochs}")
                record = run_epoch(run, bar, interruption)
                interruption.settle()
                if record is not None:
                    recorded = False
                    _put_on_record(run, record)
                    recorded = True
                    bar.set_postfix_str(
                        f"loss {record['train_loss']:.4f} e, validation MAE {record['validation_mae']:.4f} e "
                        f"(best {run.progress.best_validation_mae:.4f}), {record['ms_per_atom']:.3f} ms/atom"
                    )
                due = time.monotonic() - saved_at > 60 * run.plan.config.train.checkpoint_minutes
                if due if devices is None else devices.first_says(due):
                    save(run, best, last)
                    saved_at = time.monotonic()
            if done < epochs:  # not where only what follows the training was left
                save(run, best, last)
            remember_features(run, best)
        except BaseException as error:
            # All processes save together, which they cannot if one has an error of its own. And a state whose
            # epochs are not all on record would lose one.
            if recorded and (jax.process_count() == 1 or isinstance(error, AgreedError | SystemExit)):
                save(run, best, last)
            raise
        finally:
            best.close()
            last.close()
    if run.progress.epoch < epochs and interruption.signal is not None:
        if is_first:
            print(
                f"{interruption.signal.name}: saved; continue with --resume {run.plan.folder}",
                file=sys.stderr,
            )
        return interruption.signal
    return None


def run_epoch(run: Run, bar: ProgressBar, interruption: SharedInterruption) -> dict[str, Any] | None:
    """Train on every batch once (from where an interrupted epoch stopped), then validate.

    Returns:
        The record of the epoch, or None if it was interrupted.
    """
    epoch, first = run.progress.epoch, run.progress.batch
    left = list(enumerate(run.plan.epoch(epoch)))[first:]
    make = functools.partial(run.plan.training_batch, epoch)
    started, atoms = time.perf_counter(), 0
    chosen = [batch for _, batch in left]
    for count, (structures, batch) in enumerate(zip(chosen, prefetch(make, left), strict=True), start=1):
        with _announce_compilation(run):
            run.state = run.plan.steps.train(run.state, batch)
        atoms += run.plan.training_batches.count_atoms(structures)
        bar.update()
        interruption.after_batch()
        if interruption.signal is not None:
            run.progress = dataclasses.replace(run.progress, batch=first + count)
            return None
    loss = run.state.sums.mean()  # waits for the device, once an epoch
    seconds = time.perf_counter() - started
    _require_finite(run, "training loss", loss)
    mae = validate(run)
    _require_finite(run, "validation MAE", mae)
    improved = run.progress.best_validation_mae is None or mae < run.progress.best_validation_mae
    run.state = dataclasses.replace(run.state, sums=_no_errors(run))
    run.progress = dataclasses.replace(
        run.progress,
        epoch=epoch + 1,
        batch=0,
        validation_mae=mae,
        best_validation_mae=mae if improved else run.progress.best_validation_mae,
    )
    if improved or run.plan.config.train.keep == "last":
        run.kept = jax.tree.map(np.array, run.state.evaluated), run.progress  # the step consumes its state
    rate = float(run.plan.learning_rate((epoch + 1) * run.plan.batches_per_epoch))
    dielectric = {}
    if run.plan.config.model.dielectric:
        dielectric = {"validation_dielectric": dataclasses.asdict(validate_dielectric(run))}
    return {
        "epoch": epoch + 1,
        "train_loss": loss,
        "validation_mae": mae,
        **dielectric,
        "learning_rate": rate,
        "ms_per_atom": 1e3 * seconds / max(atoms, 1),
        "seconds": seconds,
        "compiles": dict(run.plan.steps.compiles),
    }


def _put_on_record(run: Run, record: dict[str, Any]) -> None:
    """Write down what an epoch has given; the first process does, and all stop if it cannot."""
    together(lambda: append_record(run.plan.folder, record) if is_first_process() else None)


def _no_errors(run: Run) -> ErrorSums:
    """Return sums over nothing, on the devices of the run."""
    sums = ErrorSums.zero()
    return sums if run.plan.devices is None else run.plan.devices.replicate(sums)


def _announce_compilation(run: Run) -> AbstractContextManager[None]:
    """Say that a step is being compiled, while there are batch shapes that have not been."""
    if run.plan.steps.compiles["train"] >= len(run.plan.budgets):
        return nullcontext()
    return announce_if_slow("compiling the training step, once for each batch shape")


def _require_finite(run: Run, what: str, value: float) -> None:
    """Stop a run whose loss or error is no longer finite, and say which weights are saved."""
    if math.isfinite(value):
        return
    kept = "there are no good weights to keep"
    if (mae := kept_validation_mae(run)) is not None:
        kept = f"the {run.plan.config.train.keep} weights, MAE {mae:.4f} e, are saved"
    where = f"{run.plan.folder}: the {what} of epoch {run.progress.epoch + 1}"
    rate = run.plan.config.train.learning_rate

    def complain() -> None:
        raise NotFiniteError(
            f"{where} is {value}; {kept}; start anew with --train.learning_rate below {rate:g}"
        )

    together(complain)


def kept_validation_mae(run: Run) -> float | None:
    """Return the validation MAE in e of the weights that the best checkpoint holds or will hold."""
    progress = run.progress
    return progress.best_validation_mae if run.plan.config.train.keep == "best" else progress.validation_mae


def validate(run: Run) -> float:
    """Compute the mean absolute error in e over the validation part, after the sum rule."""
    sums = _no_errors(run)
    for batch in run.plan.validation_batches:
        sums = run.plan.steps.validate(run.state.evaluated, sums, batch)
    return sums.mean()


def validate_dielectric(run: Run) -> DielectricSummary:
    """Compute the errors of the electronic dielectric tensor over the validation part."""
    sums = DielectricErrors.zero()
    if run.plan.devices is not None:
        sums = run.plan.devices.replicate(sums)
    for batch in run.plan.validation_batches:
        sums = run.plan.steps.validate_dielectric(run.state.evaluated, sums, batch)
    return sums.summarise()


def save(run: Run, best: CheckpointWriter, last: CheckpointWriter) -> None:
    """Save the last state, and the weights to keep if they are new; never weights that are not finite."""
    finite = all(np.isfinite(np.asarray(leaf)).all() for leaf in jax.tree.leaves(run.state.params))
    if finite and run.kept is None and run.progress.best_validation_mae is None:
        run.kept = run.state.evaluated, run.progress  # interrupted before the first validation
    if run.domain is None:
        run.domain = measure_domain(run.plan)
    if run.kept is not None:
        params, metadata = run.kept
        best.save({"params": params}, dataclasses.replace(metadata, domain=run.domain))
        run.kept = None
    if finite:
        last.save(serialization.to_state_dict(run.state), run.progress)


def remember_features(run: Run, best: CheckpointWriter) -> None:
    """Add to the best checkpoint what the features of its network are like on the training part.

    Nothing is done where the weights are those of an earlier best, of which this is known.
    """
    state, metadata = together(lambda: read_checkpoint(run.plan.folder))
    if metadata.features:
        return
    features = measure_features(run.plan, state["params"])
    if features is not None:
        best.save(state, dataclasses.replace(metadata, features=(features,)))
