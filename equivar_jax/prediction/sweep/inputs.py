"""The structures of a sweep: from files, folders and patterns to windows of them with their graphs."""

import sqlite3
from collections.abc import Iterator, Sequence
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
from equivar_jax.prediction.predictor import Predictor

WINDOW_STRUCTURES = 1024
WINDOW_ATOMS = 1 << 14
"""A window ends with the structure that reaches either: some 16 batches."""


@dataclass
class Window:
    """Structures that are read, computed and written together, or the reason in the place of each bad one."""

    found: list[tuple[Atoms, Sample] | InputError] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    """Of each."""
    remarks: list[UserWarning] = field(default_factory=list)
    end: tuple[int, int] = (0, 0)
    """File, and number of its structures read, with which the next window begins."""

    @property
    def samples(self) -> list[Sample]:
        """Of the good structures."""
        return [found[1] for found in self.found if not isinstance(found, InputError)]


def input_files(inputs: Sequence[str], output: Path) -> list[Path]:
    """The files that paths, folders and patterns mean; the output of an earlier sweep there is none of them.

    Raises:
        InputError: one of them does not exist or holds no structure files.
    """
    files: list[Path] = []
    for name in inputs:
        found = structure_files(name)
        if means_several(Path(name)):
            found = [path for path in found if path.resolve() != output.resolve()]
        files += found
    if not files:
        raise InputError(f"{inputs[0]}: no structure files but {output} itself; name another -o")
    return files


def expected_structures(files: Sequence[Path]) -> int:
    """How many structures there will be, for a progress bar: counted where that is quick, else one a file."""
    return sum(map(_expected, files))


def _expected(file: Path) -> int:
    try:
        if format_suffix(file) in (".extxyz", ".xyz"):
            with open_text(file, errors="replace") as lines:
                return sum(1 for line in lines if line.strip() and _after(lines, 1 + int(line)))
        if file.suffix == ".traj":
            with file.open("rb") as handle:
                return len(TrajectoryReader(handle))
        if file.suffix == ".db":
            with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
                return connection.execute("SELECT COUNT(*) FROM systems").fetchone()[0]
    except Exception:
        # What is wrong with a file is for its reader to say; parsers of damaged files raise all sorts.
        return 1
    return 1


def _after(lines: Iterator[str], count: int) -> bool:
    """Skip lines."""
    next(islice(lines, count, count), None)
    return True


def windows_of(
    predictor: Predictor, files: Sequence[Path], start: tuple[int, int], allow_unseen: bool
) -> Iterator[Window]:
    """Structures with their graphs, a window at a time.

    Args:
        predictor: The network, for its cutoff and elements.
        files: The input.
        start: Where to begin: the place of a file among these, and how many of its structures to leave out.
        allow_unseen: Take elements that the training data did not have, too.
    """
    window, atoms = Window(), 0
    for number, file in enumerate(files[start[0] :], start[0]):
        known = start[1] if number == start[0] else 0
        for frame, found in enumerate(islice(_frames(file), known, None), known + 1):
            window.files.append(file)
            if not isinstance(found, InputError):
                try:
                    sample, remarks = predictor.prepare(found, allow_unseen=allow_unseen)
                    window.found.append((found, sample))
                    window.remarks += remarks
                    atoms += len(found)
                except InputError as error:
                    found = error
            if isinstance(found, InputError):
                window.found.append(found)
            if len(window.found) >= WINDOW_STRUCTURES or atoms >= WINDOW_ATOMS:
                window.end = (number, frame)
                yield window
                window, atoms = Window(), 0
    if window.found:
        window.end = (len(files), 0)
        yield window


def _frames(file: Path) -> Iterator[Atoms | InputError]:
    """The structures of one file; where it cannot be read on, the reason is the last."""
    count = 0
    try:
        try:
            for found in scan_structures(file):
                yield found
                count += 1
        except UnknownIndexOrderError:
            # Labels are not used here, so any order does.
            yield from islice(scan_structures(file, first_index="field"), count, None)
    except InputError as error:
        yield error
