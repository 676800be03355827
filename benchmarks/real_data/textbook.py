"""The textbook table: charges of the shipped weights beside published ones (`results/textbook.md`).

python -m benchmarks.real_data.textbook
"""

import argparse
import warnings
from pathlib import Path

import numpy as np

from benchmarks.common.timing import RESULTS
from equivar_jax import load
from equivar_jax.datasets.textbook import (
    CITATIONS,
    TextbookCrystal,
    compare,
    component,
    textbook_crystals,
)
from equivar_jax.errors import exit_on_input_error
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.runtime import enable_compilation_cache
from equivar_jax.uncertainty.domain import DomainWarning

TRAINING = ("Petretto 2018", "Materials Project")
"""Sources of the training data: no test of what was learned from them."""


def rows_of(crystal: TextbookCrystal, predictor: Predictor) -> list[str]:
    """Lines of the table for one crystal."""
    atoms = crystal.build()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        tensors, sigma = predictor.predict(atoms, uncertainty=True)
    lines, name = [], crystal.name
    for reference, value in compare(crystal, tensors):
        uncertain = component(sigma[reference.atom], reference.component)
        published = f"{reference.value:.2f}" + ("" if reference.confirmed else " (from memory)")
        cells = (name, reference.site, reference.component, f"{value:.2f}", f"{uncertain:.2f}", published)
        lines.append(f"| {' | '.join(cells)} | {reference.source} |")
        name = ""
    return lines


def differences(predictor: Predictor) -> dict[str, np.ndarray]:
    """Model less published value and sigma, a row each, by source, of the confirmed values."""
    found: dict[str, list[tuple[float, float]]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        for crystal in textbook_crystals():
            tensors, sigma = predictor.predict(crystal.build(), uncertainty=True)
            for reference, value in compare(crystal, tensors):
                if reference.confirmed:
                    uncertain = component(sigma[reference.atom], reference.component)
                    found.setdefault(reference.source, []).append((value - reference.value, uncertain))
    return {source: np.array(rows) for source, rows in found.items()}


def covered(by_source: dict[str, np.ndarray]) -> str:
    """How many values of other sources than the training data are as near as the uncertainty says.

    Some are of crystals that were trained on, with another calculation's values.
    """
    difference, sigma = np.concatenate([rows for name, rows in by_source.items() if name not in TRAINING]).T
    one, two = (float(np.mean(np.abs(difference) <= k * sigma)) for k in (1, 2))
    return (
        f"Of the {len(sigma)} confirmed values of other sources {100 * one:.0f} % are within sigma and "
        f"{100 * two:.0f} % within two; those sources differ among themselves, too."
    )


def table(predictor: Predictor) -> str:
    """The whole document."""
    crystals = textbook_crystals()
    known = set(predictor.metadata.elements)
    usable = [crystal for crystal in crystals if set(crystal.build().numbers.tolist()) <= known]
    by_source = differences(predictor)
    sources = [
        f"| {source} | {len(rows)} | {np.mean(np.abs(rows[:, 0])):.3f} | {citation.text}; {citation.method} |"
        for source, citation in CITATIONS.items()
        if (rows := by_source.get(source)) is not None
    ]
    head = [
        "# The textbook table",
        "",
        "Made by `python -m benchmarks.real_data.textbook`. Components in e, [field, displacement]; sigma is "
        "the uncertainty of that component, of a trace the mean of its three. Structures are measured ones, "
        f"most calculations relaxed theirs. **{TRAINING[0]} is the source of most of the training data**: "
        "agreement with it shows that it was learned, not that it was predicted. Values from memory could "
        "not be checked against their source.",
        "",
        "| source | confirmed values | mean of abs. difference | |",
        "|---|---|---|---|",
        *sources,
        "",
        covered(by_source),
        "",
        "| crystal | site | component | model | sigma | published | source |",
        "|---|---|---|---|---|---|---|",
    ]
    body = [line for crystal in usable for line in rows_of(crystal, predictor)]
    left_out = [crystal.name for crystal in crystals if crystal not in usable]
    tail = ["", f"Left out, with elements the model has not seen: {', '.join(left_out) or 'none'}.", ""]
    return "\n".join([*head, *body, *tail])


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=None)
    parser.add_argument("--output", type=Path, default=RESULTS / "textbook.md")
    options = parser.parse_args()
    with exit_on_input_error():
        enable_compilation_cache()
        options.output.write_text(table(load(options.checkpoint)))


if __name__ == "__main__":
    main()
