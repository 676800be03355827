"""Committees from nothing: train members that differ in their seed, join them, calibrate their spread.

On several cores of a CPU, members whose training takes minutes are trained side by side, in a process each:
`python -m equivar_jax.ensemble FOLDER NUMBER` trains one of those that FOLDER says.
"""

import dataclasses
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from ase import Atoms

from equivar_jax.config.old_settings import read_config
from equivar_jax.config.schema import Config, DataConfig, check_config
from equivar_jax.config.settings import to_dict
from equivar_jax.datasets.load import load_dataset, load_structures
from equivar_jax.errors import InputError, input_error_unless_writable, plain_messages
from equivar_jax.io.files import write_whole
from equivar_jax.parallel import available_cores
from equivar_jax.prediction.committee import (
    FEWEST,
    calibrate_committee,
    check_split,
    join_members,
    keep_known_elements,
)
from equivar_jax.prediction.loading import load
from equivar_jax.processes import Command, end_with_parent, run_side_by_side
from equivar_jax.progress import ProgressBar, announce_if_slow
from equivar_jax.reports.committee_report import committee_table, write_committee, write_uncalibrated
from equivar_jax.reports.run_text import announce_run, report_run
from equivar_jax.runtime import use_compilation_cache
from equivar_jax.training.loop import run_training
from equivar_jax.training.run import has_state, start_run
from equivar_jax.training.run_directory import missing_closing_files, read_records, write_json
from equivar_jax.uncertainty.domain import domain_of
from equivar_jax.weights.checkpoint import read_checkpoint

MEMBERS = "members.json"
"""File of the folder of a committee that says how many members are trained, and with which settings."""
SHORTEST = 300_000
"""Atoms times epochs of a training from which a process of its own pays, which takes some 10 s to begin."""
_README = """\
# A committee of equivar_jax

| file | what |
|---|---|
| `members.json` | how many members, and every setting; `train.seed` rises by one from member to member |
| `member-0` ... `member-{last}` | the runs |
| `member-0.log` ... | what the training of a member printed, if they were trained side by side |
| `checkpoints/best` | the committee: their mean is the prediction, their calibrated spread its uncertainty |
| `calibration.json`, `calibration.png` | how good the uncertainty is |

    equivar predict --checkpoint {folder} structure.cif --uncertainty -o tensors.csv
    equivar train --resume {folder}

Tensors are Born effective charges in e, index order [atom, electric field, displacement].
"""


def join_runs(
    runs: Sequence[str], folder: Path, data: DataConfig | None = None, *, calibrated: bool = True
) -> None:
    """Join runs into a committee, write it, and print how good it is.

    Args:
        runs: Run directories of the members.
        folder: Where the committee goes.
        data: Labelled structures that are new to all members, to calibrate on; None takes the validation part
            of the runs.
        calibrated: False leaves the spread of the members as it is, where there is nothing that is new to
            them: such a committee has no uncertainty.

    Raises:
        InputError: the runs do not belong together, or there is too little to calibrate on.
    """
    members = [load(run) for run in runs]
    committee = join_members(members, runs)
    configs = [member.metadata.config for member in members]
    if data is None:
        check_split(runs[0], runs[1:], configs)
    dataset = load_dataset(configs[0])
    domain = domain_of(dataset.training, committee.config.cutoff)
    if not calibrated:
        write_uncalibrated(committee, domain, folder)
        print(f"{committee.members} members, not calibrated\nwritten: {folder}")
        return
    structures: Sequence[Atoms] = dataset.validation.structures
    if data is not None:
        structures = load_structures(data, data.path)
    usable = keep_known_elements(structures, committee.metadata.elements)
    result = calibrate_committee(committee, usable, domain)
    write_committee(result, folder)
    print(committee_table(result, members, len(usable), len(structures) - len(usable)))
    print(f"written: {folder}, {folder / 'calibration.png'}")


def train_committee(
    config: Config, members: int, folder: Path, *, calibrated: bool = True
) -> signal.Signals | None:
    """Train the members that are not finished yet, then join them.

    Args:
        config: The settings; `train.seed` is that of the first member and rises by one.
        members: Their number.
        folder: Folder for the committee and the runs of its members; finished and unfinished ones are used.
        calibrated: See `join_runs`.

    Returns:
        The signal that interrupted the training (everything is saved), or None if it came to the end.

    Raises:
        InputError: data or settings cannot be used, or there is too little to calibrate on.
    """
    if members < 2:
        raise InputError(f"--members {members}: a committee needs two members or more")
    if calibrated:
        _check_validation(config)
    with input_error_unless_writable(folder, "--run-dir"):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / "README.md", _README.format(folder=folder, last=members - 1))
        write_json(folder / MEMBERS, {"members": members, "config": to_dict(config)})
    runs = [folder / f"member-{number}" for number in range(members)]
    left = [number for number, run in enumerate(runs) if not is_finished(run, config)]
    if len(left) > 1 and pays_side_by_side(config):
        interrupted = _train_side_by_side(config, folder, left)
        if interrupted is not None:
            return interrupted
    for number, run in enumerate(runs):
        print(f"\nmember {number} ({number + 1} of {members})", flush=True)
        interrupted = train_or_resume(_config_of_member(config, number), run)
        if interrupted is not None:
            return interrupted
    print()
    join_runs([str(run) for run in runs], folder, calibrated=calibrated)
    return None


