"""The textbook table: charges of the shipped weights beside published ones.

`python -m benchmarks.real_data.textbook` writes it to `results/textbook.md`.
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
from equivar_jax.errors import plain_messages
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.uncertainty.domain import DomainWarning

TRAINING = ("Petretto 2018",)
"""Sources of the training data, so that agreement with them is no test."""


def make_lines(crystal: TextbookCrystal, predictor: Predictor) -> list[str]:
    """Return the lines of the table for one crystal."""
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


def collect_differences(predictor: Predictor) -> dict[str, np.ndarray]:
    """Collect the confirmed values by source: rows of the model's value less the published one, and sigma."""
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


def describe_coverage(by_source: dict[str, np.ndarray]) -> str:
    """Say in words how many published values are within one and two sigma of the model's.

    Only sources other than those of the training data count. Some of their values are for crystals that were
    trained on with the values of another calculation.
    """
    difference, sigma = np.concatenate([rows for name, rows in by_source.items() if name not in TRAINING]).T
    one, two = (float(np.mean(np.abs(difference) <= k * sigma)) for k in (1, 2))
    return (
        f"Of the {len(sigma)} confirmed values of other sources {100 * one:.0f} % are within sigma and "
        f"{100 * two:.0f} % within two; those sources differ among themselves, too."
    )


def make_document(predictor: Predictor) -> str:
    """Return the whole document in Markdown."""
    crystals = textbook_crystals()
    known = set(predictor.metadata.elements)
    usable = [crystal for crystal in crystals if set(crystal.build().numbers.tolist()) <= known]
    by_source = collect_differences(predictor)
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
        f"most calculations relaxed theirs. **{TRAINING[0]} is a source of the training data**: agreement "
        "with it shows that it was learned, not that it was predicted; many crystals are in the other, "
        "the Kyoto phonon database, whose values are not in this table. Values from memory could not be "
        "checked against their source.",
        "",
        "| source | confirmed values | mean of abs. difference | |",
        "|---|---|---|---|",
        *sources,
        "",
        describe_coverage(by_source),
        "",
        "| crystal | site | component | model | sigma | published | source |",
        "|---|---|---|---|---|---|---|",
    ]
    body = [line for crystal in usable for line in make_lines(crystal, predictor)]
    left_out = [crystal.name for crystal in crystals if crystal not in usable]
    tail = ["", f"Left out, with elements the model has not seen: {', '.join(left_out) or 'none'}.", ""]
    return "\n".join([*head, *body, *tail])


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default=None)
    parser.add_argument("--output", type=Path, default=RESULTS / "textbook.md")
    options = parser.parse_args()
    with plain_messages():
        use_compilation_cache()
        options.output.write_text(make_document(load(options.checkpoint)))


if __name__ == "__main__":
    main()
