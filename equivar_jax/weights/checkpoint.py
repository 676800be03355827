"""Orbax checkpoints in run directories.

A checkpoint holds arrays (`state`) and what they mean (`metadata`: the whole config, the elements seen in
training, statistics), so that nothing has to be typed again. A run directory holds two checkpoints:
`checkpoints/best`, the weights with the lowest validation error, and `checkpoints/last`, everything that is
needed to continue the run.
"""

import contextlib
import errno
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from equivar_jax.errors import InputError
from equivar_jax.weights import NAME, shipped_checkpoint
from equivar_jax.weights.metadata import Metadata

Which = Literal["best", "last"]
"""The two checkpoints of a run."""


_SYSTEM_ERROR = re.compile(r"os_error_code='(\d+)'")
"""tensorstore tells the number of the system's error inside a long text."""

_ROOM_FOR_INDICES = 1 << 18
"""Bytes of a checkpoint beside its content and a quarter of that: indices, folders."""

_SECONDS_FOR_THREADS = 10
"""How long a failed save waits for a thread that it has begun."""


class CheckpointWriter:
    """Writes checkpoints of one kind and keeps the newest.

    The one before is removed only after the new one is complete.
    """

    def __init__(self, run_directory: Path, which: Which):
        """Prepare to write below `run_directory/checkpoints/which`, making folders as needed.

        Raises:
            InputError: the folders cannot be made.
        """
        import orbax.checkpoint as ocp

        self._run = run_directory
        try:
            self._manager = ocp.CheckpointManager(
                (run_directory / "checkpoints" / which).absolute(),
                options=ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False),
                item_names=("state", "metadata"),
            )
        except OSError as error:
            raise self._cannot_be_written(error) from error
        self._next = (self._manager.latest_step() or 0) + 1

    def save(self, state: Any, metadata: Metadata) -> None:
        """Write a tree of arrays with its metadata; the checkpoint is complete when this returns.

        Raises:
            InputError: it cannot be written, such as on a full disk; the one before is still there.
        """
        import jax
        import orbax.checkpoint as ocp

        arrays, meaning = jax.tree.map(np.asarray, state), metadata.to_json()
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays)) + len(json.dumps(meaning))
        try:
            _require_room(Path(self._manager.directory), size)
            with _no_log_of_orbax():
                self._manager.save(
                    self._next,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardSave(arrays), metadata=ocp.args.JsonSave(meaning)
                    ),
                )
        except (OSError, ValueError, RuntimeError) as error:  # tensorstore raises the latter two
            if not isinstance(error, OSError) and not _SYSTEM_ERROR.search(str(error)):
                raise  # not of a disk: another process of the run is gone, say
            raise self._cannot_be_written(error) from error
        self._next += 1

    def _cannot_be_written(self, error: Exception) -> InputError:
        code = _SYSTEM_ERROR.search(str(error))
        reason = os.strerror(int(code[1])) if code else getattr(error, "strerror", None)
        reason = reason or " ".join(str(error).split())[:200]
        return InputError(
            f"{self._run}: a checkpoint cannot be written ({reason}); make room, and go on from the one "
            f"before (a training: --resume {self._run})"
        )

    def close(self) -> None:
        """Release the directory."""
        self._manager.close()


def _require_room(folder: Path, size: int) -> None:
    """Reserve so many bytes in a folder and give them back.

    Orbax writes many files at once, and on a disk that becomes full its unfinished writes report themselves
    until the process has ended; so it is not begun there. Quotas are met, too, of which the free space of a
    disk does not tell.

    Raises:
        OSError: there is no room.
    """
    if not hasattr(os, "posix_fallocate"):  # macOS
        return
    with tempfile.TemporaryFile(dir=folder) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size + size // 4 + _ROOM_FOR_INDICES)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            # the file system reserves nothing, or limits single files: the writing itself will tell


@contextlib.contextmanager
def _no_log_of_orbax() -> Iterator[None]:
    """Keep Orbax from printing the tracebacks of its threads; the error itself is raised."""
    logger = logging.getLogger("absl")
    before, others = logger.disabled, set(threading.enumerate())
    logger.disabled = True
    try:
        yield
    except BaseException:
        for thread in set(threading.enumerate()) - others:  # they report their own errors a little later
            thread.join(_SECONDS_FOR_THREADS)
        raise
    finally:
        logger.disabled = before


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
        with _reader() as reader:
            metadata = reader.restore(folder, ocp.args.Composite(metadata=ocp.args.JsonRestore()))["metadata"]
            meaning = _read_meaning(metadata, folder)
            state = reader.restore(folder, ocp.args.Composite(state=ocp.args.StandardRestore()))["state"]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _unreadable(folder, error) from error
    return state, meaning


