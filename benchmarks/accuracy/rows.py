"""Rows of the accuracy benchmarks: which config is trained under which label, and tested on what."""

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
    """The row's name; no two rows of a result file have the same."""
    config: Config
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What tables group and order rows by: "variant" (the label without the seed), and for some protocols the
    setting that is varied and its value."""
    tests: Tests = dataclasses.field(default_factory=dict)
    """Labelled structures by name, on which the best weights are evaluated beside the validation part."""
    cross_validated: bool = False
    """If true, all `config.data.folds` folds are trained and validated."""


def run_name(row: Row, output: Path) -> str:
    """Return the run directory of a row, relative to the folder of runs."""
    digest = hashlib.sha256(json.dumps(_changed_settings(row.config)).encode()).hexdigest()[:8]
    return f"{output.stem}/{slug(row.label)}-{digest}"


def slug(label: str) -> str:
    """Turn a label into a file name."""
    return re.sub(r"[^\w.+-]+", "-", label, flags=re.ASCII)


def digest_tests(structures: Sequence[Atoms]) -> str:
    """Return a digest of elements, cells, positions and labels, rounded so that all machines agree."""
    digest = hashlib.sha256()
    for atoms in structures:
        labels = born_effective_charges(atoms)
        for array in (atoms.cell.array, atoms.positions, np.zeros(0) if labels is None else labels):
            digest.update((np.round(array, 5) + 0.0).tobytes())
        digest.update(atoms.numbers.astype(np.int64).tobytes())
    return digest.hexdigest()[:16]


def _changed_settings(config: Config) -> dict[str, Any]:
    """Return the settings that differ from the defaults, with a digest of its content for each file.

    A setting that a later version adds therefore does not change the name of an older run.
    """
    changed = {}
    for name in setting_types(Config):
        value, default = (operator.attrgetter(name)(settings) for settings in (config, Config()))
        if value != default:
            changed[name] = _digest_content(Path(value)) if name in _PATHS else value
    return changed


def _digest_content(path: Path) -> str:
    """Return a digest of a file or of all files in a folder; of a pattern, a digest of its text."""
    path = weights.shipped_checkpoint() if str(path) == weights.NAME else path
    files = [path] if path.is_file() else sorted(found for found in path.rglob("*") if found.is_file())
    digest = hashlib.sha256(b"" if files else str(path).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def test_digests(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the digests of the test sets that a row of a result file was evaluated on, by name."""
    return {name: test["digest"] for name, test in row.get("tests", {}).items()}
