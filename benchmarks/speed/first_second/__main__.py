"""What a user waits for, old build and working tree in turn: `python -m benchmarks.speed.first_second`.

A commit is checked out beside the working tree, each of the two has a cache of its own, and every row runs
the same scripts (`scripts`) in new processes: old, new, old, new. Medians are written with the times that
must be reached. Rows that are not chosen stay in the file as they were, each with its commit.
"""

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS, write_result
from benchmarks.speed.first_second.builds import Build, two_builds
from benchmarks.speed.first_second.rows import QUICK, ROWS, Amounts, Row, require_same_tensors

BEFORE = "99eb6c5"
"""The last commit before the package was made fast from the first second."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the rows, print each number, and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.first_second", description=__doc__)
    parser.add_argument("--old", default=BEFORE, metavar="COMMIT", help="the build to compare with")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help=", ".join(ROWS))
    parser.add_argument("--repeats", type=int, default=5, help="rounds; of what takes minutes, at most three")
    parser.add_argument("--atoms", type=int, help="of the large crystal")
    parser.add_argument("--most-in-batch", type=int, help="atoms of it in one batch of the network")
    parser.add_argument("--quick", action="store_true", help="one round of little; written only to --output")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args(arguments)
    chosen = {"atoms": options.atoms, "most_in_batch": options.most_in_batch}
    amounts = (QUICK if options.quick else Amounts())._replace(
        **{name: value for name, value in chosen.items() if value is not None}
    )
    output = options.output or (None if options.quick else RESULTS / "first_second.json")
    machine = describe_machine()
    with two_builds(options.old) as builds:
        for name in options.rows:
            repeats = 1 if options.quick else min(options.repeats, ROWS[name].most_repeats)
            results = compare(ROWS[name], builds, amounts, repeats)
            if name == "many_cells":
                require_same_tensors(*builds)
            for result in results:
                print(json.dumps(result), flush=True)
            if output is not None:
                about = {"commits": [options.old, machine["commit"]], "amounts": amounts._asdict()}
                keep_row(output, machine, name, {**about, "repeats": repeats, "results": results})


def compare(row: Row, builds: tuple[Build, Build], amounts: Amounts, repeats: int) -> list[dict[str, Any]]:
    """Measure a row with both builds in turn.

    Returns:
        For each number what it is, median and all values with both builds, target, and whether it is reached.
    """
    values: dict[str, dict[str, list[float]]] = {}
    for turn in range(repeats + row.warm_up):
        for build in builds:
            measured = row.measure(build, amounts)
            if turn < row.warm_up:
                continue
            for what, value in measured.items():
                values.setdefault(what, {}).setdefault(build.name, []).append(value)
    return [describe(row, what, of_builds) for what, of_builds in values.items()]


def describe(row: Row, what: str, values: dict[str, list[float]]) -> dict[str, Any]:
    """Put one number of a row into words and medians; None where only one of the builds has it."""
    old, new = (statistics.median(values[name]) if name in values else None for name in ("old", "new"))
    target = row.target(what)
    return {
        "what": what,
        "unit": row.unit,
        "old": old,
        "new": new,
        "times_faster": old / new if old is not None and new is not None else None,
        "target": None if target is None else target._asdict(),
        "reached": None if target is None or new is None else target.is_reached(old, new),
        "all": values,
    }


def keep_row(output: Path, machine: dict[str, Any], name: str, row: dict[str, Any]) -> None:
    """Write a row into the file of results, in the place of an older one."""
    rows = json.loads(output.read_text())["rows"] if output.is_file() else {}
    rows[name] = row
    write_result(output, {**machine, "rows": {known: rows[known] for known in ROWS if known in rows}})


if __name__ == "__main__":
    main()
