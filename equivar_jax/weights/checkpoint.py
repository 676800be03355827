"""Run directories and their Orbax checkpoints.

A checkpoint holds arrays (`state`) and what they mean (`metadata`: the whole config, the elements seen in
training, statistics), so that nothing has to be typed again. A run directory holds two: `checkpoints/best`
(the weights with the lowest validation error) and `checkpoints/last` (everything needed to go on).
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import orbax.checkpoint as ocp

from equivar_jax.config.old_settings import read_config
from equivar_jax.config.schema import Config
from equivar_jax.config.settings import from_dict
from equivar_jax.errors import InputError
from equivar_jax.uncertainty.calibration import Calibration
from equivar_jax.uncertainty.domain import Domain
from equivar_jax.weights import NAME, shipped

ARCHITECTURE = "Equivar"
FORMAT = 1
Which = Literal["best", "last"]


@dataclass(frozen=True)
class Metadata:
    """What the arrays of a checkpoint mean."""

    config: Config
    elements: tuple[int, ...]
    """Atomic numbers that occur in the training part, rising."""
    statistics: dict[str, int | float] = field(default_factory=dict)
    """Of the training part: structures, atoms, edges, mean_neighbours."""
    epoch: int = 0
    """Epochs completed."""
    batch: int = 0
    """Batches completed of the epoch after that (of an interrupted run)."""
    validation_mae: float | None = None
    """Of these weights, in e; None before the first validation. Of the package: as on its card."""
    best_validation_mae: float | None = None
    """The lowest so far in this run, in e."""
    members: int = 1
    """Networks; of more than one, every weight has a leading axis of this length."""
    calibration: Calibration | None = None
    """Of the uncertainty of a committee."""
    domain: Domain | None = None
    """What was trained on, for warnings; None: not known."""

    def to_json(self) -> dict[str, Any]:
        """As nested dictionaries, with the architecture and format they belong to."""
        return {"architecture": ARCHITECTURE, "format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any], where: str) -> "Metadata":
        """Inverse of `to_json`.

        Raises:
            InputError: another architecture or format, or settings this version does not have.
        """
        values = dict(values)
        architecture, version = values.pop("architecture", None), values.pop("format", None)
        if (architecture, version) != (ARCHITECTURE, FORMAT):
            raise InputError(
                f"{where}: checkpoint of architecture {architecture!r}, format {version}; this program reads "
                f"{ARCHITECTURE!r}, format {FORMAT}; load it with the version that wrote it"
            )
        values["config"] = read_config(values["config"], f"{where}: config")
        values["elements"] = tuple(values["elements"])
        for name, kind in (("calibration", Calibration), ("domain", Domain)):
            if values.get(name) is not None:
                values[name] = from_dict(kind, values[name], f"{where}: {name}")
        return cls(**values)


class CheckpointWriter:
    """Keeps the newest checkpoint of a kind; the one before is removed only after the new one is complete."""

    def __init__(self, run_directory: Path, which: Which):
        """Write below `run_directory/checkpoints/which`, making folders as needed."""
        self._manager = ocp.CheckpointManager(
            (run_directory / "checkpoints" / which).absolute(),
            options=ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False),
            item_names=("state", "metadata"),
        )
        self._next = (self._manager.latest_step() or 0) + 1

    def save(self, state: Any, metadata: Metadata) -> None:
        """Write a tree of arrays with its metadata; complete when it returns."""
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
    """Arrays (nested dictionaries and lists of NumPy arrays) and metadata of a run or a checkpoint folder.

    Args:
        location: A run directory, the folder of one checkpoint in it, or "shipped".
        which: Which of a run's two checkpoints.

    Raises:
        InputError: no checkpoint there, an unreadable one, or one of another architecture.
    """
    folder = _find_checkpoint(Path(location), which)
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
            metadata = reader.restore(folder, ocp.args.Composite(metadata=ocp.args.JsonRestore()))["metadata"]
            if not isinstance(metadata, dict):
                raise InputError(f"{folder}: checkpoint without metadata; it was not written by this program")
            meaning = Metadata.from_json(metadata, str(folder))
            state = reader.restore(folder, ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise InputError(
            f"{folder}: not a readable checkpoint ({reason}); train again or restore it"
        ) from error
    return state, meaning


def _find_checkpoint(location: Path, which: Which) -> Path:
    """The numbered folder of the newest complete checkpoint."""
    if str(location) == NAME:
        location = shipped()
    if not location.exists():
        raise InputError(f"{location}: no such run directory or checkpoint; give a folder of training")
    for candidate in (location / "checkpoints" / which, location):
        numbered = (path for path in candidate.glob("[0-9]*") if path.name.isdecimal() and path.is_dir())
        if steps := sorted(numbered, key=lambda path: int(path.name)):
            return steps[-1].absolute()
    if (location / "metadata").is_dir() and (location / "state").is_dir():
        return location.absolute()
    raise InputError(f"{location}: no '{which}' checkpoint in it; give the folder that training wrote")


def check_parameters(params: Any, expected: Any, where: str) -> None:
    """Compare the shapes of stored weights with those that the config asks for.

    Args:
        params: Stored tree.
        expected: Tree of arrays or shape structures of the network of the stored config.
        where: The checkpoint, for the message.

    Raises:
        InputError: names the first weight that is missing, superfluous or of another shape.
    """
    stored = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(params)}
    wanted = {jax.tree_util.keystr(path): leaf.shape for path, leaf in jax.tree.leaves_with_path(expected)}
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise InputError(
                f"{where}: weight {name} has shape {stored.get(name)}, the network of its config needs "
                f"{wanted.get(name)}; the checkpoint is of another architecture"
            )
