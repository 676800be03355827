"""The work of a sweep on each window: predict, and write the tensors, what was skipped, and the journal."""

import contextlib
import re
import sqlite3
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.appending import AppendingOutput, TextOutput, csv_row, open_output
from equivar_jax.prediction.members import Prediction
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.prediction.sweep.inputs import Window
from equivar_jax.prediction.sweep.journal import Journal, Progress
from equivar_jax.structures import BEC_STD, DISTANCE, with_born_effective_charges
from equivar_jax.uncertainty.calibration import Calibration

if TYPE_CHECKING:  # brings JAX along
    from equivar_jax.prediction.giant import NetworksOnDevices

SKIPPED_COLUMNS = ("file", "frame", "reason")


class SweepWork:
    """The work of a sweep on each window (see `loop.Work`): predict; write output, list of skipped, journal.

    Args:
        predictor: The model.
        output: The file when it is complete; what belongs to it until then, see `files_beside`.
        journal: How far the sweep has come.
        calibration: Of the committee, to write standard deviations, too.
        distance: Write the distance of each atom from the training data, too.
        on_devices: What predicts instead of the predictor, if each structure is divided among devices.
        in_pieces: Whether the journal is to list the structures, as that of a shard.
    """

    def __init__(
        self,
        predictor: Predictor,
        output: Path,
        journal: Journal,
        calibration: Calibration | None,
        distance: bool,
        on_devices: "NetworksOnDevices | None",
        *,
        in_pieces: bool,
    ):
        self.predictor, self.journal, self.output = predictor, journal, output
        self.partial, _, self.skipped = files_beside(output)
        self._calibration, self._distance = calibration, distance
        self._on_devices, self._in_pieces = on_devices, in_pieces
        self._outputs: tuple[AppendingOutput, TextOutput] | None = None
        self._warned: set[type[UserWarning]] = set()

    def predict(self, window: Window, advance: Callable[[int], object]) -> list[Prediction]:
        """Predict a window, and warn of what the predictions show."""
        self.warn(window.warnings)
        if self._on_devices is not None:
            predictions = self._on_devices.run(window.samples, window.structures, True, advance)
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
                pieces if self._in_pieces else [],
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
                    self.skipped,
                    self.skipped,
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


def files_beside(output: Path) -> tuple[Path, Path, Path]:
    """Return the names of the unfinished output, of the journal, and of the list of what was skipped."""
    partial, journal, skipped = (
        output.with_name(f"{output.name}.{end}") for end in ("part", "progress", "skipped.csv")
    )
    return partial, journal, skipped
