"""The columns of the table, and how their values are written and read."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from equivar_jax.response.options import Ranking
from equivar_jax.response.screening.measures import FLAGS

Kind = Literal["number", "whole", "truth", "text"]


class Column(NamedTuple):
    """A column of the table."""

    kind: Kind
    title: str
    """Its head on the page; empty if the page does not show it."""
    what: str
    """What it means."""


COLUMNS: dict[str, Column] = {
    "file": Column("text", "file", "file that the structure comes from"),
    "frame": Column("whole", "frame", "number of the structure in its file, from 0"),
    "index": Column("whole", "", "number of the structure in the whole input, from 0"),
    "formula": Column("text", "formula", "reduced formula"),
    "spacegroup": Column("whole", "group", "number of the space group, tolerance 0.001 Å"),
    "atoms": Column("whole", "atoms", "atoms of the cell"),
    "anomaly": Column("number", "anomaly", "largest singular value of a charge over the nominal charge"),
    "anomaly_element": Column("text", "of", "element of the atom with that anomaly"),
    "anomaly_atom": Column("whole", "", "its number, from 0"),
    "anomaly_isotropic": Column("number", "isotropic", "the same for a third of the trace"),
    "anomaly_isotropic_element": Column("text", "", "element of the atom with that"),
    "nominal_signs": Column("truth", "", "whether all charges have the sign of their nominal ones"),
    "mixed_valence": Column("truth", "", "whether a nominal charge is an average of several states"),
    "nominal_charges_e": Column("text", "nominal / e", "oxidation state of each element"),
    "charges_e": Column("text", "charges / e", "a third of the trace, mean over the atoms of each element"),
    "largest_charge_e": Column("number", "largest / e", "largest singular value of a charge"),
    "largest_charge_element": Column("text", "", "element of that atom"),
    "epsilon_inf": Column("number", "ε∞", "electronic dielectric constant, a third of the trace"),
    "epsilon_inf_std": Column("number", "± ε∞", "its standard deviation"),
    "charge_std_max_e": Column(
        "number", "± max / e", "largest standard deviation of a component of a charge"
    ),
    "charge_std_mean_e": Column("number", "± mean / e", "mean of these standard deviations"),
    "metal_probability": Column("number", "P(metal)", "probability of no gap, from the composition"),
    **{name: Column("truth", "", f"warning: {name.replace('_', ' ')}") for name in FLAGS.values()},
    "warnings": Column("text", "", "the warnings in words"),
    "error": Column("text", "", "why the structure could not be used; nothing else is known of it then"),
}
"""Of each row, in the order of the table; the first column of the finished table is the rank."""

RANKINGS: dict[Ranking, str] = {
    "anomaly": "anomaly",
    "uncertainty": "charge_std_max_e",
    "epsilon": "epsilon_inf",
}
"""Value of --rank -> the column by which structures are ranked, the largest first."""

Row = dict[str, Any]


def to_words(row: Mapping[str, Any]) -> list[str]:
    """Return the values of a row as they are written: nothing for what is not known, five digits."""
    return [_to_word(row.get(name), column.kind) for name, column in COLUMNS.items()]


def from_words(words: Mapping[str, str]) -> Row:
    """Return the values of a row that was written."""
    return {name: _from_word(words[name], column.kind) for name, column in COLUMNS.items()}


def _to_word(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if kind == "number" else str(value)


def _from_word(word: str, kind: Kind) -> Any:
    if not word:
        return "" if kind == "text" else None
    if kind == "truth":
        return word == "True"
    return {"number": float, "whole": int, "text": str}[kind](word)
