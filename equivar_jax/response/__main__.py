"""Run one task: `equivar response TASK ...`. Each task is a module with a function `main`."""

import importlib
import sys
from collections.abc import Sequence
from typing import NamedTuple

from equivar_jax.config.settings import did_you_mean
from equivar_jax.errors import InputError, plain_messages


class Task(NamedTuple):
    """A task of the command line."""

    module: str
    """Name of its module below `equivar_jax.response`, which has a function `main(words)`."""
    what: str
    """What the task computes, as printed in the list of tasks."""


TASKS = {
    "polarisation": Task("polarisation.path", "change of polarisation along a trajectory"),
    "hysteresis": Task("polarisation.hysteresis", "P-E loop of a crystal in an alternating field"),
    "infrared": Task("optics.infrared", "infrared spectrum from a trajectory or from the phonons at Gamma"),
    "born": Task("splitting.born", "phonopy's BORN and phonopy_params files, and bands with LO-TO splitting"),
    "dielectric": Task(
        "optics.dielectric", "static dielectric tensor from Born charges and phonons at Gamma"
    ),
    "dynamics": Task("dynamics.simulation", "molecular dynamics in a field, compiled as a whole"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task that the first argument names, with the other arguments."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with plain_messages():
        if not words or words[0] in ("-h", "--help"):
            print(__doc__)
            print("\n".join(f"  {name:13s} {what}" for name, (_, what) in TASKS.items()))
            print("\n`--example` runs a task on a model crystal; `--help` after the task lists its options.")
            return
        if words[0] not in TASKS:
            raise InputError(f"no task {words[0]!r}, --help lists them{did_you_mean(words[0], TASKS)}")
        task = importlib.import_module(f"equivar_jax.response.{TASKS[words[0]].module}")
    task.main(words[1:])


if __name__ == "__main__":
    main()
