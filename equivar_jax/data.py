"""Data before they are learned from: `python -m equivar_jax.data check FILE ...`."""

import sys
from collections.abc import Sequence

from equivar_jax.errors import InputError, exit_on_input_error
from equivar_jax.hygiene import command


def main(arguments: Sequence[str] | None = None) -> None:
    """`python -m equivar_jax.data check FILE ...`: what training would set aside, and why."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with exit_on_input_error():
        if given[:1] != ["check"]:
            raise InputError("usage: python -m equivar_jax.data check FILE ... (--help for the options)")
    command.main(given[1:])


if __name__ == "__main__":
    main()
