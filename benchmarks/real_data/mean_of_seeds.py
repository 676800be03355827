"""Rows for committees: several trained seeds as one prediction, the mean of their tensors."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.accuracy.result_file import keep_row, read_rows
from benchmarks.accuracy.tables import group_by_variant, select_finished
from equivar_jax import load
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.prediction.committee import join_members
from equivar_jax.reports.evaluation import evaluate_model

SUMMED = ("parameters", "training_seconds", "ms_per_atom_epoch")
"""Numbers of a row that are summed over the seeds: what all of them cost together."""


def add_means_of_seeds(output: Path, runs: Path, parts: Path, words: Sequence[str], command: str) -> None:
    """Add a row for each BM3 of a result file that has several seeds whose runs exist.

    Args:
        output: The result file, of `real_data targets` or `taught`.
        runs: The folder of runs.
        parts: The folder with the parts of the data.
        words: Only variants whose name has all of these words are taken.
        command: The command that is kept with the rows.

    Raises:
        InputError: No network has two such seeds.
    """
    content = read_rows(output)
    head = {name: value for name, value in content.items() if name != "rows"}
    made = 0
    for variant, rows in group_by_variant(content["rows"]).items():
        there = [row for row in select_finished(rows) if "seeds" not in row and (runs / row["run"]).is_dir()]
        if len(there) < 2 or "BM3" not in variant or not all(word in variant for word in words):
            continue
        row = make_mean_row(f"{variant}, mean of {len(there)}", there, runs, parts)
        keep_row(output, head, {**row, "command": command})
        print(f"{row['label']}: {row['tests']['test']['overall']['mae']:.4f} e", flush=True)
        made += 1
    if not made:
        raise InputError(
            f"{output} has no BM3 of two seeds whose runs are in {runs}; run --seeds 0 1 2 first"
        )


def make_mean_row(label: str, rows: Sequence[Mapping[str, Any]], runs: Path, parts: Path) -> dict[str, Any]:
    """Evaluate the committee of some rows and return its row, a copy of the first but for what differs."""
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
