"""Input of a sweep: find the files of paths, folders and patterns, and read them as windows of structures."""

import functools
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ase import Atoms
from ase.io.trajectory import TrajectoryReader

from equivar_jax.errors import InputError
from equivar_jax.graphs.batch import Sample
from equivar_jax.io import scan_structures, structure_files
from equivar_jax.io.equivar_training import UnknownIndexOrderError
from equivar_jax.io.files import format_suffix, open_text
from equivar_jax.io.folders import means_several
from equivar_jax.io.options import NotWantedError
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.prediction.sweep.shards import Shard, without_shards

WINDOW_STRUCTURES = 1024
WINDOW_ATOMS = 1 << 14
"""A window ends with the structure by which it reaches either limit; it makes some 16 batches."""


@dataclass
class Window:
    """Structures that are read, predicted and written together."""

    found: list[tuple[Atoms, Sample] | InputError] = field(default_factory=list)
    """Each structure with its graph, or, in the place of one that cannot be used, the reason."""
    files: list[Path] = field(default_factory=list)
    """The file that each of them comes from."""
    places: list[tuple[int, int]] = field(default_factory=list)
    """Index of that file in the input, and number of the frame in it, of each of them."""
    remarks: list[list[UserWarning]] = field(default_factory=list)
    """The warnings about each of them, not yet emitted; none about what cannot be used."""
    end: tuple[int, int] = (0, 0)
    """Where the next window begins: index of a file, and how many of its structures were read before."""

    @property
    def samples(self) -> list[Sample]:
        """The graphs of the structures that can be used."""
        return [found[1] for found in self.found if not isinstance(found, InputError)]

    @property
    def structures(self) -> list[Atoms]:
        """The structures that can be used."""
        return [found[0] for found in self.found if not isinstance(found, InputError)]

    @property
    def warnings(self) -> list[UserWarning]:
        """The warnings about all of them."""
        return [warning for own in self.remarks for warning in own]

    def add_remarks(self, remarks: Iterable[Sequence[UserWarning]]) -> None:
        """Add further warnings about each of the structures that can be used."""
        usable = [
            own
            for own, found in zip(self.remarks, self.found, strict=True)
            if not isinstance(found, InputError)
        ]
        for own, more in zip(usable, remarks, strict=True):
            own += more


def find_input_files(inputs: Sequence[str], output: Path) -> list[Path]:
    """Expand paths, folders and glob patterns to structure files, leaving out `output` itself and its shards.

    Raises:
        InputError: an input does not exist or holds no structure files, or there is none but `output`.
    """
    files: list[Path] = []
    for name in inputs:
        found = structure_files(name)
        if means_several(Path(name)):
            found = [path for path in found if path.resolve() != output.resolve()]
            found = without_shards(found, output)
        files += found
    if not files:
        raise InputError(f"{inputs[0]}: no structure files but the output {output} itself; choose another -o")
    return files


def estimate_structures(files: Sequence[Path], shard: Shard | None = None) -> int:
    """Estimate how many structures files, or one shard of them, hold, for a progress bar.

    Structures are counted in formats where that is quick; any other file counts as one structure.
    """
    if shard is None:
        return sum(map(_estimate_in_file, files))
    own = 0.0
    for number, file in enumerate(files):
        if shard.frames_of(number, file) is not None:
            count = _estimate_in_file(file)
            own += count / shard.total if count > 1 else shard.owns(number, 0)
    return round(own)


def _estimate_in_file(file: Path) -> int:
    try:
        if format_suffix(file) in (".extxyz", ".xyz"):
            with open_text(file, errors="replace") as lines:
                return sum(1 for line in lines if line.strip() and _skip_lines(lines, 1 + int(line)))
        if file.suffix == ".traj":
            with file.open("rb") as handle:
                return len(TrajectoryReader(handle))
        if file.suffix == ".db":
            with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                return connection.execute("SELECT COUNT(*) FROM systems").fetchone()[0]
    except Exception:
        # The reader will say what is wrong with the file; parsers of damaged files raise all sorts of errors.
        return 1
    return 1


def _skip_lines(lines: Iterator[str], count: int) -> bool:
    """Skip lines, if there are so many left; return True."""
    next(islice(lines, count, count), None)
    return True


def read_windows(
    predictor: Predictor,
    files: Sequence[Path],
    start: tuple[int, int],
    allow_unseen: bool,
    shard: Shard | None = None,
) -> Iterator[Window]:
    """Read structures and build their graphs, a window at a time.

    Args:
        predictor: The model, for its cutoff and elements.
        files: The input.
        start: Where to begin: index of a file, and how many of its structures to skip.
        allow_unseen: Take structures with elements that did not occur in the training data, too.
        shard: Read what belongs to this shard only.
    """
    window, atoms = Window(), 0
    for number, file in enumerate(files[start[0] :], start[0]):
        skipped = start[1] if number == start[0] else 0
        is_own = _all_frames if shard is None else shard.frames_of(number, file)
        if is_own is None:
            continue
        frames = _read_frames(file, None if shard is None else is_own)
        for frame, found in enumerate(islice(frames, skipped, None), skipped + 1):
            if isinstance(found, NotWantedError) or not is_own(frame - 1):
                continue
            window.files.append(file)
            window.places.append((number, frame - 1))
            window.remarks.append([])
            if not isinstance(found, InputError):
                try:
                    sample, warnings = predictor.prepare(found, allow_unseen=allow_unseen)
                    window.found.append((found, sample))
                    window.remarks[-1] += warnings
                    atoms += len(found)
                except InputError as error:
                    found = error
            if isinstance(found, InputError):
                window.found.append(found)
            if is_full(len(window.found), atoms):
                window.end = (number, frame)
                yield window
                window, atoms = Window(), 0
    if window.found:
        window.end = (len(files), 0)
        yield window


def is_full(structures: int, atoms: int) -> bool:
    """Return whether a window with so many structures, and atoms of those that can be used, ends here."""
    return structures >= WINDOW_STRUCTURES or atoms >= WINDOW_ATOMS


def _all_frames(_: int) -> bool:
    return True


def _read_frames(file: Path, wanted: Callable[[int], bool] | None = None) -> Iterator[Atoms | InputError]:
    """Read the structures of one file; where it cannot be read any further, yield the reason and end."""
    scan = scan_structures if wanted is None else functools.partial(scan_structures, wanted=wanted)
    count = 0
    try:
        try:
            for found in scan(file):
                yield found
                count += 1
        except UnknownIndexOrderError:
            # The labels, whose index order is unknown, are not used here: read them in any order.
            yield from islice(scan(file, first_index="field"), count, None)
    except InputError as error:
        yield error
