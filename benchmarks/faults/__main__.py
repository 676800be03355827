"""What becomes of runs, sweeps and caches when something goes wrong: `python -m benchmarks.faults COMMAND`.

kills: SIGKILL at random moments. disk: a full disk at random writes. cache: two processes and one cold cache,
damaged files, folders that cannot be written to. signals: SIGTERM during compilation, SIGINT during the
closing evaluation. leaks: memory over many predictions and steps of a calculator. Results go to
`benchmarks/results/faults/COMMAND.json`, with the sizes they were found at; `wrong` lists what was not as it
must be, and the exit status is 1 if there is any.
"""

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "results" / "faults"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, make the faults, print and write what became of it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("--output", type=Path, help="default: results/faults/COMMAND.json")
    parser.add_argument("--seed", type=int, default=0)
    commands = parser.add_subparsers(dest="command", required=True)
    kills = commands.add_parser("kills")
    kills.add_argument("--kills", type=int, default=100, help="of trainings, and as many of sweeps")
    kills.add_argument("--epochs", type=int, default=6, help="of a training")
    kills.add_argument("--structures", type=int, default=20_000, help="of a sweep")
    kills.add_argument("--only", choices=("training", "sweep"))
    for name in ("disk", "cache", "signals"):
        command = commands.add_parser(name)
        command.add_argument("--trials", type=int, default=20, help="of each fault")
        command.add_argument("--epochs", type=int, default=4, help="of a training")
        if name == "disk":
            command.add_argument("--structures", type=int, default=20_000, help="of a sweep")
    leaks = commands.add_parser("leaks")
    leaks.add_argument("--calls", type=int, default=100_000, help="of predict")
    leaks.add_argument("--steps", type=int, default=10_000, help="of the calculator")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        found = importlib.import_module(f"benchmarks.faults.{options.command}").measure(options, Path(folder))
        found = json.loads(json.dumps(found).replace(folder, "FOLDER"))  # no path of this machine is kept
    output = options.output or RESULTS / f"{options.command}.json"
    write(found, output, time.monotonic() - started)
    if any(part["wrong"] for part in found.values()):
        raise SystemExit(1)


def write(found: dict[str, Any], output: Path, seconds: float) -> None:
    """Write the result with the machine and the commit; print what was wrong."""
    from benchmarks.common.machine import describe_machine
    from benchmarks.common.timing import write_result

    write_result(output, {**describe_machine(), "seconds": seconds, **found})
    for name, part in found.items():
        print(f"{name}: {json.dumps(part['wrong']) if part['wrong'] else 'as it must be'}")


if __name__ == "__main__":
    main()
