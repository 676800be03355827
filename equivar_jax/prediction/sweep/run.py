"""Sweeps: the tensors of any number of structures in one file, window by window (see `loop`)."""

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from equivar_jax.errors import InputError
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.prediction.sweep.journal import Journal, Progress, identity_of
from equivar_jax.prediction.sweep.loop import process_windows
from equivar_jax.prediction.sweep.shards import Shard
from equivar_jax.prediction.sweep.writing import SweepWork, files_beside

_REMARKS = {
    "IsolatedAtomWarning": "isolated atoms",
    "UnseenElementWarning": "elements the model has never seen",
    "RareElementWarning": "elements the model has hardly seen",
    "CloseAtomsWarning": "atoms closer than in the training data",
    "DensityWarning": "atoms with more or fewer neighbours than in the training data",
    "LikelyMetalWarning": "a composition that is likely metallic, which has no Born charges",
    "UnfamiliarAtomsWarning": "atoms unlike those of the training data",
    "UncertainWarning": "atoms less certain than 99 % of the validation data",
}


def sweep(
    predictor: Predictor,
    files: Sequence[Path],
    output: Path,
    *,
    allow_unseen: bool = False,
    uncertainty: bool = False,
    distance: bool = False,
    restart: bool = False,
    shard: Shard | None = None,
    devices: int | None = None,
) -> signal.Signals | None:
    """Predict the tensors of every structure of many files, and write them in the order of the input.

    Structures that cannot be used are skipped, and listed with file, frame and reason in
    `<output>.skipped.csv`. Until the output is complete it is called `<output>.part`, and its journal
    `<output>.progress`.

    Args:
        predictor: The model.
        files: As `find_input_files` returns them.
        output: A name that `check_output` accepts; an older file is replaced when the new one is complete.
        allow_unseen: Predict structures with elements that did not occur in the training data, too.
        uncertainty: Write standard deviations, too, for formats where `check_output` allows it.
        distance: The same for the distance of each atom from the training data.
        restart: Discard what an unfinished sweep has left, and begin anew.
        shard: Do this part only, and write it to `shard.output_of(output)`; its journal stays for
            `join_shards`. One that is finished is not done again.
        devices: Divide each structure among so many devices (see `Predictor.predict`).

    Returns:
        The signal (Ctrl-C or SIGTERM) that stopped the sweep after a window, or None if it came to the end.

    Raises:
        InputError: no structure could be predicted; the output cannot be written, is in use, or belongs to an
            unfinished sweep of other inputs; or the uncertainty is asked for without a calibrated committee,
            or the distance from a checkpoint that does not know it.
    """
    if distance:
        predictor.check_knows_features()
    calibration = predictor.calibration if uncertainty else None
    output = output if shard is None else shard.output_of(output)
    partial, journal_path, _ = files_beside(output)
    identity = identity_of(predictor, files, allow_unseen, uncertainty, distance)
    on_devices = None if devices is None else predictor.networks_on(devices)
    if shard is not None:
        identity["shard"] = str(shard)
    # A shard may have nothing to write, and keeps its journal when it is finished.
    fresh = restart or (shard is None and not partial.is_file())
    with Journal(journal_path, identity, fresh) as journal:
        work = SweepWork(
            predictor, output, journal, calibration, distance, on_devices, in_pieces=shard is not None
        )
        if shard is None:
            return _sweep_whole(files, work, allow_unseen)
        return _sweep_shard(files, work, allow_unseen, shard)


def _sweep_whole(files: Sequence[Path], work: SweepWork, allow_unseen: bool) -> signal.Signals | None:
    """Do what is left of a sweep, and give its output its name; see `sweep`.

    Raises:
        InputError: the output cannot be written, or no structure could be predicted: nothing stays behind.
    """
    journal = work.journal
    try:
        stopped = process_windows(files, work, allow_unseen)
        if stopped is not None:
            return stopped
        if not journal.progress.structures:
            raise nothing_predicted(journal.progress)
    except InputError:
        if not journal.progress.structures:
            for path in files_beside(work.output):
                path.unlink(missing_ok=True)
        raise
    work.partial.replace(work.output)
    journal.remove()
    print(summarise(work.output, work.skipped, journal.progress), file=sys.stderr)
    return None


def _sweep_shard(
    files: Sequence[Path], work: SweepWork, allow_unseen: bool, shard: Shard
) -> signal.Signals | None:
    """Do what is left of a shard, if there is something, and give its output its name; see `sweep`."""
    journal = work.journal
    if not journal.progress.finished:
        stopped = process_windows(files, work, allow_unseen, shard)
        if stopped is not None:
            return stopped
        journal.commit(replace(journal.progress, pieces=[], finished=True))
    _finish_shard(work.output, journal)
    return None


def _finish_shard(output: Path, journal: Journal) -> None:
    """Give the output of a finished shard its name, unless it has it already, and say so.

    Raises:
        InputError: the output is gone.
    """
    partial, _, skipped = files_beside(output)
    if journal.progress.structures:
        if partial.is_file():
            partial.replace(output)
        elif not output.is_file():
            raise InputError(f"{output}: was finished but is gone; bring it back, or use --restart")
    print(f"finished: {summarise(output, skipped, journal.progress)}", file=sys.stderr)


def summarise(output: Path, skipped: Path, done: Progress) -> str:
    """Describe a finished sweep in one line: what was written, warned about and skipped."""
    parts = [f"{output}: {done.atoms} tensors of {done.structures} structures"]
    parts += [f"{count} with {_REMARKS[name]}" for name, count in done.remarks.items()]
    if done.skipped:
        parts.append(f"{done.skipped} skipped, listed in {skipped}, the first: {done.first_reason}")
    return "; ".join(parts)


def nothing_predicted(done: Progress) -> InputError:
    """Make the error of a sweep in which no structure could be predicted, with the first reason."""
    several = f" (and none of the {done.skipped} structures can be predicted)" if done.skipped > 1 else ""
    return InputError(done.first_reason + several)
