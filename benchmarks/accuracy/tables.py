"""Tables of `results/accuracy` in Markdown, made from the rows of a result file.

The tables read errors of single elements only of cross-validated rows (`elements_table`).
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common.tables import markdown_table

Rows = Sequence[Mapping[str, Any]]

PUBLISHED_SMALL = [["published", "131k", "224 in all", "", "", "0.0117"]]
"""The first cells of a line, up to the MAE in e: a model of 131k parameters on 224 perovskites."""
PUBLISHED = {
    "published, specialised": {"perovskite": 0.0088, "Li3PO4": 0.0199, "ZrO2": 0.0325},
    "published, BM1": {"perovskite": 0.0207, "Li3PO4": 0.0196, "ZrO2": 0.0323},
    "published, BM2": {"perovskite": 0.0260, "Li3PO4": 0.0227, "ZrO2": 0.0370},
}
"""MAE in e on each kind. Specialised models were trained on that kind, BM1 and BM2 on all."""
PUBLISHED_DRIFT = {"published, BM1": 0.154, "published, BM2": 0.173}
"""Drift before correction, in e."""

_ERRORS = {
    "MAE": ("overall", "mae"),
    "RMSE": ("overall", "rmse"),
    "MAE dia": ("overall", "mae_diagonal"),
    "MAE off": ("overall", "mae_off_diagonal"),
    "RMSPE dia %": ("overall", "rmspe_diagonal"),
    "drift a cell": ("drift", "per_cell_mean"),
}
"""Columns of errors, and where a report has the number."""
_SIZES = ["parameters", "structures, training + validation", "epochs", "seeds"]
_HEADER = ["", *_SIZES, *_ERRORS, "training, s"]
_TRANSFERRED = (
    ("overall", "mae", 4),
    ("overall", "rmse", 4),
    ("atoms", "percentile_99", 3),
    ("atoms", "largest", 3),
)
"""Columns of `states_table`: where a report has the number, and its digits."""
MANY = (
    "from_charges",
    "hyperparameters",
    "learning_curve",
    "seeds",
    "ablation",
    "ablation_trajectory",
    "states",
    "unseen",
    "finetune",
)
"""Protocols with too many runs for the table of drifts, or with none."""


def group_by_variant(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Group rows that differ by their seed only, by the name of their variant."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["facts"].get("variant", row["label"]), []).append(row)
    return found


def select_finished(rows: Rows) -> list[Mapping[str, Any]]:
    """Return the rows whose loss stayed finite."""
    return [row for row in rows if "failed" not in row]


def general_table(rows: Rows, published: Sequence[list[str]] = ()) -> str:
    """Make a table with a line for each variant: sizes, errors on the validation part, time.

    Args:
        rows: Rows of a result file.
        published: Further lines, given by their first cells, up to the MAE.
    """
    lines = [_general_line(name, found) for name, found in group_by_variant(rows).items()]
    lines += [[*cells, *[""] * (len(_HEADER) - len(cells))] for cells in published]
    return markdown_table(_HEADER, lines)


def hyperparameter_table(rows: Rows) -> str:
    """Make the general table with a further column: the error divided by that of the base."""
    base = [row for row in select_finished(rows) if row["facts"].get("setting") == "base"]
    lines = []
    for name, found in group_by_variant(rows).items():
        good = select_finished(found)
        ratio = mean_error(good) / mean_error(base) if good and base else None
        lines.append([*_general_line(name, found), "" if ratio is None else f"{ratio:.2f}"])
    return markdown_table([*_HEADER, "MAE, times the base's"], lines)


def seeds_table(rows: Rows) -> str:
    """Make a table with a line for each seed, then one with mean and spread of each variant."""
    single = [_general_line(row["label"], [row]) for row in rows]
    together = [_general_line(f"{name}, all", found) for name, found in group_by_variant(rows).items()]
    return markdown_table(_HEADER, [*single, *together])


def by_test_table(rows: Rows, with_published: bool) -> str:
    """Make a table of MAE in e with a line for each variant and a column for each test set."""
    tests = list(dict.fromkeys(test for row in select_finished(rows) for test in row["tests"]))
    lines = []
    for name, found in group_by_variant(rows).items():
        good = select_finished(found)
        trained = str(good[0]["structures"]["training"]) if good else "diverged"
        cells = []
        for test in tests:
            values = [row["tests"][test]["overall"]["mae"] for row in good if test in row["tests"]]
            cells.append(format_number(values))
        lines.append([name, trained, *cells])
    if with_published:
        for name, errors in PUBLISHED.items():
            lines.append([name, "", *(_published_cell(errors, test) for test in tests)])
    return markdown_table(["", "training structures", *tests], lines)


def tests_table(rows: Rows) -> str:
    """Make a table with lines for the validation part and for each test set of each variant."""
    lines = []
    for name, found in group_by_variant(rows).items():
        good = select_finished(found)
        tests = [None, *dict.fromkeys(test for row in good for test in row["tests"])] if good else []
        for test in tests:
            reports = [_report_of(row, test) for row in good if test is None or test in row["tests"]]
            structures = reports[0]["drift"]["structures"]
            size = reports[0]["overall"]["atoms"] / structures
            cells = _error_cells(reports)
            drift = format_number([report["drift"]["per_atom_mean"] for report in reports], 5)
            lines.append([name, test or "validation", str(structures), f"{size:.0f}", *cells, drift])
    header = ["", "tested on", "structures", "atoms a cell", *_ERRORS, "drift an atom"]
    return markdown_table(header, lines)


def targets_table(rows: Rows) -> str:
    """Make a table with a line for each data set and network: sizes, times, validation and test errors."""
    lines = []
    for name, found in group_by_variant(rows).items():
        good = select_finished(found)
        tests = [row["tests"]["test"]["overall"]["mae"] for row in good]
        lines.append(
            [
                name,
                f"{found[0]['parameters']:,}",
                str(found[0]["epochs"]),
                str(len(found[0].get("seeds", found))),
                format_number([row["training_seconds"] for row in good], 0),
                format_number([row["ms_per_atom_epoch"] for row in good], 3),
                format_number([row["validation"]["overall"]["mae"] for row in good]),
                format_number(tests),
            ]
        )
    header = ["", "parameters", "epochs", "seeds", "training, s", "ms/atom/epoch", "validation", "test MAE"]
    return markdown_table(header, lines)


def states_table(rows: Rows) -> str:
    """Make a table with a line for each variant: sizes, then errors in the trained state and another."""
    lines = []
    for name, found in group_by_variant(rows).items():
        good = select_finished(found)
        tests = [[row["tests"][test] for row in good] for test in ("held out", "transfer")]
        cells = []
        for reports in tests:
            for part, key, digits in _TRANSFERRED:
                cells.append(format_number([report[part][key] for report in reports], digits))
        sizes = [f"{good[0]['parameters']:,}" if good else "", str(found[0]["epochs"]), str(len(found))]
        lines.append([name, *sizes, format_number([row["training_seconds"] for row in good], 0), *cells])
    columns = ("MAE", "RMSE", "99 %", "largest")
    header = [*(f"held out: {name}" for name in columns), *(f"transfer: {name}" for name in columns)]
    return markdown_table(["", "parameters", "epochs", "seeds", "training, s", *header], lines)


def finetune_table(rows: Rows) -> str:
    """Make a table of test MAE with a line for each number of frames and a column for each start."""
    starts = list(dict.fromkeys(row["facts"]["start"] for row in rows))
    lines = []
    for frames in sorted({row["facts"]["frames"] for row in rows}):
        cells = []
        for start in starts:
            chosen = [row for row in select_finished(rows) if (frames, start) == _start_of(row)]
            cells.append(
                format_number([row["tests"]["test"]["overall"]["mae"] for row in chosen]) if chosen else ""
            )
        lines.append([str(frames), *cells])
    return markdown_table(["frames", *(f"{start}, test MAE" for start in starts)], lines)


def _start_of(row: Mapping[str, Any]) -> tuple[int, str]:
    """Return the number of frames of a row and where its weights started."""
    return row["facts"]["frames"], row["facts"]["start"]


def elements_table(rows: Rows) -> str:
    """Make a table of the errors of each element over the folds, of the first seed of each variant."""
    lines = []
    for name, found in group_by_variant(rows).items():
        folds, pooled = found[0]["cross_validation"]["over_folds"], found[0]["validation"]["elements"]
        for symbol, errors in folds.items():
            if symbol == "all":
                continue
            cells = [_folds_cell(errors[key]) for key in ("mae", "mae_diagonal", "mae_off_diagonal")]
            lines.append([name, symbol, f"{pooled[symbol]['atoms']:,}", *cells])
    return markdown_table(["", "element", "atoms", "MAE", "MAE dia", "MAE off"], lines)


def drift_table(rows: Rows) -> str:
    """Make a table of the charge drift before the sum rule, run by run."""
    lines = []
    for row in rows:
        found = row["drift"]
        cells = [f"{found[key]:.4f}" for key in ("per_cell_mean", "per_cell_max")]
        cells.append(f"{found['per_atom_mean']:.5f}")
        parameters = f"{row['parameters']:,}"
        sizes = [f"{found['structures']:,}", f"{row['atoms'] / found['structures']:.0f}"]
        lines.append([row["file"], row["label"], row["set"], parameters, *sizes, *cells])
    for name, value in PUBLISHED_DRIFT.items():
        lines.append([name, "", "", "", "", "", f"{value:.3f}", "", ""])
    header = ["file", "run", "on", "parameters", "structures", "atoms a cell"]
    return markdown_table([*header, "drift a cell", "largest", "drift an atom"], lines)


def format_number(values: Sequence[float | None], digits: int = 4) -> str:
    """Format the mean ± standard deviation of the values that are not None."""
    there = [value for value in values if value is not None]
    if not there:
        return ""
    mean = f"{statistics.mean(there):.{digits}f}"
    return f"{mean} ± {statistics.stdev(there):.{digits}f}" if len(there) > 1 else mean


def mean_error(rows: Rows) -> float:
    """Return the MAE on the validation part, averaged over rows."""
    return statistics.mean(row["validation"]["overall"]["mae"] for row in rows)


def get_error(report: Mapping[str, Any], path: tuple[str, str]) -> float | None:
    """Return a number of a report, or None where the report lacks that part."""
    part = report.get(path[0])
    return None if part is None else part[path[1]]


def _general_line(name: str, rows: Rows) -> list[str]:
    """Return the line of a variant in the general table."""
    good = select_finished(rows)
    seconds = format_number([row["training_seconds"] for row in rows], 0)
    count = str(len(rows)) if len(good) == len(rows) else f"{len(good)} ({len(rows) - len(good)} diverged)"
    if not good:
        return [name, "", "", str(rows[0]["epochs"]), count, *[""] * len(_ERRORS), seconds]
    first, sizes = good[0], good[0]["structures"]
    cells = _error_cells([row["validation"] for row in good])
    structures = f"{sizes['training']:,} + {sizes['validation']:,}"
    return [name, f"{first['parameters']:,}", structures, str(first["epochs"]), count, *cells, seconds]


def _error_cells(reports: Rows) -> list[str]:
    """Return the cells of the columns `_ERRORS`."""
    return [
        format_number([get_error(report, path) for report in reports], 2 if "%" in name else 4)
        for name, path in _ERRORS.items()
    ]


def _report_of(row: Mapping[str, Any], test: str | None) -> Mapping[str, Any]:
    return row["validation"] if test is None else row["tests"][test]


def _published_cell(errors: Mapping[str, float], test: str) -> str:
    return next((f"{value:.4f}" for kind, value in errors.items() if test == f"{kind}, validation"), "")


def _folds_cell(spread: Mapping[str, float | None]) -> str:
    mean, deviation = spread["mean"], spread["standard_deviation"]
    return "" if mean is None else f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")
