"""Orbax checkpoints in run directories.

A checkpoint holds arrays (`state`) and what they mean (`metadata`: the whole config, the elements seen in
training, statistics), so that nothing has to be typed again. A run directory holds two checkpoints:
`checkpoints/best`, the weights with the lowest validation error, and `checkpoints/last`, everything that is
needed to continue the run.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from equivar_jax.config.old_settings import read_config
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import from_dict
from equivar_jax.errors import InputError
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.domain import Domain
from equivar_jax.weights import NAME, shipped_checkpoint

ARCHITECTURE = "Equivar"
"""The architecture that checkpoints name."""
FORMAT = 1
"""Version of the form of checkpoints."""
Which = Literal["best", "last"]
"""The two checkpoints of a run."""


@dataclass(frozen=True)
class Metadata:
    """The meaning of the arrays of a checkpoint."""

    config: Config
    """The settings of the run that made it."""
    elements: tuple[int, ...]
    """Atomic numbers that occur in the training part, in rising order."""
    statistics: dict[str, int | float] = field(default_factory=dict)
    """Statistics of the training part: structures, atoms, edges, mean_neighbours."""
    epoch: int = 0
    """Number of completed epochs."""
    batch: int = 0
    """Number of completed batches of the next epoch, if the run was interrupted within it."""
    validation_mae: float | None = None
    """Mean absolute validation error of these weights, in e; None before the first validation. That of the
    weights of the package is the one on their card."""
    best_validation_mae: float | None = None
    """The lowest validation error so far in this run, in e."""
    members: int = 1
    """Number of networks; if there are several, every weight has a leading axis of this length."""
    calibration: Calibration | None = None
    """Calibration of the uncertainty of a committee."""
    domain: Domain | None = None
    """Domain of the training data, for warnings; None if it is not known."""

    def to_json(self) -> dict[str, Any]:
        """Return the metadata as nested dictionaries for JSON, with architecture and format."""
        return {"architecture": ARCHITECTURE, "format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> "Metadata":
        """Make metadata from the dictionaries that `to_json` returns.

        Args:
            values: The dictionaries.
            where: The checkpoint, for error messages.

        Raises:
            InputError: The checkpoint is of another architecture or format, or has settings that this version
                does not have.
        """
        values = dict(values)
        architecture, version = values.pop("architecture", None), values.pop("format", None)
        if (architecture, version) != (ARCHITECTURE, FORMAT):
            raise InputError(
                f"{where}: checkpoint of architecture {architecture!r}, format {version}, but this program "
                f"reads {ARCHITECTURE!r}, format {FORMAT}; load it with the version that wrote it"
            )
        values["config"] = read_config(values["config"], f"{where}: config")
        values["elements"] = tuple(values["elements"])
        for name, kind in (("calibration", Calibration), ("domain", Domain)):
            if values.get(name) is not None:
                values[name] = from_dict(kind, values[name], f"{where}: {name}")
        return cls(**values)


class CheckpointWriter:
    """Writes checkpoints of one kind and keeps the newest.

    The one before is removed only after the new one is complete.
    """

    def __init__(self, run_directory: Path, which: Which):
        """Prepare to write below `run_directory/checkpoints/which`, making folders as needed."""
        import orbax.checkpoint as ocp

        self._manager = ocp.CheckpointManager(
            (run_directory / "checkpoints" / which).absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False),
            item_names=("state", "metadata"),
        )
        self._next = (self._manager.latest_step() or 0) + 1

    def save(self, state: Any, metadata: Metadata) -> None:
        """Write a tree of arrays with its metadata; the checkpoint is complete when this returns."""
        import orbax.checkpoint as ocp

        arrays = jax.tree.map(np.asarray, state)
        self._manager.save(
            self._next,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays), metadata=ocp.args.JsonSave(metadata.to_json())
            ),
        )
        self._next += 1

    def close(self) -> None:
        """Release the directory."""
        self._manager.close()


def read_checkpoint(location: Path | str, which: Which = "best") -> tuple[Any, Metadata]:
    """Read the arrays and the metadata of a checkpoint.

    Args:
        location: A run directory, the folder of one checkpoint in it, or "shipped".
        which: Which of the two checkpoints of a run.

    Returns:
        The arrays, as nested dictionaries and lists of NumPy arrays, and the metadata.

    Raises:
        InputError: There is no checkpoint, it cannot be read, or it is of another architecture.
    """
    import orbax.checkpoint as ocp

    folder = _find_checkpoint(Path(location), which)
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            metadata = reader.restore(folder, ocp.args.Composite(metadata=ocp.args.JsonRestore()))["metadata"]
            if not isinstance(metadata, dict):
                raise InputError(
                    f"{folder}: checkpoint without metadata, so it was not written by this program; give a "
                    "folder that training wrote"
                )
            meaning = Metadata.from_json(metadata, str(folder))
            state = reader.restore(folder, ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{folder}: not a readable checkpoint ({reason}); restore it from a copy or train again"
        ) from error
    return state, meaning


def _find_checkpoint(location: Path, which: Which) -> Path:
    """Return the folder of the newest complete checkpoint of a run, or `location` if it is a checkpoint.

    Raises:
        InputError: There is none.
    """
    if str(location) == NAME:
        location = shipped_checkpoint()
    if not location.exists():
        raise InputError(
            f"{location}: no such run directory or checkpoint; give a folder that training wrote"
        )
    for candidate in (location / "checkpoints" / which, location):
        numbered = (path for path in candidate.glob("[0-9]*") if path.name.isdecimal() and path.is_dir())
        if steps := sorted(numbered, key=lambda path: int(path.name)):
            return steps[-1].absolute()
    if (location / "metadata").is_dir() and (location / "state").is_dir():
        return location.absolute()
    raise InputError(f"{location}: no '{which}' checkpoint in it; give the folder that training wrote")


def check_parameters(params: Any, expected: Any, where: str) -> None:
    """Check that stored weights have the shapes that the network of their config needs.

    Args:
        params: Tree of the stored weights.
        expected: Tree of arrays or shape structures of the network of the stored config.
        where: The checkpoint, for the error message.

    Raises:
        InputError: A weight is missing, superfluous or of another shape; the message names the first one.
    """
    stored = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(params)}
    wanted = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(expected)}
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise InputError(
                f"{where}: weight {name} has shape {stored.get(name)}, but the network of its config needs "
                f"{wanted.get(name)}; the checkpoint is of another architecture: load it with the version "
                "that wrote it"
            )
