"""Hygiene: find broken, rotated, transposed and duplicate labels before a network learns from them."""

from equivar_jax.hygiene.check import check_labels, cross_duplicates
from equivar_jax.hygiene.findings import SET_ASIDE, Finding, HygieneReport, rule_lines, write_findings

__all__ = [
    "SET_ASIDE",
    "Finding",
    "HygieneReport",
    "check_labels",
    "cross_duplicates",
    "rule_lines",
    "write_findings",
]
