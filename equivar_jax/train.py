"""Train: `python -m equivar_jax.train --config bm2.py [--data.path my.extxyz] [--train.epochs 20] ...`.

Structures become padded batches, batches go through the compiled step, and the weights with the lowest
validation MAE are kept. Ctrl-C and SIGTERM save first; `--resume RUN` goes on to the same numbers.
"""

import dataclasses
import math
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ase.data import chemical_symbols
from flax import serialization
from tqdm import tqdm

from equivar_jax.batch import Batch, Budget, collate, edge_fill, epoch_batches, pack, plan_budgets, prefetch
from equivar_jax.checkpoint import CheckpointWriter, Metadata, check_parameters, read_checkpoint
from equivar_jax.cli import OptionParser, override
from equivar_jax.config import Config, load_config
from equivar_jax.data import Dataset, load_dataset
from equivar_jax.errors import InputError, exit_on_input_error
from equivar_jax.evaluate import evaluate_model
from equivar_jax.model import count_parameters
from equivar_jax.plots import plot_history
from equivar_jax.predict import load
from equivar_jax.run_directory import (
    append_record,
    describe_run,
    drop_records_after,
    new_run_directory,
    read_records,
    write_json,
)
from equivar_jax.runtime import Interruption, enable_compilation_cache
from equivar_jax.steps import (
    ErrorSums,
    Steps,
    TrainState,
    initial_state,
    learning_rate_schedule,
    make_optimizer,
    make_steps,
)


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
    best_params: dict | None = None
    """Weights of the best validation, if they are not on disk yet."""

    @property
    def batches_per_epoch(self) -> int:
        """Of the first epoch; packing structures of different sizes may need one more or less later."""
        return len(self.epoch(0))

    def epoch(self, number: int) -> list[tuple[int, list[int]]]:
        """The batches of an epoch."""
        return epoch_batches(self.dataset.training, self.budgets, self.config.train.seed, number)

    def collate(self, batch: tuple[int, list[int]]) -> Batch:
        """Build a training batch."""
        bucket, members = batch
        return collate([self.dataset.training[k] for k in members], self.budgets[bucket])


def start_run(config: Config, folder: Path, resume: bool = False) -> Run:
    """Load data, plan shapes, make or restore the state.

    Raises:
        InputError: unusable data or checkpoint.
    """
    saved, progress = read_checkpoint(_last(folder), "last") if resume else (None, None)
    if progress is not None and progress.epoch >= config.train.epochs:
        raise InputError(f"{folder}: all {progress.epoch} epochs are done; raise --train.epochs")
    dataset = load_dataset(config)
    statistics = dataset.statistics
    if config.model.mean_neighbours is None:
        measured = dataclasses.replace(config.model, mean_neighbours=statistics["mean_neighbours"] or 1.0)
        config = dataclasses.replace(config, model=measured)

    graphs = [sample.graph for sample in dataset.training + dataset.validation]
    budgets = plan_budgets(graphs, config.train.batch_size)
    validation = [
        jax.device_put(collate([dataset.validation[k] for k in members], budgets[bucket]))
        for bucket, members in pack(dataset.validation, budgets, range(len(dataset.validation)))
    ]
    batches = epoch_batches(dataset.training, budgets, config.train.seed, 0)
    schedule = learning_rate_schedule(config.train, len(batches))
    optimizer = make_optimizer(config.train, schedule)
    bucket, members = batches[0]
    typical = collate([dataset.training[k] for k in members], budgets[bucket])
    state = initial_state(config.model, config.train, optimizer, typical)
    if saved is None or progress is None:
        progress = Metadata(config, dataset.elements, statistics)
    else:
        check_parameters(saved["params"], state.params, str(folder))
        if (progress.elements, progress.statistics) != (dataset.elements, statistics):
            raise InputError(f"{folder}: was trained on other data or another split; start a new run")
        if (saved["ema"] is None) != (state.ema is None):
            raise InputError(
                f"{folder}: a run begins and ends with --train.ema_decay or without; start a new run"
            )
        state = serialization.from_state_dict(state, jax.tree.map(jnp.asarray, saved))
        progress = dataclasses.replace(progress, config=config)
    describe_run(folder, config, dataset)
    if resume:
        drop_records_after(folder, progress.epoch)
    steps = make_steps(config.model, config.train, optimizer)
    return Run(folder, config, dataset, budgets, validation, steps, schedule, state, progress)


def _last(folder: Path) -> Path:
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
    if improved:
        run.best_params = jax.tree.map(jnp.copy, run.state.evaluated)
    run.state = dataclasses.replace(run.state, sums=ErrorSums.zero())
    run.progress = dataclasses.replace(
        run.progress,
        epoch=epoch + 1,
        batch=0,
        validation_mae=mae,
        best_validation_mae=mae if improved else run.progress.best_validation_mae,
    )
    rate = float(run.schedule((epoch + 1) * run.batches_per_epoch))
    return {
        "epoch": epoch + 1,
        "train_loss": loss,
        "validation_mae": mae,
        "learning_rate": rate,
        "ms_per_atom": 1e3 * seconds / max(atoms, 1),
        "seconds": seconds,
        "compiles": dict(run.steps.compiles),
    }


