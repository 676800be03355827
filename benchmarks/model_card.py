"""The model card of the shipped weights: every number in it comes from the committee and its data."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import spglib
from ase import Atoms

from equivar_jax.committee import Committee
from equivar_jax.data import Dataset
from equivar_jax.evaluate import evaluate_model
from equivar_jax.metrics import Metrics
from equivar_jax.model import count_parameters
from equivar_jax.predictor import Predictor

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
    """Oxides, then by the anions that are there."""
    symbols = set(atoms.get_chemical_symbols())
    if "O" in symbols:
        return "oxides" if symbols.isdisjoint({"H"}) else "oxides with hydrogen"
    return next((name for name, anions in ANIONS if symbols & anions), "others")


def crystal_system(atoms: Atoms) -> str:
    """By the number of the space group."""
    cell = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    found = spglib.get_symmetry_dataset(cell, symprec=1e-2)
    number = 1 if found is None else found.number
    return next(name for last, name in SYSTEMS if number <= last)


def errors_by(
    kinds: Sequence[str], predicted: Sequence[np.ndarray], labels: Sequence[np.ndarray], structures
):
    """Lines of a table: structures, atoms and MAE of each kind."""
    lines = []
    for kind in sorted(set(kinds)):
        metrics, chosen = Metrics(), [k for k, other in enumerate(kinds) if other == kind]
        for k in chosen:
            metrics.update(structures[k].numbers, predicted[k], labels[k])
        overall = metrics.report().overall
        lines.append(
            f"| {kind} | {len(chosen)} | {overall.atoms} | {overall.mae:.3f} | {overall.mae_diagonal:.3f} | "
            f"{overall.mae_off_diagonal:.3f} |"
        )
    return lines


def write_card(result: Committee, members: Sequence[Predictor], dataset: Dataset, path: Path) -> None:
    """Evaluate on the held-out part and write the card."""
    predictor, part = result.predictor, dataset.validation
    structures = list(part.structures)
    predicted = predictor.predict(structures)
    labels = [np.asarray(part.structures.tensors(k)) for k in range(len(structures))]
    report = evaluate_model(predictor, structures)
    refused = sum(finding.refused for finding in dataset.findings)
    alone = ", ".join(f"{member.metadata.validation_mae:.4f}" for member in members)
    domain, statistics = predictor.metadata.domain, predictor.metadata.statistics
    assert domain is not None
    heading = "| {} | structures | atoms | MAE | diagonal | off-diagonal |\n|---|---|---|---|---|---|"
    elements = []
    for symbol, count in domain.structures.items():
        error = report.elements.get(symbol)
        tested = f"{error.atoms} | {error.mae:.3f}" if error else "0 | "
        elements.append(f"| {symbol} | {count} | {domain.atoms[symbol]} | {tested} |")
    path.write_text(
        _TEXT.format(
            members=predictor.members,
            parameters=f"{count_parameters(members[0].weights):,}",
            structures=f"{statistics['structures']:,}",
            atoms=f"{statistics['atoms']:,}",
            refused=refused,
            held_out=len(structures),
            mae=f"{result.mae:.4f}",
            alone=alone,
            epochs=", ".join(str(member.metadata.epoch) for member in members),
            train_epochs=predictor.metadata.config.train.epochs,
            calibration=predictor.calibration.table(),
            chemistry=_joined(
                heading.format("anions"),
                errors_by([chemistry(a) for a in structures], predicted, labels, structures),
            ),
            systems=_joined(
                heading.format("crystal system"),
                errors_by([crystal_system(a) for a in structures], predicted, labels, structures),
            ),
            elements=_joined(
                "| element | training structures | training atoms | held-out atoms | MAE (e) |\n"
                "|---|---|---|---|---|",
                elements,
            ),
            largest=f"{domain.largest_sigma or 0:.2f}",
        )
    )


def _joined(heading: str, lines: Iterable[str]) -> str:
    return "\n".join([heading, *lines])


_TEXT = """# Model card: the weights that come with equivar_jax

A committee of {members} BM3 networks of {parameters} parameters each. `predict(atoms)` gives their mean, and
with `uncertainty=True` a standard deviation of every component. Made by `python -m benchmarks.ship` (from the
folder that `EQUIVAR_DATA` names), which also wrote this page.

## Data and licence

| set | source | licence |
|---|---|---|
| phonon-dfpt | Petretto et al., Sci. Data 5, 180065 (2018), as collected in e3nn-models | CC-BY 4.0 |
| mp-dielectric | Materials Project, as collected by Martin et al., arXiv:2508.17870 | CC-BY 4.0 |

The weights are under the licence of this package, Apache-2.0; please cite the data, too. {structures}
structures ({atoms} atoms) were trained on; {refused} were set aside by the hygiene rules (sum rule, symmetry,
bound, duplicates, contradictions). A tenth of the compositions, {held_out} structures, was held out. These
decided which epoch of each member was kept, and calibrated the uncertainty, so the errors below are slightly
optimistic.

## How good

Held-out compositions: MAE {mae} e over all components and atoms; the members alone {alone} e.

{chemistry}

{systems}

MAE in e over nine components, diagonal and off-diagonal ones.

Uncertainty, on the held-out compositions (two-fold: fitted on one half, counted on the other):

    {calibration}

A warning says when an element was in fewer than five training structures, when atoms are closer than in
training, and when the uncertainty of an atom is above {largest} e, the 99th percentile of the held-out part.
The picture is `committee/calibration.png`.

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

`configs/bm3.py`, {train_epochs} epochs, kept epochs {epochs}, seeds 0 to {members} less one. Do it again:

    EQUIVAR_DATA=... python -m benchmarks.ship --members {members}
"""
