"""The weights that come with the package: what `load()` and `predict(atoms)` use without being told."""

from importlib.resources import files
from pathlib import Path

from equivar_jax.errors import InputError

NAME = "shipped"
"""Names these weights wherever a checkpoint is named."""


def shipped() -> Path:
    """The folder of the checkpoint in the package; it is only read.

    Raises:
        InputError: this installation has none.
    """
    folder = Path(str(files(__name__))) / "committee"
    if not folder.is_dir():
        raise InputError(
            f"{folder}: this installation has no weights; install equivar_jax again from a complete wheel, "
            "or name a checkpoint of your own: load(RUN), --checkpoint RUN"
        )
    return folder
