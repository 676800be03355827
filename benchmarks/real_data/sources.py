"""The data of the shipped weights: where each set is from, under which licence, and what it is used for.

This is the one list of them. The card of the weights is made from it, and the tests hold the card to it.
"""

from typing import NamedTuple

LICENCE = "CC-BY 4.0"
"""The licence of what may be trained on."""


class Source(NamedTuple):
    """A data set."""

    name: str
    """Of its file, `NAME.extxyz.gz` in the folder that EQUIVAR_DATA names."""
    what: str
    citation: str
    """What to cite, in the words of the data, with the licence that they state."""
    licence: str
    is_trained_on: bool
    """Otherwise the set is a test, and nothing that ships has learned from it."""


SOURCES = (
    Source(
        "phonondb",
        "PBEsol, VASP",
        "Kyoto phonon database, A. Togo, CC-BY 4.0 (2018-04-17 version)",
        LICENCE,
        is_trained_on=True,
    ),
    Source(
        "phonon-dfpt",
        "PBEsol, Abinit",
        "Petretto et al., High-throughput density-functional perturbation theory phonons for inorganic "
        "materials, Sci. Data 5, 180065 (2018), CC-BY 4.0; as collected in e3nn-models",
        LICENCE,
        is_trained_on=True,
    ),
    Source(
        "mp-dielectric",
        "PBE, VASP",
        "Materials Project, as collected by Martin et al., arXiv:2508.17870",
        "none stated",
        is_trained_on=False,
    ),
)


def sources_table() -> str:
    """Return the sets with their licences as a table in Markdown."""
    lines = ["| set | used for | calculated with | source | licence |", "|---|---|---|---|---|"]
    for source in SOURCES:
        use = "training and test" if source.is_trained_on else "test only"
        lines.append(f"| {source.name} | {use} | {source.what} | {source.citation} | {source.licence} |")
    return "\n".join(lines)
