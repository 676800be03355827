"""From charges to what is measured: dielectric tensors, LO frequencies and infrared intensities.

    python -m benchmarks.real_data.from_charges                     # the weights of the package
    python -m benchmarks.real_data.from_charges --checkpoint RUN -o mine.json --card mine.md

For the crystals of phonondb with forces (below the folder that EQUIVAR_DATA names), all with the same force
constants, it compares what follows from predicted charges with what follows from those of DFPT: once with
eps_inf of DFPT, once with the network's own, if it has a readout for it. Crystals whose softest mode at Gamma
is below 1 cm^-1 or imaginary have no static response and are left out; so are crystals that the network
refuses. The result is a row for each eps_inf in a JSON file, of which the table and the picture are made;
`python -m benchmarks.accuracy report` makes them, too. Standard deviations are those that `equivar response`
prints (`equivar_jax.response.phonons.propagation`).
"""

import argparse
import shlex
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accuracy.from_charges import plot_errors, tables_of
from benchmarks.accuracy.result_file import keep_row, read_rows
from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS
from benchmarks.real_data.from_charges.comparison import (
    Tensors,
    compare,
    summarise,
    summarise_coverage,
)
from benchmarks.real_data.from_charges.crystals import FOLDER, Crystal, read_crystals
from benchmarks.real_data.parts import data_folder
from equivar_jax import load
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.prediction.dielectric import electronic_dielectric_tensor
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.phonons.gamma import GammaModes, gamma_modes
from equivar_jax.response.phonons.propagation import members_of
from equivar_jax.structures import epsilon_inf
from equivar_jax.uncertainty.domain import DomainWarning
from equivar_jax.weights import NAME

PROGRAM = "python -m benchmarks.real_data.from_charges"
OUTPUT = RESULTS / "accuracy" / "from_charges.json"
VARIANTS = ("predicted", "DFPT")
"""Where eps_inf is from."""
HEAD = {"protocol": "from_charges", "data": "phonondb (PBEsol, DFPT), its test part"}


class Usable(NamedTuple):
    """The crystals that a network can be compared on, and why others are not among them."""

    crystals: list[tuple[Crystal, GammaModes]]
    left_out: dict[str, str]
    """Reasons by the name of the crystal."""


def choose_crystals(predictor: Predictor, folder: Path, limit: int | None = None) -> Usable:
    """Choose the crystals that respond and that a network has the elements of.

    Args:
        predictor: The network or committee.
        folder: The folder of the files.
        limit: How many crystals to read at most.

    Raises:
        InputError: there is no file, or one cannot be read.
    """
    found = Usable([], {})
    for crystal in read_crystals(folder, limit):
        atoms = crystal.phonons.atoms
        try:
            predictor.check_elements(atoms, allow_unseen=False)
            modes = gamma_modes(atoms, crystal.phonons.force_constants)
            modes.require_stable(crystal.name)
        except InputError as error:
            found.left_out[crystal.name] = str(error)
        else:
            found.crystals.append((crystal, modes))
    return found


def measure(predictor: Predictor, usable: Usable, variant: str) -> dict[str, Any]:
    """Compare a network with DFPT on all crystals.

    Args:
        predictor: The network or committee.
        usable: The crystals.
        variant: One of `VARIANTS`.

    Returns:
        The part of a row that tells of crystals: their number, errors and coverage, and each of them. Where
        nothing can be compared, the reason, as `failed`.
    """
    if variant == "predicted" and not predictor.config.dielectric:
        return {"failed": "the network has no readout for eps_inf"}
    if not usable.crystals:
        return {"failed": "no crystal can be compared"}
    rows = []
    for crystal, modes in usable.crystals:
        atoms, known = crystal.phonons.atoms, epsilon_inf(crystal.phonons.atoms)
        assert known is not None  # the files have it
        own = electronic_dielectric_tensor(predictor, atoms) if variant == "predicted" else known
        members = members_of(predictor, atoms, None if variant == "predicted" else known)
        reference = Tensors(crystal.phonons.charges, known)
        rows.append(compare(crystal, modes, reference, Tensors(predictor.predict(atoms), own), members))
    return {
        "crystals": len(rows),
        "errors": summarise(rows),
        "coverage": summarise_coverage(rows),
        "left_out": usable.left_out,
        "by_crystal": [{key: row[key] for key in row if key != "within"} for row in rows],
    }


def card_section(path: Path = OUTPUT) -> str:
    """Return what the card of the weights says, in Markdown: text and tables, from a result file.

    Args:
        path: The result file.
    """
    rows = read_rows(path)["rows"]
    return f"## What follows from the charges\n\nMade by `{rows[0]['command']}`.\n\n{tables_of(rows)}\n"


def _command(options: argparse.Namespace) -> str:
    """Return the command that makes the same row, without the files that it writes."""
    words = [] if options.checkpoint == NAME else ["--checkpoint", options.checkpoint]
    words += ["--limit", str(options.limit)] if options.limit else []
    return shlex.join([*PROGRAM.split(), *words])


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, write the result file and the picture, and print the tables."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog=PROGRAM, description=__doc__, formatter_class=layout)
    parser.add_argument("--checkpoint", default=NAME, help="run directory; default: the package's weights")
    parser.add_argument("--limit", type=int, help="take the first LIMIT crystals only, to try it")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help="result file; default: %(default)s")
    parser.add_argument("--card", type=Path, metavar="FILE", help="write what a model card says, in Markdown")
    options = parser.parse_args(arguments)
    with plain_messages(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)  # one for each crystal; the table says how good it is
        predictor, started = load(options.checkpoint), time.monotonic()
        name = Path(options.checkpoint).name
        usable = choose_crystals(predictor, data_folder() / FOLDER, options.limit)
        for variant in VARIANTS:
            row = {
                "label": f"{name}, {variant} eps_inf",
                "command": _command(options),
                "machine": describe_machine(),
                "facts": {"checkpoint": name, "members": predictor.members, "epsilon_inf": variant},
                **measure(predictor, usable, variant),
            }
            keep_row(options.output, HEAD, row)
        rows = read_rows(options.output)["rows"]
        plot_errors(rows, options.output.with_suffix(".png"))
        if options.card:
            options.card.write_text(card_section(options.output))
        print(tables_of(rows))
        print(f"{time.monotonic() - started:.0f} s; written: {options.output}, and a picture beside it")


if __name__ == "__main__":
    main()
