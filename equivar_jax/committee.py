"""Join networks into a committee with uncertainties: `equivar committee RUN RUN ... -o FOLDER`.

The members are runs of one config on one division of the data with different `--train.seed`. Their mean is
the prediction, and their spread is calibrated on data that they have not seen. What they were trained on is
kept for warnings. `FOLDER` can be used like any other checkpoint.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from equivar_jax.config.command_line import OptionParser
from equivar_jax.config.schema import DataConfig, FirstIndex
from equivar_jax.errors import InputError, plain_messages


def _parser() -> OptionParser:
    """Make the parser of the options."""
    parser = OptionParser(prog="equivar committee", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories of the members, two to four")
    parser.add_argument(
        "--data", help="labelled structures new to all members; default: the validation part of the runs"
    )
    parser.add_argument("--key", help="column of the tensors, if it has an unusual name")
    parser.add_argument(
        "--first-index",
        choices=get_args(FirstIndex),
        help="what the first index of a stored tensor is, where the format leaves it open",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the committee goes")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, join and calibrate the committee, write it, and print how good it is."""
    with plain_messages():
        options = _parser().parse_args(arguments)
        folder = Path(options.output)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: exists and is not an empty folder; choose another -o")
        _join(options, folder)


def _join(options: argparse.Namespace, folder: Path) -> None:
    """Do what the options say."""
    # Imported here, so that --help does not wait for it.
    from ase import Atoms

    from equivar_jax.datasets.load import load_dataset, load_structures
    from equivar_jax.prediction.committee import (
        calibrate_committee,
        check_split,
        join_members,
        keep_known_elements,
    )
    from equivar_jax.prediction.loading import load
    from equivar_jax.reports.committee_report import committee_table, write_committee
    from equivar_jax.uncertainty.domain import domain_of

    members = [load(run) for run in options.runs]
    committee = join_members(members, options.runs)
    configs = [member.metadata.config for member in members]
    if not options.data:
        check_split(options.runs[0], options.runs[1:], configs)
    dataset = load_dataset(configs[0])
    structures: Sequence[Atoms] = dataset.validation.structures
    if options.data:
        structures = load_structures(
            DataConfig(key=options.key, first_index=options.first_index), options.data
        )
    usable = keep_known_elements(structures, committee.metadata.elements)
    result = calibrate_committee(committee, usable, domain_of(dataset.training))
    write_committee(result, folder)
    print(committee_table(result, members, len(usable), len(structures) - len(usable)))
    print(f"written: {folder}, {folder / 'calibration.png'}")


if __name__ == "__main__":
    main()
