"""Set aside the labelled structures that hygiene refuses; the results of the check are cached.

The same file with the same tolerances is checked once. If the file, a tolerance or a rule changes, it is
checked again.
"""

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from equivar_jax.cache import cache_directory, code_version
from equivar_jax.config.schema import HygieneConfig
from equivar_jax.errors import InputError
from equivar_jax.graphs.graph_table import SHOW_PROGRESS_FROM
from equivar_jax.hygiene import Finding, check_labels, cross_duplicates
from equivar_jax.io.files import write_whole
from equivar_jax.progress import announce_if_slow
from equivar_jax.storage.structure_table import StructureTable

_CODE = ("hygiene", "structures.py", "storage/structure_table.py")


class KeptStructures(NamedTuple):
    """The structures that the rules keep, and what was found."""

    kept: StructureTable
    findings: list[Finding]
    """Findings about structures that are refused or only reported."""
    warning: str
    """Warning about the whole data set, such as transposed tensors; empty if there is none."""


def drop_refused(
    structures: StructureTable, unreadable: list[InputError], config: HygieneConfig
) -> KeptStructures:
    """Apply the rules of `equivar_jax.hygiene` to the labelled structures of a file and keep the good ones.

    Raises:
        InputError: nothing is left; the message gives the first reason.
    """

    def check() -> dict[str, Any]:
        many = len(structures) >= SHOW_PROGRESS_FROM
        report = check_labels(structures, config, progress=many, unreadable=unreadable)
        return {
            "kept": [int(index) for index in report.kept],
            "findings": [dataclasses.asdict(finding) for finding in report.findings],
            "warning": report.warning,
        }

    with announce_if_slow(f"checking the labels of {len(structures):,} structures"):
        found = _from_cache_or_make("hygiene", (*_identity(structures), *map(str, unreadable)), config, check)
    findings = [Finding(**finding) for finding in found["findings"]]
    if not found["kept"]:
        first = next(finding for finding in findings if finding.refused)
        raise InputError(
            f"{first.source}: {first.reason}; nothing is left of {len(structures)} structures: "
            "mend the labels, or take them as they are with --data.hygiene.enabled False"
        )
    return KeptStructures(structures.subset(found["kept"]), findings, found["warning"])


def find_overlap(
    training: StructureTable, validation: StructureTable, config: HygieneConfig
) -> list[Finding]:
    """Find validation structures that the training part also has, or nearly has.

    Returns:
        Findings whose `index` is the place among the validation structures.
    """

    def check() -> list[dict[str, Any]]:
        return [dataclasses.asdict(finding) for finding in cross_duplicates(training, validation, config)]

    found = _from_cache_or_make("overlap", (*_identity(training), *_identity(validation)), config, check)
    return [Finding(**finding) for finding in found]


def _identity(structures: StructureTable) -> tuple[str, str]:
    """Return digests of the content of a table and of the choice of its rows, for a key."""
    return structures.columns.key, hashlib.sha256(structures.chosen.tobytes()).hexdigest()


def _from_cache_or_make(
    kind: str, identity: tuple[str, ...], config: HygieneConfig, make: Callable[[], Any]
) -> Any:
    """Return what `make` returns, from the cache if the same was computed before.

    The value must be representable as JSON. If the cache cannot be written, a warning is given.
    """
    parts = (*identity, json.dumps(dataclasses.asdict(config)), code_version(*_CODE))
    name = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    path = cache_directory() / f"{kind}-{name[:32]}.json"
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):  # the file does not exist yet, or is damaged
        value = make()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(value), is_shared=True)
    except OSError as error:
        warnings.warn(f"{path}: not cached ({error.strerror or error})", RuntimeWarning, stacklevel=3)
    return value
