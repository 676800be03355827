"""ASE databases and trajectories that grow; the classes follow `appending.AppendingOutput`."""

import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import ase.db
from ase import Atoms
from ase.io.jsonio import encode
from ase.io.trajectory import TrajectoryReader, TrajectoryWriter

from equivar_jax.errors import InputError
from equivar_jax.io.ase_writers import prepare_for_ase, require_storable, write_row


class DatabaseOutput:
    """An ASE database (SQLite) with one transaction for each commit; its mark is its number of rows."""

    def __init__(self, partial: Path, mark: int):
        self._rows = mark
        self._transaction = ExitStack()
        if mark == 0:
            for name in (partial.name, f"{partial.name}-journal"):  # SQLite would roll back an old journal
                partial.with_name(name).unlink(missing_ok=True)
        self._database = ase.db.connect(str(partial), type="db", use_lock_file=False)
        if mark:
            self._cut(partial, mark)

    def _cut(self, partial: Path, mark: int) -> None:
        """Delete the rows after the first `mark`, so that new rows are numbered from there."""
        try:
            if self._database.count() < mark:
                raise make_shortened_error(partial)
            with self._database:
                self._database.delete([row.id for row in self._database.select(f"id>{mark}")])
            with closing(sqlite3.connect(partial)) as connection, connection:
                # The next row gets the number after the last one kept.
                connection.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'systems'", (mark,))
        except (sqlite3.Error, OSError):
            raise make_shortened_error(partial) from None

    def add(self, atoms: Atoms) -> None:
        """Add a structure; see `AppendingOutput`."""
        if self._database.connection is None:
            self._transaction.enter_context(self._database)
        write_row(self._database, prepare_for_ase(atoms))
        self._rows += 1

    def commit(self) -> int:
        """Write to the disk what was added; see `AppendingOutput`."""
        self._transaction.close()
        return self._rows

    def close(self) -> None:
        """Release the file; see `AppendingOutput`."""
        if self._database.connection is not None:
            self._database.connection.rollback()
        self._transaction.close()


class TrajectoryOutput:
    """An ASE trajectory that grows; its mark is its number of frames."""

    def __init__(self, partial: Path, mark: int):
        self._partial = partial
        self._frames = mark
        self._writer: TrajectoryWriter | None = None
        if mark == 0:
            partial.unlink(missing_ok=True)
            return
        copy = partial.with_name(f"{partial.name}.part")
        try:
            with partial.open("rb") as handle, closing(TrajectoryWriter(str(copy))) as writer:
                reader = TrajectoryReader(handle)
                for frame in range(mark):
                    writer.write(reader[frame])
        except Exception as error:
            copy.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the system: the copy has no room, say
            # ASE does not document what its parser raises on damaged files.
            raise make_shortened_error(partial) from None
        copy.replace(partial)

    def add(self, atoms: Atoms) -> None:
        """Add a structure; see `AppendingOutput`."""
        prepared = prepare_for_ase(atoms)
        for key, value in prepared.info.items():
            require_storable(prepared, key, value, encode)
        if self._writer is None:
            self._writer = TrajectoryWriter(str(self._partial), "a" if self._frames else "w")
        self._writer.write(prepared)
        self._frames += 1

    def commit(self) -> int:
        """Write to the disk what was added; see `AppendingOutput`."""
        if self._writer is not None:
            self.close()
            with self._partial.open("r+b") as handle:
                os.fsync(handle.fileno())
        return self._frames

    def close(self) -> None:
        """Release the file; see `AppendingOutput`."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def make_shortened_error(partial: Path) -> InputError:
    """Return the error for a file that has lost what was committed to it."""
    return InputError(
        f"{partial}: has less than the sweep had written, or is damaged; start afresh with --restart"
    )
