"""`python -m equivar_jax.response TASK ...`: each task is a module of this package with a `main`."""

import importlib
import sys
from collections.abc import Sequence

from equivar_jax.errors import InputError, exit_on_input_error
from equivar_jax.settings import did_you_mean

TASKS = {
    "polarisation": "change of polarisation along a trajectory",
    "hysteresis": "P-E loop of a crystal in an alternating field",
    "infrared": "infrared spectrum from a trajectory or from the phonons at Gamma",
    "born": "phonopy's BORN and phonopy_params files, and bands with LO-TO splitting",
    "dielectric": "static dielectric tensor from Born charges and phonons at Gamma",
    "dynamics": "molecular dynamics in a field, compiled as a whole",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Hand over to the task that the first word names."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with exit_on_input_error():
        if not words or words[0] in ("-h", "--help"):
            print(__doc__)
            print("\n".join(f"  {name:13s} {what}" for name, what in TASKS.items()))
            print("\n`--example` runs a task on a model crystal; `--help` after the task lists its options.")
            return
        if words[0] not in TASKS:
            raise InputError(f"no task {words[0]!r}{did_you_mean(words[0], TASKS)}")
        task = importlib.import_module(f"equivar_jax.response.{words[0]}")
    task.main(words[1:])


if __name__ == "__main__":
    main()
