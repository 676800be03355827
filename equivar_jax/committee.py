"""Join networks into a committee with uncertainties: `equivar committee RUN RUN ... -o FOLDER`.

The members are runs of one config on one division of the data that differ in `--train.seed` only. Their
mean is the prediction, and their spread is calibrated on data that they have not seen. What they were trained
on is kept for warnings. `FOLDER` can be used like any other checkpoint. `equivar train --members N` does all
of it.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from equivar_jax.config.command_line import OptionParser
from equivar_jax.config.schema import DataConfig, FirstIndex
from equivar_jax.errors import plain_messages, require_free_folder


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
        require_free_folder(folder, "-o")
        _join(options, folder)


def _join(options: argparse.Namespace, folder: Path) -> None:
    """Do what the options say."""
    # Imported here, so that --help does not wait for it.
    from equivar_jax.ensemble import join_runs

    data = None
    if options.data:
        data = DataConfig(path=options.data, key=options.key, first_index=options.first_index)
    join_runs(options.runs, folder, data)


if __name__ == "__main__":
    main()