def _require_finite(run: Run, what: str, value: float) -> None:
    """Stop a run that has diverged."""
    if math.isfinite(value):
        return
    best = run.progress.best_validation_mae
    kept = (
        "there are no good weights to keep"
        if best is None
        else f"the best weights, MAE {best:.4f} e, are saved"
    )
    where = f"{run.folder}: the {what} of epoch {run.progress.epoch + 1}"
    rate = run.config.train.learning_rate
    raise InputError(f"{where} is {value}; {kept}; start anew with --train.learning_rate below {rate:g}")


def validate(run: Run) -> float:
    """Mean absolute error over the validation part after the sum rule, in e."""
    sums = ErrorSums.zero()
    for batch in run.validation_batches:
        sums = run.steps.validate(run.state.evaluated, sums, batch)
    return sums.mean()


def save(run: Run, best: CheckpointWriter, last: CheckpointWriter) -> None:
    """Write the state, and the best weights if they are new; never weights that are not finite."""
    finite = all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(run.state.params))
    if finite and run.best_params is None and run.progress.best_validation_mae is None:
        run.best_params = run.state.evaluated  # interrupted before the first validation: better than nothing
    if run.best_params is not None:
        metadata = dataclasses.replace(run.progress, validation_mae=run.progress.best_validation_mae)
        best.save({"params": run.best_params}, metadata)
        run.best_params = None
    if finite:
        last.save(serialization.to_state_dict(run.state), run.progress)


def report(run: Run) -> None:
    """Evaluate the best weights on the validation part; draw history and parity."""
    path = run.config.data.path
    result = evaluate_model(
        load(run.folder),
        run.dataset.validation_structures,
        allow_unseen=True,
        parity_plot=run.folder / "parity.png",
        title=f"Validation, {Path(path).name if path else 'demonstration set (not DFT)'}",
    )
    write_json(run.folder / "validation.json", result.to_dict())
    plot_history(read_records(run.folder), run.folder / "history.png")
    print(result.table())
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(run.steps.compiles.items()))
    print(f"compilations: {counts}, for {len(run.budgets)} batch shapes")
    print(f"best validation MAE {run.progress.best_validation_mae:.4f} e; everything is in {run.folder}")


def announce(run: Run) -> None:
    """Print what will be trained on what."""
    data, budgets = run.dataset, run.budgets
    statistics = data.statistics
    shapes = "; ".join(f"{b.nodes} atoms x {b.neighbours} neighbours" for b in budgets)
    lines = {
        "parameters": f"{count_parameters(run.state.params):,}",
        "data": run.config.data.path or "embedded demonstration set (not DFT)",
        "elements": " ".join(chemical_symbols[number] for number in data.elements),
        "structures": f"{len(data.training):,} training, {len(data.validation):,} validation",
        "atoms": f"{statistics['atoms']:,} training",
        "edges": f"{statistics['edges']:,} training, {statistics['mean_neighbours']:.2f} an atom",
        "batches": f"{run.batches_per_epoch} an epoch, of {shapes}",
        "padding": f"{100 * edge_fill(data.training, budgets):.0f} % of edge slots are edges",
        "device": f"{jax.devices()[0].device_kind} ({jax.default_backend()})",
        "run": str(run.folder),
    }
    only_validated = set().union(*(a.numbers.tolist() for a in data.validation_structures)) - {*data.elements}
    if only_validated:
        symbols = " ".join(chemical_symbols[number] for number in sorted(only_validated))
        lines["unseen"] = f"{symbols}: validated on, but never trained on; use another --data.split_seed"
    print("\n".join(f"{name:>10}  {text}" for name, text in lines.items()), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and train."""
    parser = OptionParser(prog="python -m equivar_jax.train", add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--run-dir")
    parser.add_argument("--resume")
    description = "--config FILE_OR_NAME | --resume RUN, --run-dir FOLDER, and any setting below."
    with exit_on_input_error():
        options, settings = parser.parse_known_args(arguments)
        enable_compilation_cache()
        if options.resume is None:
            config = load_config(options.config or "bm2.py")
        elif options.config or options.run_dir:
            raise InputError("--resume goes on in its own folder, with its own config; leave out the other")
        else:
            config = read_checkpoint(_last(Path(options.resume)), "last")[1].config
        config = override(config, settings, parser.prog, description, ("config", "resume", "run-dir"))
        if options.resume is None:
            folder = new_run_directory(Path(options.config or "bm2").stem, options.run_dir)
        else:
            folder = Path(options.resume)
        run = start_run(config, folder, resume=options.resume is not None)
        announce(run)
        interrupted = train(run)
        if interrupted is not None:
            raise SystemExit(128 + interrupted)
        report(run)


if __name__ == "__main__":
    main()
