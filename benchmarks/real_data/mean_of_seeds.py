"""A row for several trained seeds as one prediction: the mean of their tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy.result_file import keep_row, read_rows
from benchmarks.accuracy.tables import finished, variants
from equivar_jax import load
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.prediction.committee import join_members
from equivar_jax.reports.evaluation import evaluate_model

SUMMED = ("parameters", "training_seconds", "ms_per_atom_epoch")
"""What all seeds cost together."""


def mean_of_seeds(output: Path, runs: Path, parts: Path, words: Sequence[str], command: str) -> None:
    """Add such a row for each BM3 of a result file that has several seeds whose runs are there.

    Args:
        output: The result file, of `real_data targets` or `taught`.
        runs: The folder of runs.
        parts: That of the parts of the data.
        words: Only variants whose name has all of them.
        command: Kept with the rows.

    Raises:
        InputError: no network with two such seeds.
    """
    content = read_rows(output)
    head = {name: value for name, value in content.items() if name != "rows"}
    made = 0
    for variant, rows in variants(content["rows"]).items():
        there = [row for row in finished(rows) if "seeds" not in row and (runs / row["run"]).is_dir()]
        if len(there) < 2 or "BM3" not in variant or not all(word in variant for word in words):
            continue
        row = mean_row(f"{variant}, mean of {len(there)}", there, runs, parts)
        keep_row(output, head, {**row, "command": command})
        print(f"{row['label']}: {row['tests']['test']['overall']['mae']:.4f} e", flush=True)
        made += 1
    if not made:
        raise InputError(f"{output}: no BM3 of two seeds whose runs are in {runs}; run it with --seeds 0 1 2")


def mean_row(label: str, rows: Sequence[Mapping[str, Any]], runs: Path, parts: Path) -> dict[str, Any]:
    """The row of the committee of some rows: of the first of them, but for what differs."""
    folders, first = [runs / row["run"] for row in rows], rows[0]
    committee = join_members([load(folder) for folder in folders], [str(folder) for folder in folders])
    test = read_structures(parts / f"{first['facts']['set']}-test.extxyz")
    validation = load_dataset(committee.metadata.config).validation.structures
    on_validation, on_test = (
        evaluate_model(committee, part, allow_unseen=True).to_dict() for part in (validation, test)
    )
    return {
        **first,
        **{name: sum(row[name] for row in rows) for name in SUMMED},
        "label": label,
        "facts": {**first["facts"], "variant": label},
        "seeds": [row["seed"] for row in rows],
        "run": [row["run"] for row in rows],
        "validation": on_validation,
        "tests": {"test": {**first["tests"]["test"], **on_test}},
    }
