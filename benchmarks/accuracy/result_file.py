"""The result files of the accuracy benchmarks: JSON with one row for each training.

    {
     "protocol": "small",
     "data": "what the labels are, in words",
     "defaults": {"model.channels": 64, "train.epochs": 500, ...},
     "rows": [{"label": "BM2, seed 0", "config": {"model.channels": 32}, "validation": {...}, ...}]
    }

A row holds only what a table may read. Its `config` has the settings that differ from `defaults`, by dotted
names as on the command line. `defaults` are those of the version that wrote the file first and stand in the
file itself, so a default that changes in a later version changes the meaning of no row. Errors of single
elements are left out, except where rows are cross-validated: only the table of `folds` reads them, and run
directories have them all.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from equivar_jax.config.schema import Config
from equivar_jax.config.settings import to_dict
from equivar_jax.io.files import write_whole


def read_rows(path: Path) -> dict[str, Any]:
    """Read a result file.

    Returns:
        Its content without `defaults`; the `config` of every row is whole again, nested as by `to_dict`.
        Without a file: no rows.
    """
    content = _read_file(path)
    defaults = content.pop("defaults", {})
    for row in content["rows"]:
        if "config" in row:
            row["config"] = _nest({**defaults, **row["config"]})
    return content


def find_row(path: Path, label: str) -> dict[str, Any] | None:
    """Return the row of a result file that has this label, or None."""
    return next((row for row in read_rows(path)["rows"] if row["label"] == label), None)


def keep_row(path: Path, head: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Write a row to its place in a result file, or to its end.

    The file is read anew before, since other processes may have added rows to it.

    Args:
        path: The file.
        head: Its `protocol` and `data`.
        row: The row, with a whole `config`, nested as `to_dict` gives it.
    """
    rows = read_rows(path)["rows"]
    places = [place for place, other in enumerate(rows) if other["label"] == row["label"]]
    rows[places[0] if places else len(rows) : (places[0] + 1) if places else len(rows)] = [row]
    defaults = _common_defaults(rows, _read_file(path).get("defaults", {}))
    written = [_shorten_config(_drop_elements(each), defaults) for each in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps({**head, "defaults": defaults, "rows": written}, indent=1) + "\n")


def _read_file(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.is_file() else {"rows": []}


def _common_defaults(rows: Sequence[Mapping[str, Any]], kept: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values, by dotted name, that rows leave out of their `config`.

    Args:
        rows: All rows of the file, with whole configs.
        kept: What the file has as `defaults`; settings that it does not name get the default of this version.

    Returns:
        Only settings that every row has: a row of a version that lacks a setting could not say so otherwise.
        None where no row has a config.
    """
    configs = [_flatten(row["config"]) for row in rows if "config" in row]
    if not configs:
        return {}
    known = {**_flatten(to_dict(Config())), **kept}
    return {name: value for name, value in known.items() if all(name in config for config in configs)}


def _shorten_config(row: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with those settings only that differ from the defaults."""
    if "config" not in row:
        return dict(row)
    config = {
        name: value
        for name, value in _flatten(row["config"]).items()
        if name not in defaults or repr(value) != repr(defaults[name])  # 1, 1.0 and True are three values
    }
    return {**row, "config": config}


def _drop_elements(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row without errors of single elements, unless it is cross-validated."""
    found = dict(row)
    if "cross_validation" in row:
        return found
    if "validation" in row:
        found["validation"] = _overall_only(row["validation"])
    if "tests" in row:
        found["tests"] = {name: _overall_only(test) for name, test in row["tests"].items()}
    return found


def _overall_only(report: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in report.items() if name != "elements"}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by dotted name, such as "model.channels"."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= _flatten(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted name as nested dictionaries."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        *sections, last = name.split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
        place[last] = value
    return nested
