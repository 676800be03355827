"""The journal of a sweep: a file that records how far it has come, and survives whatever ends the process.

Its first line is JSON that identifies the sweep (inputs, model, options); each commit adds one more line. A
last line that was cut short is not a commit. The journal is locked while a process uses it, and removed when
the output is complete.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from equivar_jax.errors import InputError
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.weights.stacking import leaves_of

VERSION = "2"
"""Version of the journal, the windows and the batches. Raise it with any change after which a sweep that an
earlier version began cannot be resumed."""
_OTHERWISE = "start afresh with --restart, or choose another -o"
_CHANGES = {
    "inputs": "its input files were others (the list, a size or a time of change differs)",
    "model": "it was begun with another model",
    "options": "it was begun with other options",
    "version": "it was begun by another version of this program",
}


@dataclass(frozen=True)
class Progress:
    """What a sweep has done up to a commit."""

    file: int = 0
    """Index of the input file to resume with."""
    frame: int = 0
    """Number of its structures that were read, whether they could be used or not."""
    structures: int = 0
    """Structures written."""
    atoms: int = 0
    """Atoms of the structures written."""
    skipped: int = 0
    """Structures (or files) that could not be used."""
    first_reason: str = ""
    """Why the first of these was skipped."""
    remarks: dict[str, int] = field(default_factory=dict)
    """Number of structures that were predicted with a warning, for each class of warning."""
    output_mark: int = 0
    """Mark to which the unfinished output is cut back when the sweep is resumed."""
    skipped_mark: int = 0
    """The same for the list of what was skipped."""
    pieces: list[list[int]] = field(default_factory=list)
    """Of a shard: file, frame and atoms of each structure of this commit, in their order. The atoms are 0 if
    the structure could not be used, and negative if it was predicted but the format of the output cannot hold
    it."""
    finished: bool = False
    """Of a shard: nothing is left to do but to give the output its name."""


class Journal:
    """The journal of one output, for use as a context manager.

    Args:
        path: Of the journal.
        identity: What identifies the sweep (see `identity_of`); only a sweep with the same is resumed.
        fresh: Begin anew, even if there is an unfinished sweep.

    Raises:
        InputError: another process uses the journal, it belongs to another sweep, it is damaged, or it cannot
            be written.
    """

    def __init__(self, path: Path, identity: Mapping[str, str], fresh: bool):
        self.path = path
        self.progress = Progress()
        """What was done up to the last commit."""
        try:
            self._handle = path.open("a+b")
        except OSError as error:
            raise InputError(
                f"{path}: cannot be written ({error.strerror or error}); choose another -o"
            ) from None
        try:
            self._lock()
            self._read(identity, fresh)
        except OSError as error:
            self._close()
            raise InputError(
                f"{path}: cannot be written ({error.strerror or error}); make room, or choose another -o"
            ) from None
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        """Close the file, and with it the lock; what a full disk does not take is no commit."""
        with contextlib.suppress(OSError):
            self._handle.close()

    def commit(self, progress: Progress) -> None:
        """Record what was done; it is on the disk when this returns."""
        self._write(asdict(progress))
        self.progress = progress

    def remove(self) -> None:
        """Delete the journal of a sweep that is complete."""
        self.path.unlink(missing_ok=True)

    def _lock(self) -> None:
        """Lock the journal, and refuse one in use; the lock ends with the process, however that ends."""
        with contextlib.suppress(ImportError):  # no such locks on Windows
            import fcntl

            try:
                fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{self.path}: another process is writing this output; wait for it, choose another -o, "
                    "or divide the work (--shard)"
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
                f"{self.path}: belongs to an unfinished sweep that cannot be resumed: "
                f"{_CHANGES[differences[0]]}; {_OTHERWISE}"
            )
        if cut_short:
            self._handle.truncate(self._handle.tell() - len(cut_short))

    def _write(self, values: dict) -> None:
        self._handle.write(json.dumps(values).encode() + b"\n")
        self._handle.flush()
        os.fsync(self._handle.fileno())


def read_journal(path: Path) -> tuple[dict[str, str], list[Progress]]:
    """Read the journal of a shard: what identifies its sweep, and its commits.

    Raises:
        InputError: it is not there, or it is damaged.
    """
    try:
        first, *commits = path.read_bytes().split(b"\n")[:-1]
        return json.loads(first), [Progress(**json.loads(line)) for line in commits]
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check its permissions"
        ) from None
    except (ValueError, TypeError):
        raise InputError(f"{path}: the journal of a sweep is damaged; {_OTHERWISE}") from None


def identity_of(
    predictor: Predictor, files: Sequence[Path], allow_unseen: bool, uncertainty: bool, distance: bool = False
) -> dict[str, str]:
    """Identify a sweep by all that decides its output.

    These are its input files by name, size and time of change; the weights and settings of the model; the
    options; and `VERSION`.
    """
    return {
        "version": VERSION,
        "inputs": _digest_inputs(files),
        "model": _digest_model(predictor),
        "options": f"allow_unseen={allow_unseen}" + uncertainty * ", uncertainty" + distance * ", distance",
    }


def _digest_inputs(files: Sequence[Path]) -> str:
    """Return a digest of the names, sizes and times of change of the input files."""
    digest = hashlib.sha256()
    for file in files:
        try:
            status = file.stat()
            known = (str(file), status.st_size, status.st_mtime_ns)
        except OSError:  # a broken link, which the reader will report
            known = (str(file), -1, -1)
        digest.update(repr(known).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _digest_model(predictor: Predictor) -> str:
    """Return a digest of the weights, the settings of the network and the elements it was trained on."""
    meaning = predictor.metadata
    digest = hashlib.sha256(repr((meaning.config.model, meaning.elements)).encode())
    for leaf in leaves_of(predictor.weights):
        digest.update(repr(leaf.shape).encode() + np.asarray(leaf).tobytes())
    return digest.hexdigest()
