"""Tables of `results/accuracy`: what the rows of a result file say, in Markdown."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.common.tables import markdown

Rows = Sequence[Mapping[str, Any]]

PUBLISHED_SMALL = [["published", "131k", "224 in all", "", "", "0.0117"]]
"""Up to the MAE in e: a model of 131k parameters on 224 perovskites."""
PUBLISHED = {
    "published, specialised": {"perovskite": 0.0088, "Li3PO4": 0.0199, "ZrO2": 0.0325},
    "published, BM1": {"perovskite": 0.0207, "Li3PO4": 0.0196, "ZrO2": 0.0323},
    "published, BM2": {"perovskite": 0.0260, "Li3PO4": 0.0227, "ZrO2": 0.0370},
}
"""MAE in e; specialised models of one kind, combined ones of all."""
PUBLISHED_DRIFT = {"published, BM1": 0.154, "published, BM2": 0.173}
"""Before correction, in e."""

_ERRORS = {
    "MAE": ("overall", "mae"),
    "RMSE": ("overall", "rmse"),
    "MAE dia": ("overall", "mae_diagonal"),
    "MAE off": ("overall", "mae_off_diagonal"),
    "RMSPE dia %": ("overall", "rmspe_diagonal"),
    "drift a cell": ("drift", "per_cell_mean"),
}


_SIZES = ["parameters", "structures, training + validation", "epochs", "seeds"]
_HEADER = ["", *_SIZES, *_ERRORS, "training, s"]
MANY = ("hyperparameters", "learning_curve", "seeds", "ablation", "ablation_trajectory", "unseen", "finetune")
"""Protocols whose runs are too many for the table of drifts."""


def variants(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Rows that differ by their seed only."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["facts"].get("variant", row["label"]), []).append(row)
    return found


def finished(rows: Rows) -> list[Mapping[str, Any]]:
    """Those whose loss stayed finite."""
    return [row for row in rows if "failed" not in row]


def general(rows: Rows, published: Sequence[list[str]] = ()) -> str:
    """A line a variant: sizes, errors on the validation part, time; `published` are cells up to the MAE."""
    lines = [_line(name, found) for name, found in variants(rows).items()]
    lines += [[*cells, *[""] * (len(_HEADER) - len(cells))] for cells in published]
    return markdown(_HEADER, lines)


def hyperparameters(rows: Rows) -> str:
    """The general table, and the error against the base."""
    base = [row for row in finished(rows) if row["facts"].get("setting") == "base"]
    lines = []
    for name, found in variants(rows).items():
        good = finished(found)
        ratio = error(good) / error(base) if good and base else None
        lines.append([*_line(name, found), "" if ratio is None else f"{ratio:.2f}"])
    return markdown([*_HEADER, "MAE, times the base's"], lines)


def seeds(rows: Rows) -> str:
    """Each seed, then mean and spread."""
    single = [_line(row["label"], [row]) for row in rows]
    together = [_line(f"{name}, all", found) for name, found in variants(rows).items()]
    return markdown(_HEADER, [*single, *together])


def by_test(rows: Rows, with_published: bool) -> str:
    """A column a test set, MAE in e."""
    tests = list(dict.fromkeys(test for row in finished(rows) for test in row["tests"]))
    lines = []
    for name, found in variants(rows).items():
        good = finished(found)
        trained = str(good[0]["structures"]["training"]) if good else "diverged"
        cells = []
        for test in tests:
            values = [row["tests"][test]["overall"]["mae"] for row in good if test in row["tests"]]
            cells.append(number(values))
        lines.append([name, trained, *cells])
    if with_published:
        for name, errors in PUBLISHED.items():
            lines.append([name, "", *(_published(errors, test) for test in tests)])
    return markdown(["", "training structures", *tests], lines)


def tests_table(rows: Rows) -> str:
    """A line a test set of each variant, after its validation part."""
    lines = []
    for name, found in variants(rows).items():
        good = finished(found)
        tests = [None, *dict.fromkeys(test for row in good for test in row["tests"])] if good else []
        for test in tests:
            reports = [_report(row, test) for row in good if test is None or test in row["tests"]]
            structures = reports[0]["drift"]["structures"]
            size = reports[0]["overall"]["atoms"] / structures
            cells = _errors(reports)
            drift = number([report["drift"]["per_atom_mean"] for report in reports], 5)
            lines.append([name, test or "validation", str(structures), f"{size:.0f}", *cells, drift])
    header = ["", "tested on", "structures", "atoms a cell", *_ERRORS, "drift an atom"]
    return markdown(header, lines)


def targets(rows: Rows) -> str:
    """A line a set and network: sizes, times, errors where it was tuned and where it was not."""
    lines = []
    for name, found in variants(rows).items():
        good = finished(found)
        tests = [row["tests"]["test"]["overall"]["mae"] for row in good]
        lines.append(
            [
                name,
                f"{found[0]['parameters']:,}",
                str(found[0]["epochs"]),
                str(len(found[0].get("seeds", found))),
                number([row["training_seconds"] for row in good], 0),
                number([row["ms_per_atom_epoch"] for row in good], 3),
                number([row["validation"]["overall"]["mae"] for row in good]),
                number(tests),
            ]
        )
    header = ["", "parameters", "epochs", "seeds", "training, s", "ms/atom/epoch", "validation", "test MAE"]
    return markdown(header, lines)


def finetune(rows: Rows) -> str:
    """A line a number of frames: from the shipped weights and from nothing."""
    starts = list(dict.fromkeys(row["facts"]["start"] for row in rows))
    lines = []
    for frames in dict.fromkeys(row["facts"]["frames"] for row in rows):
        cells = []
        for start in starts:
            chosen = [row for row in finished(rows) if (frames, start) == _start_of(row)]
            cells.append(number([row["tests"]["test"]["overall"]["mae"] for row in chosen]) if chosen else "")
        lines.append([str(frames), *cells])
    return markdown(["frames", *(f"{start}, test MAE" for start in starts)], lines)


def _start_of(row: Mapping[str, Any]) -> tuple[int, str]:
    return row["facts"]["frames"], row["facts"]["start"]


def elements(rows: Rows) -> str:
    """Errors of each element over the folds, of the first seed of each variant."""
    lines = []
    for name, found in variants(rows).items():
        folds, pooled = found[0]["cross_validation"]["over_folds"], found[0]["validation"]["elements"]
        for symbol, errors in folds.items():
            if symbol == "all":
                continue
            cells = [_over_folds(errors[key]) for key in ("mae", "mae_diagonal", "mae_off_diagonal")]
            lines.append([name, symbol, f"{pooled[symbol]['atoms']:,}", *cells])
    return markdown(["", "element", "atoms", "MAE", "MAE dia", "MAE off"], lines)


def drift(rows: Rows) -> str:
    """Charge drift before the sum rule, run by run."""
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
    return markdown([*header, "drift a cell", "largest", "drift an atom"], lines)


def number(values: Sequence[float | None], digits: int = 4) -> str:
    """Mean ± standard deviation of what is there."""
    there = [value for value in values if value is not None]
    if not there:
        return ""
    mean = f"{statistics.mean(there):.{digits}f}"
    return f"{mean} ± {statistics.stdev(there):.{digits}f}" if len(there) > 1 else mean


def error(rows: Rows) -> float:
    """Mean over the seeds of the MAE on the validation part."""
    return statistics.mean(row["validation"]["overall"]["mae"] for row in rows)


def get(report: Mapping[str, Any], path: tuple[str, str]) -> float | None:
    """A number of a report."""
    part = report.get(path[0])
    return None if part is None else part[path[1]]


def _line(name: str, rows: Rows) -> list[str]:
    good = finished(rows)
    seconds = number([row["training_seconds"] for row in rows], 0)
    count = str(len(rows)) if len(good) == len(rows) else f"{len(good)} ({len(rows) - len(good)} diverged)"
    if not good:
        return [name, "", "", str(rows[0]["epochs"]), count, *[""] * len(_ERRORS), seconds]
    first, sizes = good[0], good[0]["structures"]
    cells = _errors([row["validation"] for row in good])
    structures = f"{sizes['training']:,} + {sizes['validation']:,}"
    return [name, f"{first['parameters']:,}", structures, str(first["epochs"]), count, *cells, seconds]


def _errors(reports: Rows) -> list[str]:
    """Cells of `_ERRORS`."""
    return [
        number([get(report, path) for report in reports], 2 if "%" in name else 4)
        for name, path in _ERRORS.items()
    ]


def _report(row: Mapping[str, Any], test: str | None) -> Mapping[str, Any]:
    return row["validation"] if test is None else row["tests"][test]


def _published(errors: Mapping[str, float], test: str) -> str:
    return next((f"{value:.4f}" for kind, value in errors.items() if test == f"{kind}, validation"), "")


def _over_folds(spread: Mapping[str, float | None]) -> str:
    mean, deviation = spread["mean"], spread["standard_deviation"]
    return "" if mean is None else f"{mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}")
