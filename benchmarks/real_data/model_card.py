"""The model card of the shipped weights, made from the committees, their data and published values."""

import math
import textwrap
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms

from equivar_jax.datasets.textbook import compare, component, textbook_crystals
from equivar_jax.network.model import count_parameters
from equivar_jax.prediction.committee import Committee
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.evaluation import evaluate_model
from equivar_jax.reports.metrics import Metrics
from equivar_jax.structures import labels_of
from equivar_jax.uncertainty.domain import FAR, DomainWarning

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

TITANATES = ("cubic BaTiO3", "cubic SrTiO3", "cubic PbTiO3")
LARGE = 5.0
"""Bound in e: in titanates, only the charges of Ti and of O along Ti–O are larger."""


def chemistry(atoms: Atoms) -> str:
    """Return the kind of compound: an oxide, or what its anions say."""
    symbols = set(atoms.get_chemical_symbols())
    if "O" in symbols:
        return "oxides" if symbols.isdisjoint({"H"}) else "oxides with hydrogen"
    return next((name for name, anions in ANIONS if symbols & anions), "others")


def crystal_system(atoms: Atoms) -> str:
    """Return the crystal system by the number of the space group."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-2)
    number = 1 if found is None else found.number
    return next(name for last, name in SYSTEMS if number <= last)


def make_error_lines(
    kinds: Sequence[str], predicted: Sequence[np.ndarray], labels: Sequence[np.ndarray], structures
):
    """Return lines of a table: the number of structures and atoms of each kind, and their errors."""
    lines = []
    for kind in sorted(set(kinds)):
        metrics, chosen = Metrics(), [k for k, other in enumerate(kinds) if other == kind]
        for k in chosen:
            metrics.update(structures[k].numbers, predicted[k], labels[k])
        overall = metrics.to_report().overall
        lines.append(
            f"| {kind} | {len(chosen)} | {overall.atoms} | {overall.mae:.3f} | {overall.mae_diagonal:.3f} | "
            f"{overall.mae_off_diagonal:.3f} |"
        )
    return lines


def write_card(
    first: Committee,
    structures: Sequence[Atoms],
    alone: Sequence[float],
    final: Predictor,
    counts: Mapping[str, int],
    path: Path,
) -> None:
    """Evaluate on the held-out structures and write the card.

    Args:
        first: The committee of the first training, calibrated.
        structures: Labelled structures that were held out of the first training.
        alone: MAE of each of its members on these, in e.
        final: The committee of the second training.
        counts: "refused", the number of structures that hygiene set aside, and "not_counted", the number of
            held-out structures that the first committee cannot predict.
        path: The file to write.
    """
    predicted = first.predictor.predict(structures)
    labels = [labels_of(atoms) for atoms in structures]
    report = evaluate_model(first.predictor, structures)
    domain, statistics = final.metadata.domain, final.metadata.statistics
    assert domain is not None
    heading = "| {} | structures | atoms | MAE | diagonal | off-diagonal |\n|---|---|---|---|---|---|"
    elements = []
    for symbol, count in domain.structures.items():
        error = report.elements.get(symbol)
        tested = f"{error.atoms} | {error.mae:.3f}" if error else "0 | "
        elements.append(f"| {symbol} | {count} | {domain.atoms[symbol]} | {tested} |")
    path.write_text(
        _TEXT.format(
            members=final.members,
            last_seed=final.members - 1,
            parameters=f"{count_parameters(final.weights) // final.members:,}",
            structures=f"{statistics['structures']:,}",
            atoms=f"{statistics['atoms']:,}",
            refused=counts["refused"],
            not_counted=counts["not_counted"],
            held_out=len(structures) + counts["not_counted"],
            mae=f"{first.mae:.4f}",
            alone=", ".join(f"{mae:.4f}" for mae in alone),
            epochs=final.metadata.config.train.epochs,
            calibration=textwrap.indent(final.calibration.table(), "    "),
            chemistry=_join_lines(
                heading.format("anions"),
                make_error_lines([chemistry(a) for a in structures], predicted, labels, structures),
            ),
            systems=_join_lines(
                heading.format("crystal system"),
                make_error_lines([crystal_system(a) for a in structures], predicted, labels, structures),
            ),
            elements=_join_lines(
                "| element | training structures | training atoms | held-out atoms | MAE (e) |\n"
                "|---|---|---|---|---|",
                elements,
            ),
            far=FAR,
            relative=100 * final.calibration.relative,
            largest=f"{domain.largest_sigma or 0:.2f}",
            **describe_anomalous(final),
        )
    )


def describe_anomalous(predictor: Predictor) -> dict[str, float]:
    """Return what the card says of anomalous charges.

    These are some charges in e with their sigma, and how far the largest charges of cubic titanates are off
    the first value of the textbook table, in per cent ("short") and in sigma ("sigmas").
    """
    crystals = {crystal.name: crystal for crystal in textbook_crystals()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        found = {
            name: predictor.predict(crystals[name].build(), uncertainty=True)
            for name in (*TITANATES, "cubic WO3")
        }
    short: dict[tuple[str, str], tuple[float, float]] = {}
    for name in TITANATES:
        tensors, sigma = found[name]
        for reference, value in compare(crystals[name], tensors):
            if abs(reference.value) > LARGE:
                uncertain = component(sigma[reference.atom], reference.component)
                off = 1 - value / reference.value, abs(value - reference.value) / uncertain
                short.setdefault((name, reference.site), off)
    barium, tungsten = found["cubic BaTiO3"], found["cubic WO3"]
    return {
        "titanium": barium[0][1, 0, 0],
        "titanium_sigma": barium[1][1, 0, 0],
        "oxygen": barium[0][2, 2, 2],
        "oxygen_sigma": barium[1][2, 2, 2],
        "tungsten": tungsten[0][0, 0, 0],
        "tungsten_sigma": tungsten[1][0, 0, 0],
        "short": math.ceil(100 * max(per_cent for per_cent, _ in short.values())),
        "sigmas": max(sigmas for _, sigmas in short.values()),
    }


def _join_lines(heading: str, lines: Iterable[str]) -> str:
    """Return a table as one text."""
    return "\n".join([heading, *lines])


_TEXT = """# Model card: the weights that come with equivar_jax

