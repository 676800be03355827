"""Tables of the model card: errors by test part, by kind of compound and crystal system, by element."""

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import spglib
from ase import Atoms

from benchmarks.real_data.shipped_errors import Judged
from equivar_jax.reports.metrics import Metrics
from equivar_jax.uncertainty.calibration import CoverageSummary
from equivar_jax.uncertainty.domain import Domain

ANIONS = (
    ("nitrides, phosphides, arsenides, antimonides", {"N", "P", "As", "Sb", "Bi"}),
    ("sulfides, selenides, tellurides", {"S", "Se", "Te"}),
    ("fluorides", {"F"}),
    ("chlorides, bromides, iodides", {"Cl", "Br", "I"}),
)
SYSTEMS = (
    (2, "triclinic"),
    (15, "monoclinic"),
    (74, "orthorhombic"),
    (142, "tetragonal"),
    (167, "trigonal"),
    (194, "hexagonal"),
    (230, "cubic"),
)


def chemistry(atoms: Atoms) -> str:
    """Return the kind of compound: an oxide, or what its anions say."""
    symbols = set(atoms.get_chemical_symbols())
    if "O" in symbols:
        return "oxides" if symbols.isdisjoint({"H"}) else "oxides with hydrogen"
    return next((name for name, anions in ANIONS if symbols & anions), "others")


def crystal_system(atoms: Atoms) -> str:
    """Return the crystal system by the number of the space group."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    with warnings.catch_warnings():
        # Before 3.0, spglib warns in each call that it returns None for an error instead of raising one.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry_dataset(cell, symprec=1e-2)
        except spglib.SpglibError:
            found = None
    number = 1 if found is None else found.number
    return next(name for last, name in SYSTEMS if number <= last)


def parts_table(judged: Mapping[str, Judged]) -> str:
    """Return the errors of the charges on each test part."""
    lines = []
    for name, part in judged.items():
        overall = part.charges.overall
        alone = ", ".join(f"{mae:.4f}" for mae in part.alone)
        lines.append(
            f"| {name} | {len(part.structures)} | {overall.atoms} | **{overall.mae:.4f}** | {alone} | "
            f"{part.median:.4f} | {overall.mae_diagonal:.4f} | {overall.mae_off_diagonal:.4f} |"
        )
    heads = ("test part", "crystals", "atoms", "MAE", "members alone", "median of crystals", "diagonal")
    return _join((*heads, "off-diagonal"), lines)


def dielectric_table(judged: Mapping[str, Judged]) -> str:
    """Return the errors of the electronic dielectric tensor on the test parts that have labels of it."""
    lines = [
        f"| {name} | {part.structures} | {part.median:.1f} % | {part.mean:.1f} % |"
        for name, one in judged.items()
        if (part := one.dielectric) is not None
    ]
    return _join(("test part", "crystals", "trace off, median", "trace off, mean"), lines)


def coverage_table(judged: Mapping[str, Judged]) -> str:
    """Return how many errors are within one and two sigma on each test part."""
    lines = []
    for name, part in judged.items():
        lines += _coverage_lines(f"{name}, charges", part.coverage)
        lines += _coverage_lines(f"{name}, eps_inf", part.dielectric and part.dielectric.coverage)
    return _join(("test part", "within sigma", "within 2 sigma", "Spearman correlation"), lines)


def _coverage_lines(label: str, covered: CoverageSummary | None) -> list[str]:
    if covered is None:
        return []
    one, two = 100 * covered.within_one, 100 * covered.within_two
    return [f"| {label} | {one:.1f} % | {two:.1f} % | {covered.spearman:.2f} |"]


def kinds_table(heading: str, kinds: Sequence[str], parts: Sequence[Judged]) -> str:
    """Return the errors of the charges by kind.

    Args:
        heading: What the kinds are.
        kinds: Of the structures of all parts, one after the other.
        parts: The parts.
    """
    numbers = [atoms.numbers for part in parts for atoms in part.structures]
    predicted = [tensors for part in parts for tensors in part.predicted]
    labels = [tensors for part in parts for tensors in part.labels]
    lines = []
    for kind in sorted(set(kinds)):
        metrics, chosen = Metrics(), [k for k, other in enumerate(kinds) if other == kind]
        for k in chosen:
            metrics.update(numbers[k], predicted[k], labels[k])
        overall = metrics.to_report().overall
        lines.append(
            f"| {kind} | {len(chosen)} | {overall.atoms} | {overall.mae:.3f} | {overall.mae_diagonal:.3f} | "
            f"{overall.mae_off_diagonal:.3f} |"
        )
    return _join((heading, "crystals", "atoms", "MAE", "diagonal", "off-diagonal"), lines)


def elements_table(domain: Domain, parts: Sequence[Judged]) -> str:
    """Return how often each element was trained on and tested, and its error."""
    metrics = Metrics()
    for part in parts:
        for atoms, tensors, label in zip(part.structures, part.predicted, part.labels, strict=True):
            metrics.update(atoms.numbers, tensors, label)
    errors = metrics.to_report().elements
    lines = []
    for symbol, count in domain.structures.items():
        error = errors.get(symbol)
        tested = f"{error.atoms} | {error.mae:.3f}" if error and np.isfinite(error.mae) else "0 | "
        lines.append(f"| {symbol} | {count} | {domain.atoms[symbol]} | {tested} |")
    heads = ("element", "training structures", "training atoms", "test atoms", "MAE (e)")
    return _join(heads, lines)


def _join(heads: Sequence[str], lines: Iterable[str]) -> str:
    """Return a table as one text."""
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *lines])