def _reader() -> Any:
    """Make a reader of checkpoints that waits for no other process of a distributed run."""
    import jax
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.Checkpointer(ocp.CompositeCheckpointHandler())
    own = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=own, active_processes={own}, barrier_sync_key_prefix=f"process-{own}"
    )
    handler = ocp.CompositeCheckpointHandler(
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone)
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def read_weights(location: Path | str) -> tuple[dict, Metadata]:
    """Read weights and metadata of the best checkpoint of a run, without Orbax and JAX where possible.

    Orbax takes a second to load. The arrays that it writes are read here by tensorstore, the library that it
    uses itself, in the layout that is usual (OCDBT and Zarr, `_METADATA` naming the arrays); for any other
    layout this is `read_checkpoint`.

    Args:
        location: A run directory, the folder of one checkpoint in it, or "shipped".

    Returns:
        The weights, as nested dictionaries of NumPy arrays, and the metadata.

    Raises:
        InputError: There is no checkpoint, it cannot be read, or it is of another architecture.
    """
    folder = _find_checkpoint(Path(location), "best")
    try:
        metadata = json.loads((folder / "metadata" / "metadata").read_text(encoding="utf-8"))
        layout = json.loads((folder / "state" / "_METADATA").read_text(encoding="utf-8"))
        names = [
            [str(key["key"]) for key in entry["key_metadata"]] for entry in layout["tree_metadata"].values()
        ]
        usual = layout["use_ocdbt"] and not layout["use_zarr3"] and all(name[0] == "params" for name in names)
    except (OSError, ValueError, KeyError, TypeError):
        usual = False
    if not usual:
        state, meaning = read_checkpoint(location)
        return state["params"], meaning
    meaning = _read_meaning(metadata, folder)
    try:
        return _read_arrays(folder / "state", names)["params"], meaning
    except (OSError, ValueError) as error:
        raise _unreadable(folder, error) from error


def _read_arrays(folder: Path, names: list[list[str]]) -> dict:
    """Read arrays of an Orbax folder, all at a time, into nested dictionaries."""
    import tensorstore

    tree: dict = {}
    context = tensorstore.Context()
    opened = [
        tensorstore.open(
            {
                "driver": "zarr",
                "kvstore": {"driver": "ocdbt", "base": f"file://{folder}/", "path": f"{'.'.join(name)}/"},
            },
            open=True,
            read=True,
            context=context,
        )
        for name in names
    ]
    reading = [array.result().read() for array in opened]
    for name, array in zip(names, reading, strict=True):
        place: dict = tree
        for key in name[:-1]:
            place = place.setdefault(key, {})
        place[name[-1]] = np.asarray(array.result())
    return tree


def _read_meaning(metadata: Any, folder: Path) -> Metadata:
    """Make metadata of what a checkpoint has as such.

    Raises:
        InputError: It has none, or it is of another architecture.
    """
    if not isinstance(metadata, dict):
        raise InputError(
            f"{folder}: checkpoint without metadata, so it was not written by this program; give a "
            "folder that training wrote"
        )
    return Metadata.from_json(metadata, str(folder))


def _unreadable(folder: Path, error: Exception) -> InputError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return InputError(
        f"{folder}: not a readable checkpoint ({reason}); restore it from a copy or train again"
    )


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


def check_parameters(params: Mapping[str, Any], expected: Mapping[str, Any], where: str) -> None:
    """Check that stored weights have the shapes that the network of their config needs.

    Args:
        params: Nested dictionaries of the stored weights.
        expected: The same of arrays, shape structures or shapes of the network of the stored config.
        where: The checkpoint, for the error message.

    Raises:
        InputError: A weight is missing, superfluous or of another shape; the message names the first one.
    """
    stored, wanted = _shapes(params), _shapes(expected)
    for name in sorted(stored.keys() | wanted.keys()):
        if stored.get(name) != wanted.get(name):
            raise InputError(
                f"{where}: weight {name} has shape {stored.get(name)}, but the network of its config needs "
                f"{wanted.get(name)}; the checkpoint is of another architecture: load it with the version "
                "that wrote it"
            )


def _shapes(tree: Any, name: str = "") -> dict[str, tuple[int, ...]]:
    """Return the shape of every array of nested dictionaries, by its path."""
    if not isinstance(tree, Mapping):
        return {name: tuple(getattr(tree, "shape", tree))}
    found: dict[str, tuple[int, ...]] = {}
    for key, value in tree.items():
        found |= _shapes(value, f"{name}[{key!r}]")
    return found
