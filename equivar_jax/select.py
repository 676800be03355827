"""Choose which structures to calculate next: `equivar select candidates/ -n 20 -o next`.

Structures are taken one after the other, each the one whose atoms are least certain and most unlike the
training data and those before it. A folder each gets a POSCAR; `selection.csv` says why.
"""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from equivar_jax.config.command_line import OptionParser
from equivar_jax.errors import InputError, input_error_unless_writable, plain_messages, require_free_folder

if TYPE_CHECKING:
    from ase import Atoms

    from equivar_jax.prediction import Candidate, Choice, Predictor

TABLE = "selection.csv"
SKIPPED = "skipped.csv"
COLUMNS = (
    *("rank", "folder", "source", "formula", "atoms", "gain", "sigma_e", "largest_sigma_e"),
    *("largest_sigma_atom", "novelty", "distance", "reason"),
)


class Chosen(NamedTuple):
    """A structure that was chosen, and why."""

    rank: int
    atoms: "Atoms"
    candidate: "Candidate"
    choice: "Choice"

    @property
    def folder(self) -> str:
        """Name of its folder."""
        return f"{self.rank:03d}-{self.atoms.symbols.formula.reduce()[0]:metal}"

    def row(self, is_committee: bool) -> dict[str, Any]:
        """Return its line of the table."""
        import numpy as np

        from equivar_jax.structures import source

        sigma, features = self.candidate.sigma, self.candidate.features
        far = np.sqrt(np.square(features[:, 1:]).sum(axis=1))
        worst, farthest = int(np.argmax(sigma)), int(np.argmax(far))
        symbols = self.atoms.symbols
        reasons = [f"{symbols[farthest]} (atom {farthest}) is {far[farthest]:.1f} from what was learned"]
        if is_committee:
            reasons.insert(0, f"sigma of {symbols[worst]} (atom {worst}) is {sigma[worst]:.3g} e")
        uncertain = (f"{sigma.mean():.4g}", f"{sigma[worst]:.4g}", worst) if is_committee else ("", "", "")
        values = (
            *(self.rank, self.folder, source(self.atoms), symbols.formula.format("metal"), len(self.atoms)),
            *(f"{self.choice.gain:.4g}", *uncertain, f"{self.choice.novelty:.3g}"),
            *(f"{far[farthest]:.3g}", "; ".join(reasons)),
        )
        return dict(zip(COLUMNS, values, strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, read the candidates, choose, and write what was chosen."""
    with plain_messages():
        options = _parser().parse_args(arguments)
        folder = Path(options.output)
        require_free_folder(folder, "-o")
        if options.number < 1:
            raise InputError(f"-n {options.number}: ask for one structure or more")
        _select(options, folder)


def _parser() -> OptionParser:
    """Make the parser of the options."""
    parser = OptionParser(prog="equivar select", description=__doc__)
    parser.add_argument("inputs", nargs="+", help="structure files (anything ASE reads), folders, patterns")
    parser.add_argument("-n", "--number", type=int, required=True, help="how many to choose")
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where they go")
    parser.add_argument(
        "--checkpoint",
        help="run directory of a committee, or of a single network, which does not know its uncertainty; "
        "default: the weights of the package",
    )
    return parser


def _select(options: argparse.Namespace, folder: Path) -> None:
    """Do what the options say."""
    # Imported here, so that --help does not wait for it.
    from equivar_jax.prediction import choose_structures, describe_candidates, load
    from equivar_jax.progress import announce_if_slow

    model = load(options.checkpoint)
    structures, refused = _read(options.inputs, model)
    with announce_if_slow(f"predicting {len(structures):,} structures"):
        candidates = describe_candidates(model, structures)
    choices = choose_structures(candidates, options.number)
    chosen = [
        Chosen(rank, structures[choice.number], candidates[choice.number], choice)
        for rank, choice in enumerate(choices, start=1)
    ]
    with input_error_unless_writable(folder, "-o"):
        _write(chosen, refused, folder, is_committee=model.metadata.calibration is not None)
    print(f"{len(chosen)} of {len(structures):,} structures: {folder}, {folder / TABLE}")
    if refused:
        print(
            f"{len(refused):,} could not be judged or are likely metals: {folder / SKIPPED}", file=sys.stderr
        )


def _read(inputs: Sequence[str], model: "Predictor") -> tuple[list["Atoms"], list[InputError]]:
    """Read the candidates, and why those that the model cannot judge, and likely metals, were left out.

    Raises:
        InputError: none can be judged, or a file cannot be read at all.
    """
    from equivar_jax.io import scan_structures
    from equivar_jax.uncertainty import LikelyMetalWarning

    def judge() -> Iterator["Atoms | InputError"]:
        for name in inputs:
            for found in scan_structures(name):
                if isinstance(found, InputError):
                    yield found
                    continue
                try:
                    _, remarks = model.prepare(found)
                except InputError as error:
                    yield error
                else:  # a calculation of a metal gives no charges
                    metal = [one for one in remarks if isinstance(one, LikelyMetalWarning)]
                    yield InputError(str(metal[0])) if metal else found

    judged = list(judge())
    refused = [found for found in judged if isinstance(found, InputError)]
    structures = [found for found in judged if not isinstance(found, InputError)]
    if not structures:
        raise refused[0] if refused else InputError(f"{inputs[0]}: holds no structures; name another")
    return structures, refused


def _write(chosen: Sequence[Chosen], refused: Sequence[InputError], folder: Path, is_committee: bool) -> None:
    """Write a folder for each structure, the table, and what was left out."""
    from ase.io import write

    folder.mkdir(parents=True, exist_ok=True)
    with (folder / TABLE).open("w", newline="") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for one in chosen:
            (folder / one.folder).mkdir()
            write(folder / one.folder / "POSCAR", one.atoms, format="vasp", direct=True, sort=True)
            table.writerow(one.row(is_committee))
    if refused:
        with (folder / SKIPPED).open("w", newline="") as file:
            csv.writer(file).writerows([["reason"], *([str(error)] for error in refused)])


if __name__ == "__main__":
    main()
