"""Train a list of named configs, evaluate each, and keep one row of each in a JSON file.

    rows = [Row("BM2, seed 0", config, tests={"held out": structures})]
    run_rows(rows, Path("results/mine.json"), Path("runs"))

The file is written after every finished row. A second call skips finished rows and resumes an interrupted
training. Rows are identified by their label. Run directories are named by label and settings, so that a run
is never resumed with another config.
"""

import json
import shlex
import signal
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy.result_file import find_row, keep_row
from benchmarks.accuracy.rows import DEMONSTRATION, Row, Tests, digest_tests, run_name, slug, test_digests
from benchmarks.accuracy.tails import evaluate_atoms
from benchmarks.common.machine import describe_machine
from equivar_jax import load
from equivar_jax.config.settings import to_dict
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.folds import cross_validate, fold_folder
from equivar_jax.network.model import count_parameters
from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.reports.fold_report import plot_cross_validation
from equivar_jax.reports.plots import plot_history
from equivar_jax.reports.run_text import announce_run
from equivar_jax.training.loop import NotFiniteError, run_training
from equivar_jax.training.run import has_state, start_run
from equivar_jax.training.run_directory import read_records, write_json
from equivar_jax.weights.checkpoint import read_checkpoint


def run_rows(
    rows: Sequence[Row],
    output: Path,
    runs: Path,
    *,
    protocol: str = "run",
    data: str = DEMONSTRATION,
    command: str | None = None,
    tests: Tests | None = None,
    replace: bool = False,
) -> signal.Signals | None:
    """Train and evaluate the rows that are not finished yet.

    Args:
        rows: The rows to run, in this order.
        output: The JSON file. Its other rows stay as they are.
        runs: The folder of runs; run directories go to `runs / output.stem`.
        protocol: Name kept in the file, by which the report chooses a table.
        data: The kind of labels in words, kept in the file for the report.
        command: Command kept with each row; None: that of this process.
        tests: Labelled structures by name to test every row on, beside its own.
        replace: Whether to run a row again that the file has with other settings; otherwise it is refused.

    Returns:
        The signal that interrupted a training (everything is saved), or None if all rows are finished.

    Raises:
        InputError: Data or settings cannot be used, or the file has a row with other settings.
    """
    command = command or shlex.join(["python", *sys.argv])
    names = {row.label: run_name(row, output) for row in rows}
    _refuse_conflicts(rows, names, output, tests or {}, replace)
    for number, row in enumerate(rows, start=1):
        tested = {**(tests or {}), **row.tests}
        name, known = names[row.label], find_row(output, row.label)
        digests = {test: digest_tests(structures) for test, structures in tested.items()}
        title = f"{output.stem}, {number} of {len(rows)}: {row.label}"
        known = known if known is not None and known["run"] == name else {}
        if known.get("failed") or (known and digests.items() <= test_digests(known).items()):
            print(f"{title}: finished", flush=True)
            continue
        print(f"\n{title}, in {runs / name}", flush=True)
        found = (_cross_validate_row if row.cross_validated else _train_row)(row, runs / name)
        if isinstance(found, signal.Signals):
            return found
        if "failed" not in found:
            found["tests"] = _evaluate_tests(runs / name, tested, digests)
        head = {"label": row.label, "run": name, "facts": dict(row.facts), "seed": row.config.train.seed}
        head |= {"command": command, "epochs": row.config.train.epochs, "config": to_dict(row.config)}
        row_found = {**head, **found, "machine": describe_machine()}
        keep_row(output, {"protocol": protocol, "data": data}, row_found)
    return None


def _refuse_conflicts(
    rows: Sequence[Row], names: Mapping[str, str], output: Path, tests: Tests, replace: bool
) -> None:
    """Raise before anything is trained if rows conflict with each other or with those in the file."""
    if len(names) < len(rows):
        labels = [row.label for row in rows]
        raise InputError(f"{output}: two rows have the same label; give each its own: {labels}")
    for row in rows:
        if row.cross_validated and {**tests, **row.tests}:
            raise InputError(
                f"{row.label!r} is validated by its folds and cannot be tested on more; leave out --test"
            )
        known = find_row(output, row.label)
        if known is not None and known["run"] != names[row.label] and not replace:
            raise InputError(
                f"{output} has a row {row.label!r} with other settings (run {known['run']}); "
                "write to another --output, or run it again with --replace"
            )