def _check_validation(config: Config) -> None:
    """Refuse a division that leaves too little to calibrate on, before anything is trained.

    Raises:
        InputError: says how many structures there are, and which setting changes it.
    """
    with announce_if_slow("reading the data"):
        held_out = len(load_dataset(config).validation)
    if held_out < FEWEST:
        source = config.data.validation_path or config.data.path or "demonstration set"
        raise InputError(
            f"{source}: {held_out} structure to validate on, but a committee's uncertainty is "
            f"calibrated with {FEWEST} or more; give more structures, or more --data.validation_fraction"
        )


def train_or_resume(config: Config, folder: Path) -> signal.Signals | None:
    """Train one network, resuming a run that was begun; do nothing if it is finished.

    Returns:
        The signal that interrupted the training (everything is saved), or None if it came to the end.
    """
    if is_finished(folder, config):
        print(f"is finished: {folder}")
        return None
    run = start_run(config, folder, resume=has_state(folder))
    announce_run(run)
    return run_training(run) or report_run(run)


def is_finished(folder: Path, config: Config) -> bool:
    """Return whether a run has done all epochs of a config, and its closing evaluation."""
    if not has_state(folder) or missing_closing_files(folder):
        return False
    return read_checkpoint(folder, "last")[1].epoch >= config.train.epochs


def _config_of_member(config: Config, number: int) -> Config:
    seed = config.train.seed + number
    return dataclasses.replace(config, train=dataclasses.replace(config.train, seed=seed))


def pays_side_by_side(config: Config) -> bool:
    """Return whether members are trained sooner side by side.

    Raises:
        InputError: their data cannot be used.
    """
    if available_cores() < 2 or jax.default_backend() != "cpu":
        return False
    with announce_if_slow("reading the data"):
        atoms = int(load_dataset(config).statistics["atoms"])
    return atoms * config.train.epochs >= SHORTEST


def _train_side_by_side(config: Config, folder: Path, left: Sequence[int]) -> signal.Signals | None:
    """Train members in processes of their own; show how many epochs all have done."""
    runs = [folder / f"member-{number}" for number in left]
    words = [sys.executable, "-m", "equivar_jax.ensemble", str(folder)]
    commands = [
        Command(f"member {number}", [*words, str(number)], folder / f"member-{number}.log") for number in left
    ]
    together = min(len(left), available_cores())
    print(f"\n{len(left)} members, {together} side by side; see {folder}/member-*.log", flush=True)
    with ProgressBar(
        total=config.train.epochs * len(left), unit="epoch", desc="epochs of all members"
    ) as bar:

        def look() -> None:
            records = [read_records(run) for run in runs]
            bar.update(sum(map(len, records)) - bar.n)
            errors = (f"{some[-1]['validation_mae']:.4f}" if some else "-" for some in records)
            bar.set_postfix_str(f"validation MAE {', '.join(errors)} e")

        interrupted = run_side_by_side(commands, look)
    if interrupted is not None:
        print(f"{interrupted.name}: saved; continue with --resume {folder}", file=sys.stderr)
    return interrupted


def stored_committee(folder: Path) -> tuple[Config, int] | None:
    """Read the settings and the number of members of a committee whose training was begun in a folder.

    Returns:
        Settings and number of members; None if the folder is that of a single run.

    Raises:
        InputError: the file that holds them is damaged.
    """
    path = folder / MEMBERS
    if not path.is_file():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        config, members = read_config(stored["config"], str(path)), int(stored["members"])
    except InputError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InputError(
            f"{path}: not the settings of a committee ({type(error).__name__}: {error}); restore the file, "
            "or start anew"
        ) from None
    check_config(config)
    return config, members


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the member of a committee that a process was begun for."""
    name, number = sys.argv[1:] if arguments is None else arguments
    folder = Path(name)
    end_with_parent()
    use_compilation_cache()
    with plain_messages():
        if (stored := stored_committee(folder)) is None:
            raise InputError(f"{folder}: has no {MEMBERS}; begin with equivar train --members N")
        config = _config_of_member(stored[0], int(number))
        interrupted = train_or_resume(config, folder / f"member-{number}")
    if interrupted is not None:
        raise SystemExit(128 + interrupted)


if __name__ == "__main__":
    main()
