"""The protocols of the paper (Kutana et al., Sci. Rep. 15, 2025) as commands.

    python -m benchmarks.accuracy PROTOCOL [options]

    small            a small set: 224 perovskites, 250 epochs
    table1           specialised models against combined ones, errors of each kind (Table 1)
    folds            five-fold cross-validation, element by element (Figs. 3 to 5, S4)
    hyperparameters  one setting changed at a time (Table S1)
    cutoff           3 Å with six interactions against 5 Å with three (Fig. S5)
    transfer         trained on small cells of Li3PO4, tested on larger ones with vacancies
    learning_curve   error against the number of training structures, with as many steps for each
    seeds            the same with three seeds
    run              any configs on any data
    drift            collects the charge drift before the sum rule of all runs above
    report           makes tables and pictures of `results/accuracy` from the JSON files there

Any setting of training can be added, such as `--train.ema_decay 0.999`. After an interruption the same
command continues the protocol; finished rows are skipped.
"""

import argparse
import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.accuracy import report as accuracy_report
from benchmarks.accuracy.data import demonstration_counts, read_labelled_file, with_data
from benchmarks.accuracy.engine import run_rows
from benchmarks.accuracy.protocols import PROTOCOLS, Protocol, Request
from benchmarks.accuracy.rows import DEMONSTRATION
from benchmarks.common.timing import RESULTS
from equivar_jax.config.command_line import OptionParser, override
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.runtime import use_compilation_cache

PROGRAM = "python -m benchmarks.accuracy"
EPOCHS = 250
FOLDER = RESULTS / "accuracy"


def read_options(arguments: Sequence[str] | None) -> tuple[argparse.Namespace, list[str]]:
    """Parse the command line into options and the remaining words, which are settings of training."""
    parser = OptionParser(
        prog=PROGRAM,
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("protocol", choices=[*PROTOCOLS, "drift", "report"], metavar="PROTOCOL")
    parser.add_argument("--config", nargs="+", help="config files or names; the first is the base")
    parser.add_argument("--data", help="file, folder or pattern; default: the demonstration set (not DFT)")
    parser.add_argument("--key", help="column of the tensors in --data and --test")
    parser.add_argument("--kind-key", help="key of the frames' info that names their kind (table1)")
    parser.add_argument("--test", help="file with labels to test the best weights on, beside the validation")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument(
        "--structures",
        type=int,
        nargs="+",
        help="how many: perovskites Li3PO4 ZrO2 of the demonstration set, or one number for those that the "
        "protocol uses; of a file, one number; for learning_curve, sizes of the training part",
    )
    parser.add_argument("--seeds", type=int, nargs="+", help="of initial weights and order of batches")
    parser.add_argument("--only", nargs="+", help="only rows whose label contains one of these words")
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"), help="folder of run directories")
    parser.add_argument("--output", type=Path, help=f"default: {FOLDER}/PROTOCOL[-DATA].json")
    parser.add_argument("--replace", action="store_true", help="run rows again that had other settings")
    return parser.parse_known_args(arguments)


def make_config(name: str, protocol: Protocol, options: argparse.Namespace, settings: list[str]) -> Config:
    """Load a config and give it the data, epochs and settings that the command line asks for."""
    given = None if options.protocol == "learning_curve" else options.structures
    counts = protocol.counts if options.data else demonstration_counts(given, protocol.counts)
    config = with_data(load_config(name), options.data, options.key, counts)
    config = replace(config, train=replace(config.train, epochs=options.epochs))
    return override(config, settings, PROGRAM)


def run_protocol(options: argparse.Namespace, settings: list[str], command: str) -> signal.Signals | None:
    """Run a protocol and return the signal that interrupted it, or None."""
    protocol = PROTOCOLS[options.protocol]
    stem = f"-{Path(options.data).name.partition('.')[0]}" if options.data else ""
    output = options.output or FOLDER / f"{options.protocol}{stem}.json"
    if output.suffix != ".json":
        raise InputError(f"--output {output} does not end in .json; name a .json file")
    names = options.config or protocol.configs
    request = Request(
        {_label_config(name): make_config(name, protocol, options, settings) for name in names},
        options.seeds or protocol.seeds,
        options.structures,
        options.kind_key,
        options.runs / output.stem / "splits",
    )
    rows = [
        row
        for row in protocol.rows(request)
        if not options.only or any(word in row.label for word in options.only)
    ]
    tests = {Path(options.test).name: read_labelled_file(options.test, options.key)} if options.test else {}
    labels = Path(options.data).name if options.data else DEMONSTRATION
    return run_rows(
        rows,
        output,
        options.runs,
        protocol=options.protocol,
        data=labels,
        command=command,
        tests=tests,
        replace=options.replace,
    )


def _label_config(config: str) -> str:
    """Return the name of a config as it stands in labels, such as "BM2"."""
    stem = Path(config).stem
    return stem.upper() if stem.startswith("bm") else stem


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a protocol, or make the report or the table of drifts."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with plain_messages():
        options, settings = read_options(words)
        use_compilation_cache()
        command = f"{PROGRAM} {shlex.join(words)}"
        folder = options.output.parent if options.output else FOLDER
        if options.protocol == "drift":
            return accuracy_report.write_drift(folder, command)
        if options.protocol == "report":
            return accuracy_report.write_report(folder)
        try:
            interrupted = run_protocol(options, settings, command)
        except KeyboardInterrupt:  # between two trainings; during one it is saved first
            interrupted = signal.SIGINT
        if interrupted is not None:
            print(f"{interrupted.name}: the same command goes on", file=sys.stderr)
            raise SystemExit(128 + interrupted)
    return None


if __name__ == "__main__":
    main()
