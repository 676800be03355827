"""Screening of many crystals by what needs no forces: charges, eps_inf, anomaly, uncertainty, domain, metals.

The command reads the structures window by window as `equivar predict` does, goes on where it was stopped, and
writes a table with one row a structure in the order of a ranking, the structures with tensors and numbers,
and a page that sorts.
"""

import argparse
import sys
from importlib.metadata import version
from pathlib import Path

from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.io import write_structures
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.prediction.sweep import find_input_files
from equivar_jax.prediction.sweep.journal import Journal, Progress, identity_of
from equivar_jax.prediction.sweep.loop import process_windows
from equivar_jax.response.options import Ranking
from equivar_jax.response.screening.nominal import HOW_TO_INSTALL, PACKAGE, is_installed, missing_package
from equivar_jax.response.screening.page import PAGE, write_page
from equivar_jax.response.screening.prototypes import prototypes
from equivar_jax.response.screening.ranking import rank_rows, read_rows, summarise, write_table
from equivar_jax.response.screening.writing import ROWS, STRUCTURES, TABLE, ScreeningWork

JOURNAL = "screen.progress"
LAYOUT = 1
"""Raise it with any change of the columns after which a screening that was begun cannot be resumed."""


def run(options: argparse.Namespace) -> None:
    """Screen the structures, write table, structures and page, and print the summary."""
    if not (options.inputs or options.example):
        raise InputError("no structures; name files, folders or patterns, or try --example")
    predictor, folder = load(options.checkpoint), Path(options.output)
    ranking = choose_ranking(options.rank, predictor)
    with input_error_unless_writable(folder, "-o"):
        folder.mkdir(parents=True, exist_ok=True)
    files = _example_files(folder) if options.example else _input_files(options.inputs, folder)
    interrupted = screen(
        predictor, files, folder, ranking, allow_unseen=options.allow_unseen, restart=options.restart
    )
    if interrupted is not None:
        raise SystemExit(128 + interrupted)


def choose_ranking(wanted: Ranking | None, predictor: Predictor) -> Ranking:
    """Return the ranking that is asked for, or else the first that can be made.

    Raises:
        InputError: what the ranking needs is not there.
    """
    if wanted == "epsilon" and not predictor.config.dielectric:
        raise InputError(
            "--rank epsilon: the model has no readout for the electronic dielectric tensor; take the weights "
            "of the package, or train with --model.dielectric True"
        )
    if wanted == "uncertainty":
        predictor.calibration  # noqa: B018 (it says what is missing)
    if is_installed():
        return wanted or "anomaly"
    if wanted == "anomaly":
        raise missing_package()
    print(
        f"no nominal charges, and no anomaly: {PACKAGE} is not installed; {HOW_TO_INSTALL}", file=sys.stderr
    )
    if wanted is None and predictor.metadata.calibration is None and not predictor.config.dielectric:
        raise missing_package()
    return wanted or ("uncertainty" if predictor.metadata.calibration is not None else "epsilon")


def screen(
    predictor: Predictor,
    files: list[Path],
    folder: Path,
    ranking: Ranking,
    *,
    allow_unseen: bool = False,
    restart: bool = False,
) -> int | None:
    """Screen the structures of files, and write everything into a folder.

    Args:
        predictor: The model.
        files: As `prediction.sweep.find_input_files` returns them.
        folder: Of the output; it exists.
        ranking: One of `columns.RANKINGS`.
        allow_unseen: Take structures with elements that did not occur in the training data, too.
        restart: Discard what an unfinished screening has left, and begin anew.

    Returns:
        The signal that stopped it after a window; None at the end.

    Raises:
        InputError: no structure could be predicted; or the output cannot be written, is in use, or belongs to
            an unfinished screening of other inputs.
    """
    parts = [folder / ROWS, folder / f"{STRUCTURES}.part"]
    nominal = f"{PACKAGE} {version(PACKAGE)}" if is_installed() else "none"
    identity = identity_of(predictor, files, allow_unseen, uncertainty=True)
    identity["options"] += f", screening {LAYOUT}, nominal charges of {nominal}"
    with Journal(folder / JOURNAL, identity, restart or not parts[0].is_file()) as journal:
        work = ScreeningWork(predictor, folder, journal)
        stopped = process_windows(files, work, allow_unseen)
        if stopped is not None:
            return stopped
        if not journal.progress.structures:
            for path in (*parts, folder / JOURNAL):
                path.unlink(missing_ok=True)
            raise _nothing_predicted(journal.progress)
        rows = rank_rows(read_rows(parts[0]), ranking)
        write_table(folder / TABLE, rows)
        write_page(folder / PAGE, rows, ranking)
        said = summarise(rows, ranking, folder)
        parts[1].replace(folder / STRUCTURES)
        parts[0].unlink()
        journal.remove()
    print(said)
    print(f"\nwritten: {folder / TABLE}, {folder / STRUCTURES}, {folder / PAGE}")
    return None


def _input_files(inputs: list[str], folder: Path) -> list[Path]:
    """Find the structure files, without those of the output."""
    files = find_input_files(inputs, folder / STRUCTURES)
    found = [path for path in files if path.resolve().parent != folder.resolve()]
    if not found:
        raise InputError(
            f"{inputs[0]}: no structure files but those in the output folder {folder}; choose another -o"
        )
    return found


def _example_files(folder: Path) -> list[Path]:
    """Write the prototypes, and return the file."""
    path = folder / "prototypes.extxyz"
    if not path.is_file():  # a new time of change would not let it go on
        write_structures(path, list(prototypes()))
    return [path]


def _nothing_predicted(done: Progress) -> InputError:
    """Make the error of a screening in which no structure could be predicted, with the first reason."""
    several = f" (and none of the {done.skipped} structures can be predicted)" if done.skipped > 1 else ""
    return InputError(done.first_reason + several)
