"""Printed text about a training run: before it, what is trained on what; after it, how good it is."""

import contextlib
import signal
import sys
from collections import Counter
from pathlib import Path

import jax
from ase.data import chemical_symbols

from equivar_jax.datasets.load import Dataset
from equivar_jax.errors import InputError
from equivar_jax.graphs.packing import edge_fill
from equivar_jax.hygiene import SET_ASIDE
from equivar_jax.network.model import count_parameters
from equivar_jax.prediction.loading import load
from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.reports.plots import plot_history
from equivar_jax.runtime import Interrupted, interruptible
from equivar_jax.training.devices import Devices
from equivar_jax.training.loop import kept_validation_mae
from equivar_jax.training.optimizers import count_trained
from equivar_jax.training.run import Run
from equivar_jax.training.run_directory import list_files, missing_closing_files, read_records, write_json
from equivar_jax.uncertainty.domain import without_domain_warnings


def report_run(run: Run) -> signal.Signals | None:
    """Evaluate the best weights of a finished run on its validation part, and print the errors.

    Writes `validation.json`, `parity.png` and `history.png` into the folder of the run, and into its README
    that they are there.

    Returns:
        The signal (Ctrl-C or SIGTERM) that interrupted it, which is said in a line, or None.

    Raises:
        InputError: a file cannot be written.
    """
    folder, interrupted = run.plan.folder, None
    try:
        with interruptible():
            text = _evaluate_run(run)
    except Interrupted as stop:
        interrupted = stop.signal
        print(f"{interrupted.name}: {_say_what_is_missing(folder)}", file=sys.stderr)
    except (InputError, OSError) as error:
        raise InputError(f"{error}; {_say_what_is_missing(folder)}") from None
    finally:
        with contextlib.suppress(OSError):  # where the disk is full, the README of the beginning stays
            list_files(folder, run.plan.config)
    if interrupted is None:
        print(text)
    return interrupted


def _say_what_is_missing(folder: Path) -> str:
    """Say which files of the closing evaluation of a run are missing, and what makes them."""
    missing = ", ".join(missing_closing_files(folder)) or "nothing"
    return (
        f"training is complete and saved, but its closing evaluation has not made {missing}; finish it with "
        f"--resume {folder}"
    )


def _evaluate_run(run: Run) -> str:
    """Evaluate a finished run and write what it is found to be; return it in words."""
    path = run.plan.config.data.path
    plot_history(read_records(run.plan.folder), run.plan.folder / "history.png")
    with without_domain_warnings():  # the validation part says what is usual
        result = evaluate_model(
            load(run.plan.folder),
            run.plan.dataset.validation.structures,
            allow_unseen=True,
            parity_plot=run.plan.folder / "parity.png",
            title=f"Validation, {Path(path).name if path else 'demonstration set (not DFT)'}",
        )
    write_json(run.plan.folder / "validation.json", result.to_dict())  # the last: with it a fold is finished
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(run.plan.steps.compiles.items()))
    kept = (
        ""
        if run.plan.config.train.keep == "best"
        else f", of the last epoch, {kept_validation_mae(run):.4f} e"
    )
    return (
        f"{result.table()}\ncompilations: {counts or 'none'}, for {len(run.plan.budgets)} batch shapes\n"
        f"best validation MAE {run.progress.best_validation_mae:.4f} e{kept}; "
        f"everything is in {run.plan.folder}"
    )


def announce_run(run: Run) -> None:
    """Print which network will be trained on which data, and how."""
    data, budgets = run.plan.dataset, run.plan.budgets
    statistics = data.statistics
    shapes = "; ".join(f"{b.nodes} atoms, {b.edges:,} edges" for b in budgets)
    parameters = f"{count_parameters(run.state.params):,}"
    if run.plan.config.train.freeze != "nothing":
        parameters += (
            f", of which {count_trained(run.state.params, run.plan.config.train.freeze):,} are trained"
        )
    lines = {
        "parameters": parameters,
        "data": run.plan.config.data.path or "embedded demonstration set (not DFT)",
        "elements": " ".join(chemical_symbols[number] for number in data.elements),
        "structures": f"{len(data.training):,} training, {len(data.validation):,} validation",
        "atoms": f"{statistics['atoms']:,} training",
        "edges": f"{statistics['edges']:,} training, {statistics['mean_neighbours']:.2f} an atom",
        "batches": f"{run.plan.batches_per_epoch} an epoch, of {shapes}",
        "padding": f"{100 * edge_fill(data.training.sizes, budgets):.0f} % of a batch's edges are real",
        "device": _describe_devices(run.plan.devices),
        "run": str(run.plan.folder),
    }
    only_validated = {*data.validation.structures.elements.tolist()} - {*run.progress.elements}
    if only_validated:
        symbols = " ".join(chemical_symbols[number] for number in sorted(only_validated))
        lines["unseen"] = f"{symbols}: validated on, but never trained on; use another --data.split_seed"
    lines |= _describe_left_out(data, run.plan.folder)
    print("\n".join(f"{name:>10}  {text}" for name, text in lines.items()), flush=True)
    for remark in (*run.remarks, *data.remarks):
        print(f"{'note':>10}  {remark}", flush=True)


def _describe_devices(devices: Devices | None) -> str:
    """Describe the devices that a run is on."""
    kind = f"{jax.devices()[0].device_kind} ({jax.default_backend()})"
    if devices is None:
        return kind
    processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{devices.count} x {kind}{processes}, that share each batch"


def _describe_left_out(data: Dataset, folder: Path) -> dict[str, str]:
    """Describe the structures used for neither training nor validation, and those that hygiene only flagged.

    Returns:
        Lines of text by name: how many structures had no labels, and how many hygiene refused or only
        flagged, counted by rule.
    """
    lines = {}
    if data.unlabelled:
        lines["skipped"] = f"{data.unlabelled:,} without Born effective charges"
    for name, refused in (("set aside", True), ("pointed at", False)):
        counts = Counter(finding.rule for finding in data.findings if finding.refused == refused)
        if counts:
            rules = ", ".join(f"{count:,} {rule}" for rule, count in counts.most_common())
            lines[name] = f"{rules}; see {folder / SET_ASIDE}"
    return lines
