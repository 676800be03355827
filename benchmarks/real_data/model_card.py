"""The model card of the shipped weights, made from the committee, its errors, its data, published values."""

import math
import shlex
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.real_data.card_tables import (
    chemistry,
    coverage_table,
    crystal_system,
    dielectric_table,
    elements_table,
    kinds_table,
    parts_table,
)
from benchmarks.real_data.shipped_errors import Judged
from benchmarks.real_data.sources import SOURCES, sources_table
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import to_dict
from equivar_jax.datasets.load import Dataset
from equivar_jax.datasets.textbook import compare, component, textbook_crystals
from equivar_jax.network.model import count_parameters
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.uncertainty.domain import FAR, DomainWarning

TITANATES = ("cubic BaTiO3", "cubic SrTiO3", "cubic PbTiO3")
LARGE = 5.0
"""Bound in e: in titanates, only the charges of Ti and of O along Ti–O are larger."""
OF_THE_RUN = ("model.mean_neighbours", "model.kernel", "train.seed", "train.checkpoint_minutes")
"""Settings that are measured, or that change nothing or only the seed."""


def write_card(
    predictor: Predictor,
    judged: Mapping[str, Judged],
    dataset: Dataset,
    path: Path,
    config: str,
    first: str = "",
) -> None:
    """Write the card.

    Args:
        predictor: The committee that ships.
        judged: Its errors on the test parts, by data set.
        dataset: What it was trained on and calibrated with.
        path: The file to write.
        config: Name of the config that was trained from.
        first: Markdown that stands before everything else.
    """
    domain, statistics = predictor.metadata.domain, predictor.metadata.statistics
    assert domain is not None
    trained_on = {source.name for source in SOURCES if source.is_trained_on}
    dielectric = predictor.dielectric_calibration.table("", "crystal")
    own = [part for name, part in judged.items() if name in trained_on]
    crystals = [atoms for part in own for atoms in part.structures]
    left_out = [f"{part.left_out} of {name}" for name, part in judged.items() if part.left_out]
    path.write_text(
        _TEXT.format(
            members=predictor.members,
            last_seed=predictor.members - 1,
            parameters=f"{count_parameters(predictor.weights) // predictor.members:,}",
            first=f"{first.strip()}\n\n" * bool(first.strip()),
            sources=sources_table(),
            structures=f"{statistics['structures']:,}",
            atoms=f"{statistics['atoms']:,}",
            validation=len(dataset.validation),
            refused=sum(finding.refused for finding in dataset.findings),
            parts=parts_table(judged),
            dielectric=dielectric_table(judged),
            coverage=coverage_table(judged),
            left_out=", ".join(left_out) or "none",
            mae=f"{predictor.metadata.validation_mae:.4f}",
            calibration=textwrap.indent(predictor.calibration.table(), "    "),
            dielectric_calibration=textwrap.indent(dielectric, "    "),
            tests=" and ".join(name for name in judged if name in trained_on),
            chemistry=kinds_table("anions", [chemistry(atoms) for atoms in crystals], own),
            systems=kinds_table("crystal system", [crystal_system(atoms) for atoms in crystals], own),
            elements=elements_table(domain, own),
            far=FAR,
            relative=100 * predictor.calibration.relative,
            largest=f"{domain.largest_sigma or 0:.2f}",
            config=config,
            settings=describe_settings(predictor.metadata.config, config),
            **describe_anomalous(predictor),
        )
    )


def describe_settings(config: Config, name: str) -> str:
    """Return the settings of network and training that differ from those of a shipped config, as options."""
    ours, theirs = _flatten(to_dict(config)), _flatten(to_dict(load_config(name)))
    changed = {
        setting: value
        for setting, value in ours.items()
        if value != theirs[setting] and setting not in OF_THE_RUN and not setting.startswith("data.")
    }
    return " ".join(f"--{setting} {shlex.quote(str(value))}" for setting, value in changed.items())


