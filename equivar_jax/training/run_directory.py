"""The folder of a run: everything it writes, and a README that says so."""

import json
import os
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from ase import Atoms

from equivar_jax.config.schema import Config
from equivar_jax.config.settings import to_dict
from equivar_jax.datasets.load import Dataset
from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.hygiene import SET_ASIDE, write_findings
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
| `history.png` | training loss and validation MAE against epoch |
| `parity.png`, `validation.json` | the best weights on the validation part, after the acoustic sum rule |

    equivar predict --checkpoint {run} structure.cif -o tensors.csv
    equivar evaluate --checkpoint {run} --data labelled.extxyz
    equivar train --resume {run}

Tensors are Born effective charges in e, index order [atom, electric field, displacement].
"""


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


def describe_run(folder: Path, config: Config, dataset: Dataset) -> None:
    """Make the folder; write README, config and split.

    Raises:
        InputError: the folder cannot be made or written to.
    """
    with input_error_unless_writable(folder, "--run-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        _write_description(folder, config, dataset)


def _write_description(folder: Path, config: Config, dataset: Dataset) -> None:
    kept = "with the lowest validation MAE" if config.train.keep == "best" else "of the last epoch"
    (folder / "README.md").write_text(_README.format(run=folder, kept=kept))
    write_json(folder / "config.json", to_dict(config))
    parts = {"training": dataset.training.structures, "validation": dataset.validation.structures}
    write_json(folder / "split.json", {name: _names(part) for name, part in parts.items()})
    write_findings(folder / SET_ASIDE, dataset.findings)


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n")


def append_record(folder: Path, record: dict[str, Any]) -> None:
    """Add a line to `metrics.jsonl`."""
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(record) + "\n")


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Read the lines of `metrics.jsonl`."""
    path = folder / "metrics.jsonl"
    text = path.read_text() if path.exists() else ""
    # A process that was killed while writing leaves a line without its end.
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def drop_records_after(folder: Path, epoch: int) -> None:
    """Drop the lines of epochs that a resumed run will run again."""
    kept = [record for record in read_records(folder) if record["epoch"] <= epoch]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in kept))


def _names(structures: Iterable[Atoms]) -> list[str]:
    return [source(atoms) for atoms in structures]
