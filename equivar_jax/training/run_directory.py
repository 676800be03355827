"""The folder of a run: everything it writes, and a README that says so."""

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from ase import Atoms

from equivar_jax.config.old_settings import read_config
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import to_dict
from equivar_jax.datasets.load import Dataset
from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.hygiene import SET_ASIDE, write_findings
from equivar_jax.io.files import write_whole
from equivar_jax.structures import source

_README = """\
# A training run of equivar_jax

| file | what |
|---|---|
| `config.json` | every setting of the run, measured ones filled in |
| `split.json` | which structures were trained on and which validated on; `--data.split_path` takes it back |
| `set_aside.csv` | structures that hygiene refused (and those it only points at), each with the reason |
| `metrics.jsonl` | one line an epoch: losses and validation errors in e, learning rate, ms per atom |
| `checkpoints/best` | the weights {kept}, with config, elements and statistics |
| `checkpoints/last` | the complete state, from which the run can be resumed |
{closing}
    equivar predict --checkpoint {run} structure.cif -o tensors.csv
    equivar evaluate --checkpoint {run} --data labelled.extxyz
    equivar train --resume {run}

Tensors are Born effective charges in e, index order [atom, electric field, displacement].
"""


CLOSING_FILES = {
    "history.png": "training loss and validation MAE against epoch",
    "parity.png": "the best weights on the validation part, after the acoustic sum rule",
    "validation.json": "their errors",
}
"""What the closing evaluation of a run writes, when its training is complete: files, and what they are."""


def new_run_directory(name: str, path: str | None) -> Path:
    """Choose the folder of a new run: `path`, or `runs/<name>-<date>-<time>` below the current folder.

    It is made by `describe_run`, once there is something to put into it.

    Raises:
        InputError: the folder holds something already, or could not be made.
    """
    folder = Path(path) if path else Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S}"
    with input_error_unless_writable(folder, "--run-dir"):
        there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
        occupied = there == folder.absolute() and any(folder.iterdir())
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            raise InputError(f"{folder}: cannot make the run directory in {there}; choose another --run-dir")
    if occupied:
        raise InputError(f"{folder}: not empty; choose another --run-dir, or continue that run with --resume")
    return folder


def stored_config(folder: Path) -> Config | None:
    """Read the settings that a run was begun with, also of one that was killed before it had saved a state.

    Returns:
        The settings, measured ones filled in; None if no run was begun in the folder.

    Raises:
        InputError: the file that holds them is damaged.
    """
    path = folder / "config.json"
    if not (path.is_file() and (folder / "split.json").is_file()):
        return None
    try:
        return read_config(json.loads(path.read_text(encoding="utf-8")), str(path))
    except InputError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not the settings of a run ({type(error).__name__}: {error}); start anew"
        ) from None


def describe_run(folder: Path, config: Config, dataset: Dataset) -> None:
    """Make the folder; write README, config and split.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    with input_error_unless_writable(folder, "--run-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        _write_description(folder, config, dataset)


def _write_description(folder: Path, config: Config, dataset: Dataset) -> None:
    list_files(folder, config)
    parts = {"training": dataset.training.structures, "validation": dataset.validation.structures}
    write_json(folder / "split.json", {name: _names(part) for name, part in parts.items()})
    write_findings(folder / SET_ASIDE, dataset.findings)
    write_json(folder / "config.json", to_dict(config))  # the last: a run can begin from it


def list_files(folder: Path, config: Config) -> None:
    """Write the README of a run, which lists what is there."""
    kept = "with the lowest validation MAE" if config.train.keep == "best" else "of the last epoch"
    missing = missing_closing_files(folder)
    rows = [f"| `{name}` | {what} |\n" for name, what in CLOSING_FILES.items() if name not in missing]
    if missing:
        names = ", ".join(f"`{name}`" for name in missing)
        rows.append(f"\nNot there yet, but when training is complete and has been evaluated: {names}.\n")
    write_whole(folder / "README.md", _README.format(run=folder, kept=kept, closing="".join(rows)))


def missing_closing_files(folder: Path) -> list[str]:
    """Return which of `CLOSING_FILES` a run does not have."""
    return [name for name in CLOSING_FILES if not (folder / name).is_file()]


def drop_closing_files(folder: Path) -> None:
    """Remove `CLOSING_FILES`: a run that goes on will have other weights than those they are about."""
    for name in CLOSING_FILES:
        (folder / name).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_whole(path, json.dumps(value, indent=2) + "\n")


def append_record(folder: Path, record: dict[str, Any]) -> None:
    """Add a line to `metrics.jsonl`.

    Raises:
        InputError: it cannot be written.
    """
    path = folder / "metrics.jsonl"
    try:
        with path.open("a") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{path}: cannot be written ({reason}); make room, and go on with --resume {folder}"
        ) from None


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of `metrics.jsonl`."""
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    # A process that was killed while writing leaves a line without its end.
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def drop_records_after(folder: Path, epoch: int) -> None:
    """Drop the lines of epochs that a resumed run will run again."""
    if not (folder / "metrics.jsonl").exists():
        return
    kept = [record for record in read_records(folder) if record["epoch"] <= epoch]
    write_whole(folder / "metrics.jsonl", "".join(json.dumps(record) + "\n" for record in kept))


def _names(structures: Iterable[Atoms]) -> list[str]:
    return [source(atoms) for atoms in structures]