def _train_row(row: Row, folder: Path) -> dict[str, Any] | signal.Signals:
    """Train a row, from where it was left, and evaluate the best weights on the validation part.

    Returns:
        What belongs in the row, or the signal that interrupted the training.
    """
    config, failed = row.config, None
    resume = has_state(folder)
    if not resume or read_checkpoint(folder, "last")[1].epoch < config.train.epochs:
        run = start_run(config, folder, resume=resume)
        announce_run(run)
        try:
            interrupted = run_training(run)
        except NotFiniteError as error:  # that is a result, too
            failed, interrupted = str(error), None
            print(failed, flush=True)
        if interrupted is not None:
            return interrupted
    records = read_records(folder)
    if failed is not None:
        return {**_sum_cost(records), "failed": failed}
    predictor, dataset = load(folder), load_dataset(config)
    validation = dataset.validation.structures
    report = evaluate_model(predictor, validation, allow_unseen=True, parity_plot=folder / "parity.png")
    write_json(folder / "validation.json", report.to_dict())
    plot_history(records, folder / "history.png")
    print(report.table(), flush=True)
    return {
        **_sum_cost(records),
        "config": to_dict(predictor.metadata.config),
        "best_epoch": predictor.metadata.epoch,
        "parameters": count_parameters(predictor.params),
        "structures": {"training": len(dataset.training), "validation": len(validation)},
        "statistics": predictor.metadata.statistics,
        "validation": report.to_dict(),
    }


def _cross_validate_row(row: Row, folder: Path) -> dict[str, Any] | signal.Signals:
    """Train and validate all folds of a row; the pooled errors take the place of the validation errors.

    Returns:
        What belongs in the row, or the signal that interrupted the training.
    """
    result = cross_validate(row.config, folder)
    if isinstance(result, signal.Signals):
        return result
    write_json(folder / "cross_validation.json", result.to_dict())
    plot_cross_validation(result, folder / "cross_validation.png")
    print(result.table(), flush=True)
    folds = [fold_folder(folder, fold) for fold in range(row.config.data.folds or 0)]
    predictor = load(folds[0])
    splits = [json.loads((fold / "split.json").read_text()) for fold in folds]
    validated = sum(len(split["validation"]) for split in splits)
    trained = round(statistics.mean(len(split["training"]) for split in splits))
    return {
        **_sum_cost([record for fold in folds for record in read_records(fold)]),
        "parameters": count_parameters(predictor.params),
        "structures": {"training": trained, "validation": validated},
        "validation": result.pool().to_dict(),
        "cross_validation": result.to_dict(),
    }


def _evaluate_tests(folder: Path, tests: Tests, digests: Mapping[str, str]) -> dict[str, Any]:
    """Evaluate the best weights of a run on each test set and write full reports to its folder."""
    if not tests:
        return {}
    found, predictor = {}, load(folder)
    for name, structures in tests.items():
        picture = folder / f"parity-{slug(name)}.png"
        report = evaluate_model(predictor, structures, allow_unseen=True, parity_plot=picture, title=name)
        write_json(folder / f"test-{slug(name)}.json", report.to_dict())
        atoms = sum(map(len, structures))
        print(f"\n{name}:\n{report.table()}", flush=True)
        counts = {
            "digest": digests[name],
            "structures": len(structures),
            "mean_atoms": atoms / len(structures),
        }
        found[name] = {**counts, **report.to_dict(), "atoms": evaluate_atoms(predictor, structures)}
    return found


def _sum_cost(records: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """Sum the seconds of all epochs, without validation, and take the median of ms an atom and epoch."""
    rates = [record["ms_per_atom"] for record in records]
    return {
        "training_seconds": sum(record["seconds"] for record in records),
        "ms_per_atom_epoch": statistics.median(rates) if rates else None,
    }
