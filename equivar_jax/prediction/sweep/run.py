"""Sweeps: the tensors of any number of structures in one file, window by window (see `loop`)."""

import contextlib
import re
import signal
import sqlite3
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.appending import AppendingOutput, TextOutput, csv_row, open_output
from equivar_jax.prediction.predictor import Prediction, Predictor
from equivar_jax.prediction.sweep.inputs import Window
from equivar_jax.prediction.sweep.journal import Journal, Progress, identity_of
from equivar_jax.prediction.sweep.loop import process_windows
from equivar_jax.prediction.sweep.shards import Shard
from equivar_jax.structures import BEC_STD, DISTANCE, with_born_effective_charges
from equivar_jax.uncertainty.calibration import Calibration

if TYPE_CHECKING:
    from equivar_jax.prediction.giant import NetworksOnDevices

SKIPPED_COLUMNS = ("file", "frame", "reason")
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
    partial, journal_path, skipped_path = files_beside(output)
    identity = identity_of(predictor, files, allow_unseen, uncertainty, distance)
    on_devices = None if devices is None else predictor.networks_on(devices)
    if shard is not None:
        identity["shard"] = str(shard)
    # A shard may have nothing to write, and keeps its journal when it is finished.
    fresh = restart or (shard is None and not partial.is_file())
    with Journal(journal_path, identity, fresh) as journal:
        try:
            if journal.progress.finished:
                _finish_shard(output, journal)
                return None
            writer = _Writer(predictor, output, partial, skipped_path, journal, calibration, distance)
            writer.in_pieces, writer.on_devices = shard is not None, on_devices
            stopped = process_windows(files, writer, allow_unseen, shard)
            if stopped is not None:
                return stopped
            if shard is not None:
                journal.commit(replace(journal.progress, pieces=[], finished=True))
                _finish_shard(output, journal)
                return None
            if not journal.progress.structures:
                raise nothing_predicted(journal.progress)
        except InputError:
            if shard is None and not journal.progress.structures:
                for path in (partial, skipped_path, journal_path):
                    path.unlink(missing_ok=True)
            raise
        partial.replace(output)
        journal.remove()
    print(summarise(output, skipped_path, journal.progress), file=sys.stderr)
    return None


def files_beside(output: Path) -> tuple[Path, Path, Path]:
    """Return the names of the unfinished output, of the journal, and of the list of what was skipped."""
    partial, journal, skipped = (
        output.with_name(f"{output.name}.{end}") for end in ("part", "progress", "skipped.csv")
    )
    return partial, journal, skipped


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


class _Writer:
    """What is done with windows: predict; write the output, the list of what was skipped, and the journal."""

    def __init__(
        self,
        predictor: Predictor,
        output: Path,
        partial: Path,
        skipped: Path,
        journal: Journal,
        calibration: Calibration | None,
        distance: bool,
    ):
        self.predictor, self.journal, self.partial, self.output = predictor, journal, partial, output
        self._skipped_path, self._calibration, self._distance = skipped, calibration, distance
        self._outputs: tuple[AppendingOutput, TextOutput] | None = None
        self._warned: set[type[UserWarning]] = set()
        self.on_devices: NetworksOnDevices | None = None
        """What predicts instead of the predictor, if each structure is divided among devices."""
        self.in_pieces = False
        """Whether the journal is to list the structures, as that of a shard."""

    def predict(self, window: Window, advance: Callable[[int], object]) -> list[Prediction]:
        """Predict a window, and warn of what the predictions show."""
        self.warn(window.warnings)
        if self.on_devices is not None:
            predictions = self.on_devices.run(window.samples, window.structures, True, advance)
        else:
            predictions = self.predictor.predict_samples(window.samples, progress=True, advance=advance)
        shown = [
            self.predictor.prediction_warnings(atoms, prediction)
            for atoms, prediction in zip(window.structures, predictions, strict=True)
        ]
        window.add_remarks(shown)
        self.warn([warning for own in shown for warning in own])
        return predictions

    def warn(self, collected: Sequence[UserWarning]) -> None:
        """Emit the first warning of each class; the summary at the end tells how many there were."""
        for warning in collected:
            if type(warning) not in self._warned:
                warnings.warn(warning, stacklevel=2)
            self._warned.add(type(warning))

    def write(self, window: Window, predictions: Sequence[Prediction]) -> None:
        """Add a window to the output, and commit it to the disk and to the journal.

        Raises:
            InputError: the output cannot be written to.
        """
        before, remaining = self.journal.progress, iter(predictions)
        structures, atoms, reasons = before.structures, before.atoms, []
        pieces: list[list[int]] = []
        try:
            output, skipped = self._open()
            for file, place, found in zip(window.files, window.places, window.found, strict=True):
                size = 0 if isinstance(found, InputError) else len(found[0])
                try:
                    if isinstance(found, InputError):
                        raise found
                    output.add(self._label(found[0], next(remaining)))
                    structures, atoms = structures + 1, atoms + size
                except InputError as error:
                    size = -size
                    reasons.append(str(error))
                    skipped.add(split_message(file, str(error)))
                pieces.append([*place, size])
            remarks = Counter(before.remarks) + Counter(type(warning).__name__ for warning in window.warnings)
            progress = Progress(
                *window.end,
                structures,
                atoms,
                before.skipped + len(reasons),
                before.first_reason or next(iter(reasons), ""),
                dict(remarks),
                output.commit(),
                skipped.commit(),
                pieces if self.in_pieces else [],
            )
            self.journal.commit(progress)
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"{self.output}: cannot be written any further ({error}); make room or mend the folder, and "
                "give the same command again to resume"
            ) from None

    def _label(self, atoms: Atoms, prediction: Prediction) -> Atoms:
        """Return a copy of a structure with its tensors and, if asked for, their sigma and its distances."""
        labelled = with_born_effective_charges(atoms, prediction.tensors)
        if self._calibration is not None and prediction.spread is not None:
            sigma = prediction.sigma(self._calibration, atoms.numbers)
            labelled.arrays[BEC_STD] = sigma.reshape(-1, 9)
        if self._distance and prediction.distances is not None:
            labelled.arrays[DISTANCE] = prediction.distances
        return labelled

    def close(self) -> None:
        """Close the output and the list of what was skipped; all that counts was committed before."""
        for output in self._outputs or ():
            with contextlib.suppress(OSError):  # what is held back of a window does not fit on a full disk
                output.close()

    def _open(self) -> tuple[AppendingOutput, TextOutput]:
        """Open the output and the list of what was skipped, once, cut back to the last commit."""
        if self._outputs is None:
            done = self.journal.progress
            self._outputs = (
                open_output(
                    self.output,
                    self.partial,
                    done.output_mark,
                    done.structures,
                    uncertainty=self._calibration is not None,
                    distance=self._distance,
                ),
                TextOutput(
                    self._skipped_path,
                    self._skipped_path,
                    done.skipped_mark,
                    done.skipped,
                    lambda values, _: csv_row(values),
                    header=csv_row(SKIPPED_COLUMNS),
                ),
            )
        return self._outputs


def split_message(file: Path, message: str) -> tuple[str, str, str]:
    """Split "<file>, frame 3: <reason>" into file, frame and reason.

    The frame is empty for a message about the file as a whole.
    """
    match = re.fullmatch(rf"{re.escape(str(file))}(?:, frame (\d+))?: (.*)", message, re.DOTALL)
    return (str(file), match[1] or "", match[2]) if match else (str(file), "", message)


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
