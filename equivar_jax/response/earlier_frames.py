"""The frames that an interrupted run has left, from which it goes on."""

from pathlib import Path

from ase import Atoms
from ase.io.trajectory import Trajectory

from equivar_jax.errors import InputError


def read_earlier_frames(path: Path) -> list[Atoms]:
    """Read all frames of an ASE trajectory that an earlier command has begun; none if there is no file.

    Whether they belong to the present run is for the caller to see.

    Raises:
        InputError: the file cannot be read.
    """
    if not path.exists():
        return []
    try:
        with Trajectory(str(path)) as file:
            return [file[number] for number in range(len(file))]
    except Exception as error:  # ASE does not document what it raises for a file that was cut short
        raise InputError(f"{path}: cannot be read ({error}); remove it, or choose another --output") from None
