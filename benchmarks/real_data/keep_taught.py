"""Copy the taught networks from their runs into the repository, to `benchmarks/taught`.

    python -m benchmarks.real_data.keep_taught

The rows of seed 0 in `results/accuracy/real_taught.json` name the runs. Only the best checkpoint of a run is
kept, which has the weights in single precision and nothing of the optimiser; it replaces the one that is
there.
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.accuracy.result_file import find_row
from benchmarks.common.timing import RESULTS
from benchmarks.real_data.parts import TEST_FRAMES
from benchmarks.real_data.ship import clear_commit_markers
from equivar_jax.errors import InputError, plain_messages

TAUGHT = Path(__file__).parents[1] / "taught"


def keep_network(run: Path, target: Path) -> None:
    """Replace a folder by the best checkpoint of a run.

    Raises:
        InputError: the run has no best checkpoint.
    """
    best = run / "checkpoints" / "best"
    if not best.is_dir():
        raise InputError(f"{best} does not exist; train the network: python -m benchmarks.real_data taught")
    if target.exists():
        shutil.rmtree(target)
    shutil.copytree(best, target / "checkpoints" / "best")
    clear_commit_markers(target)


def main(arguments: Sequence[str] | None = None) -> None:
    """Copy the networks of the trajectories that are asked for."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--sets", nargs="+", choices=[*TEST_FRAMES], default=[*TEST_FRAMES])
    parser.add_argument("--runs", type=Path, default=Path("runs/accuracy"), help="folder of run directories")
    parser.add_argument("--results", type=Path, default=RESULTS / "accuracy" / "real_taught.json")
    parser.add_argument("--target", type=Path, default=TAUGHT)
    options = parser.parse_args(arguments)
    with plain_messages():
        for name in options.sets:
            row = find_row(options.results, f"{name}, BM3 taught, seed 0")
            if row is None:
                raise InputError(
                    f"{options.results} has no row of {name} with seed 0; "
                    f"python -m benchmarks.real_data taught --only {name} --seeds 0 makes it"
                )
            keep_network(options.runs / row["run"], options.target / name)
            print(f"written: {options.target / name}")


if __name__ == "__main__":
    main()
