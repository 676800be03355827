"""Check data before training: `equivar data check FILE ...`."""

import sys
from collections.abc import Sequence

from equivar_jax.errors import InputError, plain_messages
from equivar_jax.hygiene import command


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command `check`, which says what training would set aside, and why."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    with plain_messages():
        if given[:1] != ["check"]:
            raise InputError("the only command is check: equivar data check FILE ... (--help explains)")
    command.main(given[1:])


if __name__ == "__main__":
    main()
