"""The weights that come with the package, which `load()` and `predict(atoms)` use if no others are named."""

from importlib.resources import files
from pathlib import Path

from equivar_jax.errors import InputError

NAME = "shipped"
"""The name of these weights wherever a checkpoint is asked for."""


def shipped_checkpoint() -> Path:
    """Return the folder of the checkpoint in the package; it is only read.

    Raises:
        InputError: This installation has none.
    """
    folder = Path(str(files(__name__))) / "committee"
    if not folder.is_dir():
        raise InputError(
            f"{folder}: this installation has no weights; install equivar_jax again from a complete wheel, "
            "or name a checkpoint of your own: load(RUN), --checkpoint RUN"
        )
    return folder
