"""The one exception that means: the input is at fault, and this is how to mend it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """A file, structure, label or setting that cannot be used.

    The message is one line that names where (file and frame), what was found, and the fix.
    Command-line programs print it and exit with status 2; libraries may catch it as `ValueError`.
    """


@contextmanager
def exit_on_input_error() -> Iterator[None]:
    """Turn an `InputError` inside the block into one line on standard error and exit status 2."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


@contextmanager
def input_error_unless_writable(path: Path, option: str) -> Iterator[None]:
    """Turn an `OSError` inside the block into an `InputError` that asks for another value of `option`."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); choose another {option}"
        ) from None
