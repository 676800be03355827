"""The finished table: rows in the order of a ranking, and the summary that is printed."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equivar_jax.io.appending import csv_row
from equivar_jax.io.files import open_for_writing
from equivar_jax.response.options import Ranking
from equivar_jax.response.screening.columns import COLUMNS, RANKINGS, Row, from_words, to_words
from equivar_jax.response.screening.measures import FLAGS, flags_of

WARNED = "warned.txt"
NAMED = 20
"""More structures than this are named in a file, not on the screen."""
_TOP = 10
_RANKED_BY = {
    "anomaly": "largest singular value of a charge over the nominal charge",
    "uncertainty": "largest standard deviation of a charge, in e",
    "epsilon": "electronic dielectric constant",
}


def read_rows(table: Path) -> list[Row]:
    """Read the rows of the unfinished table, in the order of the input."""
    with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [from_words(words) for words in csv.DictReader(file)]


def rank_rows(rows: Sequence[Row], ranking: Ranking) -> list[Row]:
    """Sort rows by a ranking, the largest first, and give each its rank.

    Args:
        rows: In the order of the input, which equal ones keep.
        ranking: One of `RANKINGS`.

    Returns:
        Copies of the rows with "rank", from 1. Those without the number follow with no rank, and those that
        could not be used come last.
    """
    by = RANKINGS[ranking]

    def place(row: Row) -> tuple[bool, bool, float]:
        value = row[by]
        return bool(row["error"]), value is None, 0.0 if value is None else -value

    ordered = sorted(rows, key=place)
    return [
        {"rank": None if row[by] is None else number, **row} for number, row in enumerate(ordered, start=1)
    ]


def write_table(path: Path, rows: Sequence[Row]) -> None:
    """Write ranked rows as CSV."""
    with open_for_writing(path) as handle:
        handle.write(csv_row(["rank", *COLUMNS]))
        for row in rows:
            rank = "" if row["rank"] is None else row["rank"]
            handle.write(csv_row([rank, *to_words(row)]))


def summarise(rows: Sequence[Row], ranking: Ranking, folder: Path) -> str:
    """Say how many structures there are, name every warned and every refused one, and show the top ten.

    More than `NAMED` are named in a file of the folder.

    Args:
        rows: Ranked rows.
        ranking: One of `RANKINGS`.
        folder: Of the output.
    """
    usable = [row for row in rows if not row["error"]]
    refused = [row for row in rows if row["error"]]
    warned = [row for row in usable if row["warnings"]]
    lines = [f"{len(rows):,} structures: {len(usable):,} predicted, {len(refused):,} could not be used"]
    counts = {name: sum(bool(row[name]) for row in usable) for name in FLAGS.values()}
    kinds = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items() if count)
    lines.append(f"{len(warned):,} with a warning" + f": {kinds}" * bool(kinds))
    named = [f"  {name_of(row)}: {row['warnings'] or row['error']}" for row in (*warned, *refused)]
    path = folder / WARNED
    path.unlink(missing_ok=True)
    if len(named) > NAMED:
        with open_for_writing(path) as handle:
            handle.writelines(f"{line.strip()}\n" for line in named)
        lines.append(f"  each of them, and of those that could not be used, is named in {path}")
    else:
        lines += named
    return "\n".join([*lines, "", *_top(usable, ranking)])


def name_of(row: Row) -> str:
    """Return file, frame and formula of a row, as far as they are known."""
    frame = "" if row["frame"] is None else f", frame {row['frame']}"
    return f"{row['file']}{frame}" + f" ({row['formula']})" * bool(row["formula"])


def _top(usable: Sequence[Row], ranking: Ranking) -> list[str]:
    """Return the first rows of a ranking as lines of text."""
    lines = [f"Ranked by {ranking}: {_RANKED_BY[ranking]}"]
    for row in [row for row in usable if row["rank"] is not None][:_TOP]:
        value = f"{row[RANKINGS[ranking]]:8.3g}"
        whose = f" of {row['anomaly_element']:2s}" if ranking == "anomaly" else ""
        flags = ", ".join(flags_of(row))
        lines.append(
            f"{row['rank']:3d} {value}{whose}  {row['formula']:16s} {_charges(row):32s}"
            + f"  [{flags}]" * bool(flags)
        )
    return [line.rstrip() for line in lines]


def _charges(row: dict[str, Any]) -> str:
    return str(row["charges_e"]).replace(";", "")
