"""Findings of the check, one for each structure and rule, and how they are counted and written."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from equivar_jax.errors import InputError, input_error_unless_writable

Rule = Literal[
    "unreadable",
    "zero",
    "sum rule",
    "component",
    "symmetry",
    "conflict",
    "duplicate",
    "near-duplicate",
    "transposed",
    "rare element",
]
RULES: tuple[Rule, ...] = get_args(Rule)
SET_ASIDE = "set_aside.csv"


@dataclass(frozen=True)
class Finding:
    """One rule's objection to one structure."""

    index: int
    """Place in the list of structures; -1 for a frame that could not be read."""
    source: str
    """File and frame."""
    rule: Rule
    reason: str
    """The reason in words, with the value and the tolerance."""
    refused: bool
    """Whether the structure is set aside; otherwise it is kept and only reported."""
    value: float = float("nan")
    """The value that was compared with the tolerance."""


@dataclass(frozen=True)
class Measurements:
    """One value per structure, in the order of the list; NaN where a rule does not apply."""

    sum_rule: np.ndarray
    """`|sum_i Z_i - Q 1|`, largest component, over the square root of the number of atoms, in e."""
    largest: np.ndarray
    """Largest absolute component, in e."""
    symmetry: np.ndarray
    """Largest deviation from the symmetry of the crystal, over the size of the tensors."""
    agreement: np.ndarray
    """How well the antisymmetric parts agree with the expected ones, -1 to 1; see `transposition`."""


@dataclass(frozen=True)
class IndexOrder:
    """The evidence of the antisymmetric parts about the index order of all structures together."""

    compositions: int
    """Number of different compositions that give evidence."""
    log_odds: float
    """Natural logarithm of the odds for [field, displacement] against [displacement, field]."""
    certain: int
    """Number of structures whose antisymmetric part is clear, one way or the other."""
    opposed: int
    """Number of these that look transposed."""
    verdict: Literal["field first", "transposed", "mixed", "undecided"]

    def __str__(self) -> str:
        """Return the verdict as one line for a table."""
        asked = f"log odds {self.log_odds:+.1f}, compositions {self.compositions}"
        if self.verdict == "mixed":
            return (
                f"WARNING: a part of these tensors looks TRANSPOSED ({self.opposed} of {self.certain} clear "
                "cases); find out which files or frames have the other index order"
            )
        if self.verdict == "transposed":
            return (
                f"WARNING: these tensors look TRANSPOSED ({asked}); check the format's documentation, and "
                "read them with the first index displacement if that is what it says (BORN files that abipy "
                "wrote have it)"
            )
        if self.verdict == "field first":
            return f"index order: the field comes first, as it should ({asked})"
        return f"index order: cannot be told from these structures ({asked})"


@dataclass(frozen=True)
class HygieneReport:
    """The outcome of `check_labels`."""

    sources: tuple[str, ...]
    """File and frame of every structure."""
    findings: tuple[Finding, ...]
    unlabelled: tuple[int, ...]
    """Places of the structures without Born effective charges; they have no findings and are not kept."""
    measurements: Measurements
    elements: dict[str, int]
    """Element -> number of labelled structures that contain it."""
    index_order: IndexOrder

    @property
    def warning(self) -> str:
        """Warning if all structures together look transposed, fully or in part; else empty."""
        return str(self.index_order) if self.index_order.verdict in ("transposed", "mixed") else ""

    @property
    def kept(self) -> list[int]:
        """Places of the structures to learn from, in rising order."""
        left_out = {finding.index for finding in self.findings if finding.refused} | set(self.unlabelled)
        return [index for index in range(len(self.sources)) if index not in left_out]

    def counts(self) -> dict[Rule, int]:
        """Return how many structures each rule objects to; every rule is a key."""
        return {rule: sum(finding.rule == rule for finding in self.findings) for rule in RULES}

    def table(self, worst: int = 3) -> str:
        """Return the report as text: a line for each rule with findings, its worst offenders, and totals.

        Args:
            worst: How many structures to name for each rule.
        """
        return "\n".join(
            [*rule_lines(self.findings, worst), *_totals(self), str(self.index_order)],
        )

    def write(self, folder: Path) -> Path:
        """Write every finding to `set_aside.csv` in a folder, which is made if it does not exist.

        Columns: source, rule, refused (yes or no), value, reason.

        Returns:
            The path of the file.

        Raises:
            InputError: the folder cannot be written to.
        """
        path = Path(folder) / SET_ASIDE
        write_findings(path, self.findings)
        return path


def write_findings(path: Path, findings: Sequence[Finding]) -> None:
    """Write findings as CSV: source, rule, refused (yes or no), value, reason.

    Raises:
        InputError: the file cannot be written.
    """
    with input_error_unless_writable(path, "folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["source", "rule", "refused", "value", "reason"])
            for f in findings:
                value = f"{f.value:.6g}" if np.isfinite(f.value) else ""
                writer.writerow([f.source, f.rule, "yes" if f.refused else "no", value, f.reason])


def unreadable_finding(error: InputError) -> Finding:
    """Return the finding for a frame that a reader refused, for example for non-finite numbers."""
    where, separator, reason = str(error).partition(": ")
    if not separator:
        where, reason = "unknown", str(error)
    return Finding(-1, where, "unreadable", reason, refused=True)


def rule_lines(findings: Sequence[Finding], worst: int) -> list[str]:
    """Return a line for each rule that found something, followed by its `worst` worst offenders."""
    lines = []
    for rule in RULES:
        found = [finding for finding in findings if finding.rule == rule]
        if not found:
            continue
        refused = sum(finding.refused for finding in found)
        lines.append(f"{rule:<15} {len(found):>6} found, {refused:>6} set aside")
        # The smaller the distance and the rarer the element, the worse; elsewhere the larger the value.
        smallest_first = rule in ("duplicate", "near-duplicate", "rare element")
        found.sort(key=lambda finding: abs(np.nan_to_num(finding.value)), reverse=not smallest_first)
        lines += [f"    {finding.source}: {finding.reason}" for finding in found[:worst]]
        if len(found) > worst:
            lines.append(f"    and {len(found) - worst} more")
    return lines


def _totals(report: HygieneReport) -> list[str]:
    """Return the lines that say how many structures there were, and what became of them."""
    unread = sum(finding.rule == "unreadable" for finding in report.findings)
    refused = len(report.sources) - len(report.unlabelled) - len(report.kept)
    lines = [f"{len(report.sources)} structures: {len(report.kept)} kept, {refused} set aside"]
    if report.unlabelled:
        lines[0] += f", {len(report.unlabelled)} without Born effective charges"
    if unread:
        lines[0] += f"; {unread} more could not be read"
    return lines
