"""The work of a screening on each window: predict, describe, and write a row for each structure."""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.appending import TextOutput, csv_row
from equivar_jax.io.extxyz_writer import frame_lines
from equivar_jax.prediction.dielectric import spread_of
from equivar_jax.prediction.predictor import Prediction, Predictor
from equivar_jax.prediction.sweep.inputs import Window
from equivar_jax.prediction.sweep.journal import Journal, Progress
from equivar_jax.prediction.sweep.writing import split_message
from equivar_jax.response.screening.columns import COLUMNS, Row, to_words
from equivar_jax.response.screening.measures import Known, charge_columns, flag_columns, structure_columns
from equivar_jax.response.screening.nominal import is_installed, nominal_charges
from equivar_jax.structures import BEC_STD, EPSILON, SOURCE, with_born_effective_charges

TABLE, STRUCTURES = "screen.csv", "screen.extxyz"
ROWS = "screen.rows"
"""The unfinished table, in the order of the input."""
PREFIX = "screen_"
"""Of the names in `atoms.info` by which a structure carries the values of its row."""
_ONLY_IN_TABLE = ("file", "frame", "warnings", "error")


class ScreeningWork:
    """The work on each window (see `prediction.sweep.loop.Work`).

    The table has a row for every structure of the input, also for those that cannot be used; the extended XYZ
    file has those that can.

    Args:
        predictor: The model.
        folder: Of the output.
        journal: How far the screening has come: its marks are those of the table and of the structures.
    """

    def __init__(self, predictor: Predictor, folder: Path, journal: Journal):
        self.predictor, self.journal = predictor, journal
        self.partial = folder / ROWS
        self._structures_path = folder / STRUCTURES
        self._outputs: tuple[TextOutput, TextOutput] | None = None
        self._has_nominal = is_installed()

    def predict(self, window: Window, advance: Callable[[int], object]) -> list[Known]:
        """Predict what is known of each structure of a window that can be used."""
        model, structures = self.predictor, window.structures
        predictions = model.predict_samples(window.samples, progress=True, advance=advance)
        window.add_remarks(
            model.prediction_warnings(atoms, prediction)
            for atoms, prediction in zip(structures, predictions, strict=True)
        )
        remarks = [
            own
            for own, found in zip(window.remarks, window.found, strict=True)
            if not isinstance(found, InputError)
        ]
        tensors = self._dielectric(window)
        known = []
        for k, (atoms, prediction, own) in enumerate(zip(structures, predictions, remarks, strict=True)):
            epsilon, deviation = tensors.get(k, (None, None))
            known.append(Known(prediction.tensors, self._sigma(atoms, prediction), epsilon, deviation, own))
        return known

    def _sigma(self, atoms: Atoms, prediction: Prediction) -> Float[np.ndarray, "atoms 3 3"] | None:
        calibration = self.predictor.metadata.calibration
        if calibration is None or prediction.spread is None:
            return None
        return prediction.sigma(calibration, atoms.numbers)

    def _dielectric(self, window: Window) -> dict[int, tuple[np.ndarray, np.ndarray | None]]:
        """Return tensor and standard deviation of each crystal, by its number among usable structures."""
        crystals = [k for k, atoms in enumerate(window.structures) if atoms.pbc.all()]
        if not crystals or not self.predictor.config.dielectric:
            return {}
        samples = window.samples
        of_members = self.predictor.dielectric_of_members([samples[k] for k in crystals])
        mean, calibration = of_members.mean(axis=0), self.predictor.metadata.dielectric_calibration
        if calibration is None or len(of_members) == 1:
            return {k: (tensor, None) for k, tensor in zip(crystals, mean, strict=True)}
        sigma = calibration.sigma(spread_of(of_members), mean)
        return dict(zip(crystals, zip(mean, sigma, strict=True), strict=True))

    def write(self, window: Window, found: Sequence[Known]) -> None:
        """Add a window to the table and to the structures, and commit both to the journal.

        Raises:
            InputError: the output cannot be written to.
        """
        before, remaining = self.journal.progress, iter(found)
        structures, atoms, reasons = before.structures, before.atoms, list[str]()
        first = before.structures + before.skipped
        try:
            table, labelled = self._open()
            for index, (file, one) in enumerate(zip(window.files, window.found, strict=True), first):
                row: Row = {"file": str(file), "index": index}
                try:
                    if isinstance(one, InputError):
                        raise one
                    row |= self._describe(one[0], next(remaining), file, labelled, row)
                    structures, atoms = structures + 1, atoms + len(one[0])
                except InputError as error:
                    _, frame, reason = split_message(file, str(error))
                    row |= {"frame": frame or None, "error": " ".join(reason.split())}
                    reasons.append(str(error))
                table.add(row)
            self.journal.commit(
                Progress(
                    *window.end,
                    structures,
                    atoms,
                    before.skipped + len(reasons),
                    before.first_reason or next(iter(reasons), ""),
                    {},
                    table.commit(),
                    labelled.commit(),
                )
            )
        except (OSError, sqlite3.Error) as error:
            raise InputError(
                f"{self.partial}: cannot be written any further ({error}); make room or mend the folder, and "
                "give the same command again to resume"
            ) from None

    def _describe(self, atoms: Atoms, known: Known, file: Path, output: TextOutput, row: Row) -> Row:
        """Return the rest of the row of a structure, which is added to the structures, too.

        Raises:
            InputError: the tensors are not finite.
        """
        nominal = nominal_charges(atoms) if self._has_nominal else {}
        labelled = with_born_effective_charges(atoms, known.tensors)
        _, frame, _ = split_message(file, f"{atoms.info.get(SOURCE, file)}: ")
        found = {
            "frame": frame or 0,
            **structure_columns(atoms),
            **charge_columns(atoms, known, nominal),
            **flag_columns(atoms, known.remarks),
        }
        if known.sigma is not None:
            labelled.arrays[BEC_STD] = known.sigma.reshape(-1, 9)
        own = {
            f"{PREFIX}{name}": value
            for name, value in {**row, **found}.items()
            if value is not None and name not in _ONLY_IN_TABLE
        }
        try:
            output.add(_with_info(labelled, own, known.epsilon_inf))
        except InputError:  # something of the structure's own cannot be written, and is left out
            bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
            bare.info = {SOURCE: atoms.info[SOURCE]} if SOURCE in atoms.info else {}
            bare = with_born_effective_charges(bare, known.tensors)
            output.add(_with_info(bare, own, known.epsilon_inf))
        return found

    def close(self) -> None:
        """Close table and structures."""
        for output in self._outputs or ():
            output.close()

    def _open(self) -> tuple[TextOutput, TextOutput]:
        """Open table and structures, once, cut back to the last commit."""
        if self._outputs is None:
            done = self.journal.progress
            part = self._structures_path.with_name(f"{STRUCTURES}.part")
            self._outputs = (
                TextOutput(
                    self.partial.with_name(TABLE),
                    self.partial,
                    done.output_mark,
                    done.structures + done.skipped,
                    lambda row, _: csv_row(to_words(row)),
                    header=csv_row(COLUMNS),
                ),
                TextOutput(
                    self._structures_path,
                    part,
                    done.skipped_mark,
                    done.structures,
                    lambda atoms, _: "".join(frame_lines(atoms)),
                ),
            )
        return self._outputs


def _with_info(atoms: Atoms, own: Row, epsilon_inf: np.ndarray | None) -> Atoms:
    """Give a structure the values of its row, and the dielectric tensor beside one of its own."""
    given: dict[str, Any] = {}
    if epsilon_inf is not None:
        given[f"{PREFIX}{EPSILON}_tensor" if EPSILON in atoms.info else EPSILON] = epsilon_inf
    atoms.info |= own | given
    return atoms
