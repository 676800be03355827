"""Run one task: `equivar response TASK ...`. Each task is a module with a function `run`."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from equivar_jax.config.command_line import OptionParser
from equivar_jax.config.settings import did_you_mean
from equivar_jax.errors import InputError, plain_messages
from equivar_jax.response import options


class Task(NamedTuple):
    """A task of the command line."""

    module: str
    """Name of its module below `equivar_jax.response`, which has a function `run(options)`."""
    parser: Callable[[], OptionParser]
    """Makes the parser of its options."""
    what: str
    """What the task computes, as printed in the list of tasks."""


TASKS = {
    "crystal": Task(
        "crystal.crystal",
        options.crystal_options,
        "from a structure and a potential to phonons, LO-TO splitting and spectra, with a report",
    ),
    "polarisation": Task(
        "polarisation.path", options.polarisation_options, "change of polarisation along a trajectory"
    ),
    "hysteresis": Task(
        "polarisation.hysteresis",
        options.hysteresis_options,
        "P-E loop of a crystal in an alternating field",
    ),
    "infrared": Task(
        "optics.infrared",
        options.infrared_options,
        "infrared spectrum from a trajectory or from the phonons at Gamma",
    ),
    "born": Task(
        "splitting.born",
        options.born_options,
        "phonopy's BORN and phonopy_params files, and bands with LO-TO splitting",
    ),
    "dielectric": Task(
        "optics.dielectric",
        options.dielectric_options,
        "static dielectric tensor from Born charges and phonons at Gamma",
    ),
    "dynamics": Task(
        "dynamics.simulation",
        options.dynamics_options,
        "molecular dynamics in a field, compiled as a whole",
    ),
    "screen": Task(
        "screening.screen",
        options.screen_options,
        "many crystals ranked by anomalous charges, uncertainty or eps_inf",
    ),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the task that the first argument names, with the other arguments."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with plain_messages():
        if not words or words[0] in ("-h", "--help"):
            print(__doc__)
            print("\n".join(f"  {name:13s} {task.what}" for name, task in TASKS.items()))
            print("\n`--example` runs a task on a model crystal; `--help` after the task lists its options.")
            return
        if words[0] not in TASKS:
            raise InputError(f"no task {words[0]!r}, --help lists them{did_you_mean(words[0], TASKS)}")
        task = TASKS[words[0]]
        chosen = task.parser().parse_args(words[1:])
        # Only now, so that `--help` does not wait for it.
        importlib.import_module(f"equivar_jax.response.{task.module}").run(chosen)


if __name__ == "__main__":
    main()