A committee of {members} BM3 networks of {parameters} parameters each. `predict(atoms)` gives their mean, and
with `uncertainty=True` a standard deviation of every component. Made by `python -m benchmarks.real_data.ship`
(from the folder that `EQUIVAR_DATA` names), which also wrote this page.

## Data and licence

| set | source | licence |
|---|---|---|
| phonon-dfpt | Petretto et al., Sci. Data 5, 180065 (2018), as collected in e3nn-models | CC-BY 4.0 |
| mp-dielectric | Materials Project, as collected by Martin et al., arXiv:2508.17870 | CC-BY 4.0 |

The weights are under the licence of this package, Apache-2.0; please cite the data, too. {structures}
structures ({atoms} atoms) were trained on; {refused} were set aside by the hygiene rules (sum rule, symmetry,
bound, duplicates, contradictions).

## How good

Errors and uncertainties are those of networks that were trained in the same way without a tenth of the
compositions, {held_out} structures, of which {not_counted} with elements seen nowhere else are not counted.
These structures decided which epoch of each member was kept, which makes the errors slightly optimistic; the
weights of the package have a tenth more data and are of the last epoch, which makes them slightly
pessimistic. The uncertainty is carried over: no structure is left that could test these weights themselves.

Held-out compositions: MAE {mae} e over all components and atoms; the members alone {alone} e.

{chemistry}

{systems}

MAE in e over nine components, diagonal and off-diagonal ones.

Uncertainty, on the held-out compositions (two-fold: fitted on one half, counted on the other):

{calibration}

The square of a component's spread is half that of the members, half its mean over the atom, and the square
of {relative:g} % of the component, which is fitted, too; the other shares are fixed. Errors have heavier
tails than a normal distribution, so fewer than 95 % are within two sigma; and the members agree with each
other more than with the truth where all of them extrapolate, as below.

A warning says when an element was in fewer than five training structures, when atoms are closer than in
training, and when the uncertainty of an atom is above {largest} e, {far:g} times the 99th percentile of the
held-out part.
The picture is `committee/calibration.png`.

Beside published values (`benchmarks/results/textbook.md`, 50 crystals): charges of compounds that stand alone
in the data, and anomalous ones of high-symmetry phases, come out too small, in cubic titanates by up
to {short} % or {sigmas:.1f} sigma of the first value in that table. Cubic BaTiO3 has Ti
{titanium:.2f} ± {titanium_sigma:.2f} and O along the bond {oxygen:.2f} ± {oxygen_sigma:.2f} e (published:
7.16 to 7.40, and -5.69 to -5.86), cubic WO3 W {tungsten:.2f} ± {tungsten_sigma:.2f} e (published: 12.51, far
outside).

## Elements

{elements}

## What it must not be used for

- **Metals and near-metals**: Born charges are not defined, or diverge as the gap closes. It cannot tell.
- **Magnetic ordering, charge ordering, open shells**: it sees positions and elements only. Compounds of 3d
  and 4f elements in the training data are those whose calculation was insulating as set up.
- **Other functionals**: labels are of semilocal functionals. Against hybrids or measurement expect the
  differences that these functionals have, a few per cent, more near phase transitions.
- **Charged cells, defects, surfaces, molecules, liquids**: not in the training data, which are crystals near
  their equilibrium. For dynamics of one material, fine-tune on a few frames of it (`--config finetune.py`).
- **Elements that are not listed**, which are refused.

## How it was trained

`configs/bm3.py`, {epochs} epochs, the weights of the last, seeds 0 to {last_seed}. Do it again:

    EQUIVAR_DATA=... python -m benchmarks.real_data.ship --members {members}
"""