def _flatten(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the values of nested dictionaries by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flatten(value, f"{before}{name}.") if isinstance(value, dict) else {before + name: value}
    return found


def describe_anomalous(predictor: Predictor) -> dict[str, float]:
    """Return what the card says of anomalous charges.

    These are some charges in e with their sigma, and how far the largest charges of cubic titanates are off
    the first value of the textbook table, in per cent ("off") and in sigma ("sigmas").
    """
    crystals = {crystal.name: crystal for crystal in textbook_crystals()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        found = {
            name: predictor.predict(crystals[name].build(), uncertainty=True, allow_unseen=True)
            for name in (*TITANATES, "cubic WO3")
        }
    off: dict[tuple[str, str], tuple[float, float]] = {}
    for name in TITANATES:
        tensors, sigma = found[name]
        for reference, value in compare(crystals[name], tensors):
            if abs(reference.value) > LARGE:
                uncertain = component(sigma[reference.atom], reference.component)
                error = abs(value - reference.value)
                off.setdefault((name, reference.site), (error / abs(reference.value), error / uncertain))
    barium, tungsten = found["cubic BaTiO3"], found["cubic WO3"]
    return {
        "titanium": barium[0][1, 0, 0],
        "titanium_sigma": barium[1][1, 0, 0],
        "oxygen": barium[0][2, 2, 2],
        "oxygen_sigma": barium[1][2, 2, 2],
        "tungsten": tungsten[0][0, 0, 0],
        "tungsten_sigma": tungsten[1][0, 0, 0],
        "off": math.ceil(100 * max(share for share, _ in off.values())),
        "sigmas": max(sigmas for _, sigmas in off.values()),
    }


_TEXT = """# Model card: the weights that come with equivar_jax

A committee of {members} BM3 networks of {parameters} parameters each. `predict(atoms)` gives the mean of
their Born effective charges, `predict(atoms, dielectric=True)` that of their electronic dielectric tensors as
well, and with `uncertainty=True` a standard deviation of every component. Made by
`python -m benchmarks.real_data.ship` (from the folder that `EQUIVAR_DATA` names), which also wrote this page.

{first}## Data and licence

{sources}

The weights are under the licence of this package, Apache-2.0; please cite the data that they were trained on,
too. {structures} structures ({atoms} atoms) were trained on; {validation} of other compositions chose the
epoch of each member and calibrated the uncertainty; {refused} were set aside by the hygiene rules (sum rule,
symmetry, bound, duplicates, contradictions) after the sets were joined. Of a crystal that both sets have,
the one of phonondb was taken. Nothing was trained on a set that is a test only.

## How good

These weights, on compositions of which no crystal of any set was trained on. MAE in e over nine components
and all atoms:

{parts}

Left out, with elements that were never trained on: {left_out}.
On the validation part, which chose the epochs: MAE {mae} e.

The electronic dielectric tensor, whose trace is compared with that of the label:

{dielectric}

By kind of compound and by crystal system, on {tests}:

{chemistry}

{systems}

Uncertainty of the charges, on the validation part (two-fold: fitted on one half, counted on the other):

{calibration}

and of the electronic dielectric tensors:

{dielectric_calibration}

On the test parts, where nothing was fitted (68.3 and 95.4 % are expected):

{coverage}

The square of a component's spread is half that of the members, half its mean over the atom or crystal, and
the square of {relative:g} % of the component, which is fitted, too; the other shares are fixed. Errors have
heavier tails than a normal distribution, so fewer than 95 % are within two sigma; and the members agree with
each other more than with the truth where all of them extrapolate, as below.

A warning says when an element was in fewer than five training structures, when atoms are closer than in
training or have more or fewer neighbours, when their features are unlike those of training, and when the
uncertainty of an atom is above {largest} e, {far:g} times the 99th percentile of the validation part.
The picture is `committee/calibration.png`.

Beside published values (`benchmarks/results/textbook.md`, 50 crystals): anomalous charges of high-symmetry
phases stand alone in the data. They are off in cubic titanates by up to {off} % or {sigmas:.1f} sigma of the
first value in that table. Cubic BaTiO3 has Ti {titanium:.2f} ± {titanium_sigma:.2f} and O along the bond
{oxygen:.2f} ± {oxygen_sigma:.2f} e (published: 7.40 and -5.86 in an
example of ALAMODE, 7.16 and -5.69 by LDA; PBEsol in Abinit at this cell: 7.12 and -5.70),
cubic WO3 W {tungsten:.2f} ± {tungsten_sigma:.2f} e (published: 12.51).

## Elements

{elements}

Tested on {tests}.

## What it must not be used for

- **Metals and near-metals**: Born charges are not defined, or diverge as the gap closes. A warning names
  likely metals by their composition alone: three of four metals, and a few insulators
  (`benchmarks/results/metals.json`).
- **Magnetic ordering, charge ordering, open shells**: it sees positions and elements only. Compounds of 3d
  and 4f elements in the training data are those whose calculation was insulating as set up.
- **Other functionals**: labels are of PBEsol. Against hybrids or measurement expect the differences that
  semilocal functionals have, a few per cent in charges, more in dielectric tensors (which come out too large
  as gaps come out too small) and near phase transitions.
- **Charged cells, defects, surfaces, molecules, liquids**: not in the training data, which are crystals near
  their equilibrium. For dynamics of one material, fine-tune on a few frames of it (`--config finetune.py`).
- **Elements that are not listed**, which are refused.

## How it was trained

With seeds 0 to {last_seed} and the data of `python -m benchmarks.real_data.union UNION`:

    equivar train --config {config} --data UNION/training.extxyz \\
        --data.validation_path UNION/validation.extxyz {settings} --train.seed SEED

The weights are those of the epoch with the lowest validation error. Do it again, or only the card:

    EQUIVAR_DATA=... python -m benchmarks.real_data.ship --members {members}
"""
