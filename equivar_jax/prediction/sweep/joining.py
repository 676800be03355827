"""Join the shards of a sweep to the output of a sweep that was never divided.

Every shard has written down which frames it read (`Progress.pieces`), so that the order of the input comes
back by merging lists of numbers that are sorted. Windows end where they would have ended, which compressed
files show.
"""

import heapq
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from equivar_jax.errors import InputError
from equivar_jax.io.appending import TextOutput, csv_row
from equivar_jax.io.rejoining import Kept, csv_header, open_rejoined, reread, reread_rows
from equivar_jax.prediction.sweep.inputs import is_full
from equivar_jax.prediction.sweep.journal import Journal, Progress, read_journal
from equivar_jax.prediction.sweep.run import nothing_predicted, summarise
from equivar_jax.prediction.sweep.shards import Shard, shards_of
from equivar_jax.prediction.sweep.writing import SKIPPED_COLUMNS, files_beside

_SHOWN = 8
"""Faults of shards that a message lists."""
_DIFFERENCES = {
    "model": "was made with another model",
    "inputs": "was made from other input files",
    "options": "was made with other options",
    "version": "was made by another version of this program",
}


class _Finished(NamedTuple):
    """A shard that is complete."""

    output: Path
    identity: dict[str, str]
    done: Progress
    pieces: Int[np.ndarray, "structures 3"]
    """File, frame and atoms of each structure (see `Progress.pieces`)."""

    def structures(self) -> Iterator[Kept]:
        """Yield the structures in the output."""
        sizes = self.pieces[:, 2]
        return reread(self.output, sizes[sizes > 0].tolist()) if self.done.structures else iter(())

    def reasons(self) -> Iterator[list[str]]:
        """Yield the rows of the list of what was skipped."""
        return reread_rows(files_beside(self.output)[2]) if self.done.skipped else iter(())


def join_shards(output: Path, identity: Mapping[str, str] | None = None) -> None:
    """Write what a sweep without shards would have written, and leave the shards as they are.

    Order, numbers of structures and the list of what was skipped are those of the sweep without shards, and
    so are the bytes of .csv and .extxyz, also compressed. Rows of a .db have times of their own.

    Args:
        output: The name that the shards were given; an older file is replaced when the new one is complete.
        identity: What the shards must belong to (see `identity_of`); by default what most of them belong to.

    Raises:
        InputError: a shard is missing, unfinished, or made with another model, from other inputs or with
            other options; the message lists all such shards. Or no structure could be predicted, or the
            output cannot be written.
    """
    shards = _collect(output, identity)
    partial, journal_path, skipped_path = files_beside(output)
    done = _sum(shards)
    if not done.structures:
        raise nothing_predicted(done)
    with Journal(journal_path, {**shards[0].identity, "shard": "all"}, fresh=False) as journal:
        try:
            _write(shards, output, partial, skipped_path)
            partial.replace(output)
        except (OSError, sqlite3.Error) as error:
            raise InputError(f"{output}: cannot be written ({error}); make room or mend the folder") from None
        journal.remove()
    print(summarise(output, skipped_path, done), file=sys.stderr)


def _collect(output: Path, identity: Mapping[str, str] | None) -> list[_Finished]:
    """Return all shards of an output by number, if they can be joined."""
    found = shards_of(output)
    if not found:
        name = Shard(1, 2).output_of(output).name.replace("001-of-002", "*")
        raise InputError(f"{output}: there are no shards {name} beside it; make them with --shard k/n")
    counts = Counter(shard.total for shard in found)
    if len(counts) > 1:
        kinds = " and ".join(f"{counts[n]} of {n}" for n in sorted(counts))
        raise InputError(
            f"{output}: there are shards of several divisions, {kinds}; remove those of all but one"
        )
    (count,) = counts
    finished, faults = {}, {}
    for number in range(1, count + 1):
        shard = Shard(number, count)
        try:
            finished[shard] = _finished(shard, output)
        except InputError as error:
            faults[shard] = str(error)
    wanted = identity or _most_common([shard.identity for shard in finished.values()])
    for shard, made in finished.items():
        different = next((key for key in _DIFFERENCES if made.identity.get(key) != wanted.get(key)), None)
        if different is not None:
            faults[shard] = _DIFFERENCES[different]
    if faults:
        listed = [f"{shard} {faults[shard]}" for shard in sorted(faults)][:_SHOWN]
        more = f", and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InputError(
            f"{output}: cannot be joined: shard {', shard '.join(listed)}{more}; run these again, with "
            "--restart where they were made differently"
        )
    return [finished[shard] for shard in sorted(finished)]


