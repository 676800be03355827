"""What was found: one finding for each structure and rule, and how they are counted and written."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from equivar_jax.errors import InputError, input_error_unless_writable

Rule = Literal[
    "unreadable",
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
    """One structure that one rule objects to."""

    index: int
    """Place in the list of structures; -1 for what could not be read."""
    source: str
    """File and frame."""
    rule: Rule
    reason: str
    """Why, in words, with the value and the tolerance."""
    refused: bool
    """Whether the structure is set aside; otherwise it is kept and only pointed at."""
    value: float = float("nan")
    """What was compared with the tolerance."""


@dataclass(frozen=True)
class Measurements:
    """One value a structure, in the order of the list; NaN where a rule does not apply."""

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
    """What the antisymmetric parts say about the index order of all structures together."""

    compositions: int
    """How many different compositions could be asked."""
    log_odds: float
    """Natural logarithm of the odds for [field, displacement] against [displacement, field]."""
    certain: int
    """How many structures have an antisymmetric part of which one can be sure, one way or the other."""
    opposed: int
    """How many of these look transposed."""
    verdict: Literal["field first", "transposed", "mixed", "undecided"]

    def __str__(self) -> str:
        """One line for a table."""
        asked = f"log odds {self.log_odds:+.1f}, compositions {self.compositions}"
        if self.verdict == "mixed":
            return (
                f"WARNING: a part of these tensors looks TRANSPOSED ({self.opposed} of {self.certain} clear "
                "cases); find out which files or frames have the other index order"
            )
        if self.verdict == "transposed":
            return (
                f"WARNING: these tensors look TRANSPOSED ({asked}); check the format's documentation, and "
                "read them with the first index displacement if that is what it says"
            )
        if self.verdict == "field first":
            return f"index order: the field comes first, as it should ({asked})"
        return f"index order: not told by these structures ({asked})"


@dataclass(frozen=True)
class HygieneReport:
    """The outcome of `check_labels`."""

    sources: tuple[str, ...]
    """File and frame of every structure."""
    findings: tuple[Finding, ...]
    unlabelled: tuple[int, ...]
    """Structures without Born effective charges; they are in no finding and not kept."""
    measurements: Measurements
    elements: dict[str, int]
    """In how many labelled structures each element occurs."""
    index_order: IndexOrder

    @property
    def warning(self) -> str:
        """What all structures together are suspected of; empty if nothing."""
        return str(self.index_order) if self.index_order.verdict in ("transposed", "mixed") else ""

    @property
    def kept(self) -> list[int]:
        """Places of the structures to learn from, rising."""
        left_out = {finding.index for finding in self.findings if finding.refused} | set(self.unlabelled)
        return [index for index in range(len(self.sources)) if index not in left_out]

    def counts(self) -> dict[Rule, int]:
        """How many structures each rule objects to; every rule is there."""
        return {rule: sum(finding.rule == rule for finding in self.findings) for rule in RULES}

    def table(self, worst: int = 3) -> str:
        """The report as text: a line for each rule with findings, its worst offenders, and totals.

        Args:
            worst: How many structures to name for each rule.
        """
        return "\n".join(
            [*rule_lines(self.findings, worst), *_totals(self), str(self.index_order)],
        )

    def write(self, folder: Path) -> Path:
        """Write every finding to `set_aside.csv` in a folder, which is made if it is not there.

        Columns: source, rule, refused (yes or no), value, reason.

        Returns:
            The file.

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
    """The finding for a frame that a reader refused (numbers that are not finite, for one)."""
    where, separator, reason = str(error).partition(": ")
    if not separator:
        where, reason = "unknown", str(error)
    return Finding(-1, where, "unreadable", reason, refused=True)


def rule_lines(findings: Sequence[Finding], worst: int) -> list[str]:
    """A line for each rule that found something, followed by its first offenders."""
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
    """How many structures there were, and what became of them."""
    unread = sum(finding.rule == "unreadable" for finding in report.findings)
    refused = len(report.sources) - len(report.unlabelled) - len(report.kept)
    lines = [f"{len(report.sources)} structures: {len(report.kept)} kept, {refused} set aside"]
    if report.unlabelled:
        lines[0] += f", {len(report.unlabelled)} without Born effective charges"
    if unread:
        lines[0] += f"; {unread} more could not be read"
    return lines
