"""Cross-validation: train and validate one network after the other, each without one part of the data."""

import dataclasses
import json
import signal
from pathlib import Path

from ase.data import chemical_symbols

from equivar_jax.config.old_settings import read_config
from equivar_jax.config.schema import Config, check_config
from equivar_jax.config.settings import to_dict
from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.io.files import write_whole
from equivar_jax.reports.fold_report import CrossValidation, plot_cross_validation, read_evaluation_report
from equivar_jax.reports.run_text import announce_run, report_run
from equivar_jax.training.loop import run_training
from equivar_jax.training.run import has_state, start_run
from equivar_jax.training.run_directory import write_json
from equivar_jax.weights.checkpoint import read_checkpoint

__all__ = ["cross_validate", "fold_folder", "stored_config", "write_result"]

_README = """\
# A cross-validation of equivar_jax

| file | what |
|---|---|
| `config.json` | every setting; `data.fold` is the number of the folder |
| `fold-0` ... `fold-{last}` | the runs, each trained without its fold and validated on it |
| `cross_validation.json` | errors over all atoms, mean and spread over the folds, and of each fold |
| `cross_validation.png` | MAE of each element, diagonal and off-diagonal, with the spread over the folds |

    equivar cross-validate --resume {folder}

Tensors are Born effective charges in e, index order [atom, electric field, displacement].
"""


def cross_validate(config: Config, folder: Path) -> CrossValidation | signal.Signals:
    """Train and validate the folds that are not finished yet.

    Args:
        config: The settings, with `data.folds`; `data.fold` is set here for each fold.
        folder: Folder for the runs of all folds; finished and unfinished ones in it are used.

    Returns:
        The errors of all folds, or the signal that interrupted the training (everything is saved).

    Raises:
        InputError: data or settings cannot be used, or the loss is no longer finite.
    """
    folds = config.data.folds
    if folds is None:
        raise InputError("cross-validation needs a number of folds; give --folds")
    for fold in range(folds):
        if not (fold_folder(folder, fold) / "validation.json").exists():
            print(f"\nfold {fold} ({fold + 1} of {folds})", flush=True)
            interrupted = _validate_fold(config, folder, fold)
            if interrupted is not None:
                return interrupted
    reports = [read_evaluation_report(fold_folder(folder, fold) / "validation.json") for fold in range(folds)]
    unseen = []
    for fold, found in enumerate(reports):
        _, metadata = read_checkpoint(fold_folder(folder, fold))
        trained = {chemical_symbols[number] for number in metadata.elements}
        unseen.append(tuple(symbol for symbol in found.elements if symbol not in trained))
    return CrossValidation(tuple(reports), tuple(unseen))


def fold_folder(folder: Path, fold: int) -> Path:
    """Return the folder of the run of a fold."""
    return folder / f"fold-{fold}"


def _validate_fold(config: Config, folder: Path, fold: int) -> signal.Signals | None:
    """Train without one fold, resuming a run that was begun, and validate on that fold.

    Returns:
        The signal that interrupted the training, or None if it came to the end.
    """
    run_folder = fold_folder(folder, fold)
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, fold=fold))
    run = start_run(config, run_folder, resume=has_state(run_folder))
    _describe(config, folder)
    announce_run(run)
    return run_training(run) or report_run(run)


def _describe(config: Config, folder: Path) -> None:
    """Write the README and the config of the whole cross-validation."""
    shared = dataclasses.replace(config, data=dataclasses.replace(config.data, fold=0))
    with input_error_unless_writable(folder, "--run-dir"):
        last = (config.data.folds or 1) - 1
        write_whole(folder / "README.md", _README.format(folder=folder, last=last))
        write_json(folder / "config.json", to_dict(shared))


def stored_config(folder: Path) -> Config:
    """Read the config of a cross-validation that was begun in a folder."""
    path = folder / "config.json"
    try:
        config = read_config(json.loads(path.read_text(encoding="utf-8")), str(path))
    except InputError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: not the settings of a cross-validation ({type(error).__name__}: {error}); "
            "give the folder of one to --resume, or start anew"
        ) from None
    check_config(config)
    if config.data.folds is None or (folder / "checkpoints").exists():
        raise InputError(f"{folder}: not a cross-validation; give the folder of one to --resume")
    return config


def write_result(result: CrossValidation, folder: Path) -> None:
    """Print the table; write JSON and picture."""
    print(f"\n{result.table()}")
    with input_error_unless_writable(folder, "--run-dir"):
        write_json(folder / "cross_validation.json", result.to_dict())
    plot_cross_validation(result, folder / "cross_validation.png")
    print(f"everything is in {folder}")
