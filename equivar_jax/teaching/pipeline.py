"""The stages of teaching, one after the other; each is kept, and a begun one continues."""

import json
import signal
from pathlib import Path
from typing import Any

from equivar_jax.cache import content_key
from equivar_jax.config.settings import to_dict
from equivar_jax.config.teaching import Teaching
from equivar_jax.ensemble import pays_side_by_side, train_committee, train_or_resume
from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.io import files_that_decide, read_structures, write_structures
from equivar_jax.prediction.loading import load
from equivar_jax.teaching.estimate import estimate_time
from equivar_jax.teaching.frames import Frames, divide_frames, read_frames, write_frames
from equivar_jax.teaching.labels import describe_labels, label_frames
from equivar_jax.teaching.made_frames import make_frames
from equivar_jax.teaching.report import write_report
from equivar_jax.teaching.runs import Places, committee_config, student_config
from equivar_jax.training.run_directory import write_json

MAY_CHANGE = ("train.checkpoint_minutes",)
"""Settings that a teaching may go on with another value of."""


def teach(teaching: Teaching, folder: Path) -> signal.Signals | None:
    """Teach, or go on with a teaching that was begun in a folder.

    Args:
        teaching: All settings.
        folder: Where everything goes.

    Returns:
        The signal that interrupted it (everything is saved), or None if it came to the end.

    Raises:
        InputError: data or settings cannot be used, or are not those that the folder was begun with.
    """
    places = Places(folder)
    frames = _begin(teaching, places)
    _announce(teaching, places, frames)
    how, training = teaching.teach, len(frames.training)
    if not places.labelled.is_file():
        _head(1, f"a committee of {how.members} in the form of a polarisation")
        config = committee_config(teaching, places, training)
        interrupted = train_committee(config, how.members, places.committee, calibrated=how.hold_out)
        if interrupted is not None:
            return interrupted
        _head(2, f"labels for {how.frames:,} made frames")
        _label(teaching, places, frames)
    _head(3, "the fast network")
    taught = len(read_structures(places.labelled))
    interrupted = train_or_resume(student_config(teaching, places, taught), places.student)
    if interrupted is not None:
        return interrupted
    _head(4, "report")
    write_report(teaching, places, frames)
    return None


def _begin(teaching: Teaching, places: Places) -> Frames:
    """Return the frames; write them and the settings into the folder, unless they are there.

    Raises:
        InputError: the data cannot be used, in which case nothing is written; or the folder was begun with
            others or other settings, or holds something else.
    """
    paths = [path for path in (teaching.data.path, teaching.data.validation_path) if path is not None]
    content = content_key(file for path in paths for file in files_that_decide(path))
    settings = {"settings": to_dict(teaching), "data": content}
    if places.settings.is_file():
        _compare(json.loads(places.settings.read_text()), settings, places)
        if (stored := read_frames(places)) is not None:
            return stored
    elif places.root.exists() and (not places.root.is_dir() or any(places.root.iterdir())):
        raise InputError(f"{places.root}: holds something else; choose another --run-dir")
    frames = divide_frames(teaching)
    with input_error_unless_writable(places.root, "--run-dir"):
        places.root.mkdir(parents=True, exist_ok=True)
        write_json(places.settings, settings)
        write_frames(frames, places)
    return frames


def _compare(began: dict[str, Any], goes_on: dict[str, Any], places: Places) -> None:
    before, after = (_flatten(some["settings"]) for some in (began, goes_on))
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name) and name not in MAY_CHANGE:
            raise InputError(
                f"{places.root}: began with --{name} {before.get(name)}, not {after.get(name)}; give the "
                "same to continue, or choose another --run-dir"
            )
    if began["data"] != goes_on["data"]:
        raise InputError(
            f"{places.root}: {after['data.path']} has changed since this was begun; choose another --run-dir"
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested dictionaries as one, with dotted names."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= (
            _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
        )
    return found


def _announce(teaching: Teaching, places: Places, frames: Frames) -> None:
    """Print what is taught from what, and how long it takes."""
    sizes = {len(atoms) for atoms in frames.training}
    atoms = f"{min(sizes)}" if len(sizes) == 1 else f"{min(sizes)} to {max(sizes)}"
    held_out = f"{len(frames.held_out):,} held out" if frames.held_out else "none held out"
    committee = committee_config(teaching, places, len(frames.training))
    less = "; less, since members are trained side by side" if pays_side_by_side(committee) else ""
    lines = {
        "data": str(teaching.data.path),
        "frames": f"{len(frames.training):,} to train on, {held_out}, of {atoms} atoms",
        "folder": str(places.root),
        "time": f"{estimate_time(teaching, places, frames)}{less}",
    }
    print("\n".join(f"{name:>10}  {text}" for name, text in lines.items()), flush=True)
    for remark in frames.remarks:
        print(f"{'note':>10}  {remark}", flush=True)


def _head(number: int, what: str) -> None:
    print(f"\n{number} of 4: {what}", flush=True)


def _label(teaching: Teaching, places: Places, frames: Frames) -> None:
    """Make frames and label them; the file of the labels is the last that is written."""
    how = teaching.teach
    made = make_frames(frames.training, how, teaching.train.seed)
    for remark in made.remarks:
        print(f"{'note':>10}  {remark}", flush=True)
    known = frames.held_out or frames.training
    labelled = label_frames(load(places.committee), made.frames, known, how.agreement)
    write_json(places.counts, labelled.to_dict())
    write_structures(places.labelled, [*frames.training, *labelled.frames])
    print(describe_labels(labelled.to_dict()), flush=True)
