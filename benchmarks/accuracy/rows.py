"""Rows of `benchmarks.accuracy`: what is run under which label, and the JSON file that keeps the results."""

import dataclasses
import hashlib
import json
import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from equivar_jax import weights
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import setting_types
from equivar_jax.structures import born_effective_charges

DEMONSTRATION = "embedded demonstration set (polarisable-ion model, not DFT)"
Tests = Mapping[str, Sequence[Atoms]]
_PATHS = ("data.path", "data.validation_path", "data.split_path", "train.start_from")


@dataclasses.dataclass(frozen=True)
class Row:
    """One training of a protocol, or one cross-validation."""

    label: str
    """Unique in its file."""
    config: Config
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What the tables order rows by: "variant" (the label without the seed), a varied setting, its value."""
    tests: Tests = dataclasses.field(default_factory=dict)
    """Labelled structures that the best weights are evaluated on, beside the validation part."""
    cross_validated: bool = False
    """Train and validate all of `config.data.folds`."""


def run_name(row: Row, output: Path) -> str:
    """The run directory of a row below the folder of runs."""
    digest = hashlib.sha256(json.dumps(_identity(row.config)).encode()).hexdigest()[:8]
    return f"{output.stem}/{slug(row.label)}-{digest}"


def slug(label: str) -> str:
    """A label as a file name."""
    return re.sub(r"[^\w.+-]+", "-", label, flags=re.ASCII)


def tests_digest(structures: Sequence[Atoms]) -> str:
    """Of elements, cells, positions and labels, rounded so that all machines agree."""
    digest = hashlib.sha256()
    for atoms in structures:
        labels = born_effective_charges(atoms)
        for array in (atoms.cell.array, atoms.positions, np.zeros(0) if labels is None else labels):
            digest.update((np.round(array, 5) + 0.0).tobytes())
        digest.update(atoms.numbers.astype(np.int64).tobytes())
    return digest.hexdigest()[:16]


def read_rows(path: Path) -> dict[str, Any]:
    """The content of a result file; of none, no rows."""
    return json.loads(path.read_text()) if path.is_file() else {"rows": []}


def _identity(config: Config) -> dict[str, Any]:
    """The settings that are not default ones, files by their content: new settings change no old name."""
    changed = {}
    for name in setting_types(Config):
        value, default = (operator.attrgetter(name)(settings) for settings in (config, Config()))
        if value != default:
            changed[name] = _content(Path(value)) if name in _PATHS else value
    return changed


def _content(path: Path) -> str:
    """A digest of a file or of the files in a folder; a pattern counts as its text."""
    path = weights.shipped() if str(path) == weights.NAME else path
    files = [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
    digest = hashlib.sha256(b"" if files else str(path).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def known_row(output: Path, label: str) -> dict[str, Any] | None:
    """The row of that label."""
    return next((row for row in read_rows(output)["rows"] if row["label"] == label), None)


def tests_of(row: Mapping[str, Any]) -> dict[str, str]:
    """The digests of the test sets that a row was evaluated on, by name."""
    return {name: test["digest"] for name, test in row.get("tests", {}).items()}


def keep_row(output: Path, head: Mapping[str, Any], row: Mapping[str, Any]) -> None:
    """Put a row in its place or at the end; other processes may have added others since."""
    rows = read_rows(output)["rows"]
    places = [place for place, other in enumerate(rows) if other["label"] == row["label"]]
    rows[places[0] if places else len(rows) : (places[0] + 1) if places else len(rows)] = [row]
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_suffix(".json.part")
    partial.write_text(json.dumps({**head, "rows": rows}, indent=1) + "\n")
    partial.replace(output)
