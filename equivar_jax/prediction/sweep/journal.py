"""How far a sweep has come, in a file that survives whatever ends the process.

The journal has one line of JSON for what is swept and one more for every commit; a last line that was cut
short is no commit. It is locked while a process uses it, and removed when the output is complete.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import jax
import numpy as np

from equivar_jax.errors import InputError
from equivar_jax.prediction.predictor import Predictor

VERSION = "1"
"""Of the journal, windows and batches: raise it when an unfinished sweep cannot go on with a new form."""
_OTHERWISE = "start afresh with --restart, or choose another -o"
_CHANGES = {
    "inputs": "its input files are not those of now (another list, size or time of change)",
    "model": "its model is another one",
    "options": "its options are others",
    "version": "another version of this program began it",
}


@dataclass(frozen=True)
class Progress:
    """What was done at a commit."""

    file: int = 0
    """Place in the list of input files of the one to go on with."""
    frame: int = 0
    """Its structures that were read, good or bad."""
    structures: int = 0
    """Written."""
    atoms: int = 0
    """Of these."""
    skipped: int = 0
    first_reason: str = ""
    """Why the first of those was skipped."""
    remarks: dict[str, int] = field(default_factory=dict)
    """Structures that were predicted with a warning, by its kind."""
    output_mark: int = 0
    """Where the output can be cut back to."""
    skipped_mark: int = 0
    """The same for the list of what was skipped."""


class Journal:
    """The journal of one output; use as a context manager.

    Args:
        path: Of the journal.
        identity: What a sweep must have in common with the one that is to go on.
        fresh: Begin anew, whatever is there.

    Raises:
        InputError: another process uses it, it belongs to another sweep, or it cannot be read or written.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], fresh: bool):
        self.path = path
        self.progress = Progress()
        """Of the last commit."""
        try:
            self._handle = path.open("a+b")
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror or error}); choose another -o"
            ) from None
        try:
            self._lock()
            self._read(identity, fresh)
        except BaseException:
            self._handle.close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    def commit(self, progress: Progress) -> None:
        """Note what was done; it is on the disk when this returns."""
        self._write(asdict(progress))
        self.progress = progress

    def remove(self) -> None:
        """The sweep is over."""
        self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Refuse a journal in use; the lock goes with the process, however it ends."""
        with contextlib.suppress(ImportError):  # no such locks on Windows
            import fcntl

            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{self.path}: another process writes this output; wait for it, or choose another -o"
                ) from None

    def _read(self, identity: Mapping[str, str], fresh: bool) -> None:
        self._handle.seek(0)
        *lines, cut_short = self._handle.read().split(b"\n")
        if fresh or not lines:
            self._handle.truncate(0)
            self._write(dict(identity))
            return
        try:
            found, *commits = map(json.loads, lines)
            differences = [name for name in _CHANGES if found[name] != identity[name]]
            self.progress = Progress(**commits[-1]) if commits else Progress()
        except (ValueError, TypeError, KeyError):
            raise InputError(f"{self.path}: the journal of a sweep is damaged; {_OTHERWISE}") from None
        if differences:
            raise InputError(
                f"{self.path}: an unfinished sweep is there and cannot go on: {_CHANGES[differences[0]]}; "
                f"{_OTHERWISE}"
            )
        if cut_short:
            self._handle.truncate(self._handle.tell() - len(cut_short))

    def _write(self, values: dict) -> None:
        self._handle.write(json.dumps(values).encode() + b"\n")
        self._handle.flush()
        os.fsync(self._handle.fileno())


def identity_of(
    predictor: Predictor, files: Sequence[Path], allow_unseen: bool, uncertainty: bool
) -> dict[str, str]:
    """What decides the output of a sweep: its files by name, size and time of change; weights; options."""
    return {
        "version": VERSION,
        "inputs": _inputs_key(files),
        "model": _model_key(predictor),
        "options": f"allow_unseen={allow_unseen}" + uncertainty * ", uncertainty",
    }


def _inputs_key(files: Sequence[Path]) -> str:
    """A digest of the names, sizes and times of change of the input files."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
            known = (str(file), status.st_size, status.st_mtime_ns)
        except OSError:  # a broken link: the reader says so
            known = (str(file), -1, -1)
        digest.update(repr(known).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _model_key(predictor: Predictor) -> str:
    """A digest of weights and settings."""
    meaning = predictor.metadata
    digest = hashlib.sha256(repr((meaning.config.model, meaning.elements)).encode())
    for path, leaf in jax.tree.leaves_with_path(predictor.weights):
        digest.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()
