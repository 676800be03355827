"""Check files before learning from them: `equivar data check FILE`.

The command prints for each file and rule how many structures the rule objects to, and the worst of them. It
writes every finding to `set_aside.csv` and draws the measured values in `hygiene.png`.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from ase import Atoms

from equivar_jax.config.schema import HygieneConfig
from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.hygiene.check import check_labels
from equivar_jax.hygiene.findings import RULES, HygieneReport
from equivar_jax.hygiene.picture import plot_hygiene
from equivar_jax.io import scan_structures

PICTURE = "hygiene.png"
# From this many structures on, the check takes long enough to show a progress bar.
_SHOW_PROGRESS_FROM = 500


def run(options: argparse.Namespace, config: HygieneConfig) -> None:
    """Check files: print the table, and write `set_aside.csv` and `hygiene.png`.

    Args:
        options: Those of `equivar data check`.
        config: The tolerances among them.
    """
    structures, unreadable = _read_files(options)
    report = check_labels(
        structures, config, progress=len(structures) >= _SHOW_PROGRESS_FROM, unreadable=unreadable
    )
    print(_table_by_file(report))
    print(report.table())
    folder = Path(options.output)
    with input_error_unless_writable(folder, "--output"):
        folder.mkdir(parents=True, exist_ok=True)
    written = [report.write(folder)]
    if report.elements:
        written.append(folder / PICTURE)
        plot_hygiene(report, config, written[-1], _title(options.files))
    print("written: " + ", ".join(map(str, written)))


def _title(files: Sequence[str]) -> str:
    """Return the title of the picture: the names of the files, as far as they fit."""
    names = ", ".join(Path(name).name for name in files)
    return names if len(names) <= 70 else f"{Path(files[0]).name} and {len(files) - 1} more"


def _read_files(options: argparse.Namespace) -> tuple[list[Atoms], list[InputError]]:
    """Read all structures of all files; return them, and the errors of those that could not be read."""
    structures: list[Atoms] = []
    unreadable: list[InputError] = []
    for name in options.files:
        for found in scan_structures(name, options.key, options.first_index):
            if isinstance(found, InputError):
                unreadable.append(found)
            else:
                structures.append(found)
    return structures, unreadable


def _table_by_file(report: HygieneReport) -> str:
    """Return a table of counts, of structures and of findings of each rule, per file and in total."""
    kept, unlabelled = set(report.kept), set(report.unlabelled)
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for index, where in enumerate(report.sources):
        counts = rows[_file_of(where)]
        counts["structures"] += 1
        counts["kept"] += index in kept
        counts["no label"] += index in unlabelled
    for finding in report.findings:
        rows[_file_of(finding.source)][finding.rule] += 1
    if len(rows) > 1:
        rows["all"] = sum(rows.values(), Counter())
    columns = ["structures", "kept", "no label", *RULES]
    columns = [name for name in columns if name == "structures" or any(row[name] for row in rows.values())]
    width = max(len(name) for name in [*rows, "file"])
    lines = ["  ".join([f"{'file':<{width}}", *columns])]
    for name, row in rows.items():
        numbers = [f"{row[column]:>{len(column)}}" for column in columns]
        lines.append("  ".join([f"{name:<{width}}", *numbers]))
    return "\n".join(lines) + "\n"


def _file_of(where: str) -> str:
    """Return the file of a source such as "data/a.extxyz, frame 3"."""
    return where.partition(", frame ")[0]