def _finished(shard: Shard, output: Path) -> _Finished:
    """Return a shard, if it is finished; say what is wrong with it otherwise."""
    own = shard.output_of(output)
    _, journal, skipped = files_beside(own)
    if not journal.is_file():
        raise InputError("is missing")
    try:
        identity, commits = read_journal(journal)
    except InputError:
        raise InputError("has a damaged journal") from None
    if not commits or not commits[-1].finished:
        raise InputError("is unfinished")
    if identity.get("shard") != str(shard):
        raise InputError(f"has the journal of shard {identity.get('shard')}")
    done = commits[-1]
    if (done.structures and not own.is_file()) or (done.skipped and not skipped.is_file()):
        raise InputError("has lost its output")
    pieces = [np.array(commit.pieces, np.int64).reshape(-1, 3) for commit in commits]
    return _Finished(own, identity, done, np.concatenate(pieces))


def _most_common(identities: Sequence[dict[str, str]]) -> dict[str, str]:
    """Return the identity that most shards have, without the number of the shard."""
    kinds = Counter(tuple(one.get(key, "") for key in _DIFFERENCES) for one in identities)
    return dict(zip(_DIFFERENCES, kinds.most_common(1)[0][0], strict=True)) if kinds else {}


def _write(shards: Sequence[_Finished], output: Path, partial: Path, skipped_path: Path) -> None:
    """Write output and list, window by window."""
    with ExitStack() as stack:
        structures = [shard.structures() for shard in shards]
        reasons = [shard.reasons() for shard in shards]
        header = next(csv_header(shard.output) for shard in shards if shard.done.structures)
        outputs = (
            open_rejoined(output, partial, header),
            TextOutput(
                skipped_path, skipped_path, 0, 0, lambda row, _: csv_row(row), header=csv_row(SKIPPED_COLUMNS)
            ),
        )
        for each in outputs:
            stack.callback(each.close)
        count = atoms = 0
        for _, _, size, shard in _merged(shards):
            if size > 0:
                outputs[0].add(next(structures[shard]))
            else:
                outputs[1].add(next(reasons[shard]))
            count, atoms = count + 1, atoms + abs(size)
            if is_full(count, atoms):
                count = atoms = 0
                for each in outputs:
                    each.commit()
        for each in outputs:
            each.commit()
        for left in (*structures, *reasons):
            next(left, None)  # reads to the end, where it is checked that nothing is left over


def _merged(shards: Sequence[_Finished]) -> Iterator[tuple[int, int, int, int]]:
    """Yield file, frame, atoms and the index of the shard of each structure, in the order of the input."""

    def of(index: int, shard: _Finished) -> Iterator[tuple[int, int, int, int]]:
        return ((*piece.tolist(), index) for piece in shard.pieces)

    return heapq.merge(*(of(index, shard) for index, shard in enumerate(shards)))


def _sum(shards: Sequence[_Finished]) -> Progress:
    """Add up what shards have done."""
    parts = [shard.done for shard in shards]
    remarks = sum((Counter(part.remarks) for part in parts), Counter())
    numbers = ("structures", "atoms", "skipped")
    total = {name: sum(getattr(part, name) for part in parts) for name in numbers}
    first = next((shard for _, _, size, shard in _merged(shards) if size <= 0), None)
    reason = "" if first is None else parts[first].first_reason
    return Progress(**total, first_reason=reason, remarks=dict(remarks))
