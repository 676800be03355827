"""The page: one HTML file with the table, which sorts and filters without a network."""

import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from equivar_jax.io.files import open_for_writing
from equivar_jax.response.options import Ranking
from equivar_jax.response.screening.columns import COLUMNS, RANKINGS, Row
from equivar_jax.response.screening.measures import flags_of

PAGE = "screen.html"
MOST_ROWS = 20_000
"""The page holds so many structures, the first of the ranking; the table has all."""
_LAST = ("nominal_charges_e", "charges_e", "file", "frame")
_TEMPLATE = Path(__file__).with_name("page.html")


def write_page(path: Path, rows: Sequence[Row], ranking: Ranking) -> None:
    """Write the page.

    Args:
        path: The file.
        rows: Ranked rows; those that could not be used are shown below the others.
        ranking: One of `RANKINGS`.
    """
    shown = rows[:MOST_ROWS]
    content = {
        "columns": [["rank", "whole", "rank", "place in the ranking that was asked for"], *_columns()],
        "sorted": RANKINGS[ranking],
        "rows": [[row["rank"], *_values(row)] for row in shown],
    }
    usable = sum(not row["error"] for row in rows)
    said = (
        f"{len(rows):,} structures, {usable:,} of them predicted, {len(rows) - usable:,} could not be used; "
        f"ranked by {ranking}."
    )
    if len(shown) < len(rows):
        said += f" This page has the first {len(shown):,}, screen.csv has all."
    page = _TEMPLATE.read_text(encoding="utf-8")
    # "<" would end the script element if a file's name had "</script>" in it.
    data = json.dumps(content, ensure_ascii=True, separators=(",", ":")).replace("<", "\\u003c")
    page = page.replace("{{summary}}", html.escape(said)).replace("{{data}}", data)
    with open_for_writing(path) as handle:
        handle.write(page)


def _columns() -> list[list[str]]:
    """Return name, kind, title and meaning of the columns of the page: numbers first, long texts last."""
    shown = {name: [name, one.kind, one.title, one.what] for name, one in COLUMNS.items() if one.title}
    first, last = [shown.pop("formula")], [shown.pop(name) for name in _LAST]
    what = "kinds of warnings, in words in the tip of the field; or a charge without its nominal sign"
    return [*first, ["flags", "flags", "flags", what], *shown.values(), *last]


def _values(row: Row) -> list[Any]:
    """Return the values of a row on the page, in the order of `_columns`."""
    values: list[Any] = []
    for name, kind, _, _ in _columns():
        if kind == "flags":
            values.append([["refused"] if row["error"] else flags_of(row), row["error"] or row["warnings"]])
        else:
            values.append(_printable(row[name]))
    return values


def _printable(value: Any) -> Any:
    """Return a text without the bytes of file names that are no text."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
