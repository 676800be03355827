"""Evaluate a model on labelled structures: `equivar evaluate --checkpoint RUN --data FILE`."""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from equivar_jax.config.command_line import OptionParser
from equivar_jax.config.schema import DataConfig, FirstIndex
from equivar_jax.errors import InputError, input_error_unless_writable, plain_messages
from equivar_jax.weights import NAME


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, evaluate, print a table, and write `evaluation.json` and the parity plot."""
    parser = OptionParser(prog="equivar evaluate", description=__doc__)
    parser.add_argument(
        "--checkpoint", help="run directory of the trained model; default: the weights of the package"
    )
    parser.add_argument("--data", help="file with Born effective charges; default: the run's validation part")
    parser.add_argument("--key", help="column of the tensors, if it has an unusual name")
    parser.add_argument(
        "--first-index",
        choices=get_args(FirstIndex),
        help="what the first index of a stored tensor is, where the format leaves it open",
    )
    parser.add_argument("--output", help="folder for evaluation.json and parity.png; default: RUN/evaluation")
    parser.add_argument(
        "--allow-unseen", action="store_true", help="only warn about elements never trained on"
    )
    with plain_messages():
        options = parser.parse_args(arguments)
        is_shipped = options.checkpoint in (None, NAME)
        if is_shipped and not options.data:
            raise InputError("the weights of the package come without data; give --data FILE with labels")
        _evaluate(options, is_shipped)


def _evaluate(options: argparse.Namespace, is_shipped: bool) -> None:
    """Do what the options say."""
    # Imported here, so that --help does not wait for it.
    from equivar_jax.datasets.load import load_dataset, load_structures
    from equivar_jax.prediction.loading import load
    from equivar_jax.reports.evaluation import evaluate_model

    predictor = load(options.checkpoint)
    if options.data:
        structures = load_structures(
            DataConfig(key=options.key, first_index=options.first_index), options.data
        )
    else:
        structures = load_dataset(predictor.metadata.config).validation.structures
    folder = Path(options.output or Path("" if is_shipped else options.checkpoint) / "evaluation")
    with input_error_unless_writable(folder, "--output"):
        folder.mkdir(parents=True, exist_ok=True)
    report = evaluate_model(
        predictor,
        structures,
        allow_unseen=options.allow_unseen,
        parity_plot=folder / "parity.png",
        title=Path(options.data).name if options.data else "Validation part of the run",
        progress=True,
    )
    print(report.table())
    written = {"checkpoint": options.checkpoint or NAME, "data": options.data, **report.to_dict()}
    with input_error_unless_writable(folder, "--output"):
        (folder / "evaluation.json").write_text(json.dumps(written, indent=2) + "\n")
    print(f"written: {folder / 'evaluation.json'}, {folder / 'parity.png'}")


if __name__ == "__main__":
    main()
