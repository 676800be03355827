"""The frames to teach with: read, checked, divided, and written where all stages find them."""

from collections.abc import Sequence
from typing import NamedTuple

from ase import Atoms

from equivar_jax.config.schema import Config
from equivar_jax.config.teaching import Teaching
from equivar_jax.datasets.load import load_dataset, read_checked
from equivar_jax.errors import InputError
from equivar_jax.hygiene import SET_ASIDE, Finding, write_findings
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import labels_of, source, with_born_effective_charges
from equivar_jax.teaching.displacements import require_periodic
from equivar_jax.teaching.runs import Places

FROM = "frame_of"
"""Key of `atoms.info` for the file and frame that a frame was read from."""
FEWEST = 2
"""Frames that mixing, and calibrating, take."""


class Frames(NamedTuple):
    """Labelled frames of one material."""

    training: list[Atoms]
    held_out: list[Atoms]
    """Empty if every frame is trained on."""
    findings: Sequence[Finding] = ()
    """What hygiene said of the data."""
    remarks: tuple[str, ...] = ()
    """What the user should know of the data and their division."""


def divide_frames(teaching: Teaching) -> Frames:
    """Read the frames, refuse what cannot be taught, and divide them.

    Raises:
        InputError: the data cannot be read, a frame is not periodic or is charged, or there are too few.
    """
    data, hold_out = teaching.data, teaching.teach.hold_out
    if data.validation_path is not None and not hold_out:
        raise InputError(
            "--data.validation_path names frames to hold out, and --teach.hold_out False holds out none; "
            "leave out one of them"
        )
    checked = read_checked(data, data.path)
    divided = hold_out and data.validation_path is None
    check_frames(checked.structures, str(data.path), FEWEST * (1 + divided))
    training, held_out = list(checked.structures), []
    findings, remarks = checked.findings, [checked.warning]
    if hold_out:
        dataset = load_dataset(Config(data=data, model=teaching.model))
        training, held_out = list(dataset.training.structures), list(dataset.validation.structures)
        findings, remarks = dataset.findings, [*dataset.remarks]
        check_frames(training, f"{data.path}, to train on", FEWEST)
        check_frames(held_out, "the frames held out", FEWEST)
    if checked.unlabelled:
        remarks.append(f"skipped: {checked.unlabelled:,} without Born effective charges")
    if refused := sum(finding.refused for finding in findings):
        remarks.append(f"set aside: {refused:,} by hygiene; see frames/{SET_ASIDE}")
    remarks = [remark for remark in remarks if remark]
    return Frames([*map(_bare, training)], [*map(_bare, held_out)], findings, tuple(remarks))


def write_frames(frames: Frames, places: Places) -> None:
    """Write the frames where all stages find them; those to train on are complete if all is."""
    places.training.parent.mkdir(parents=True, exist_ok=True)
    write_findings(places.training.with_name(SET_ASIDE), frames.findings)
    if frames.held_out:
        write_structures(places.held_out, frames.held_out)
    write_structures(places.training, frames.training)


def read_frames(places: Places) -> Frames | None:
    """Read what `write_frames` wrote; None if it did not come to its end."""
    if not places.training.is_file():
        return None
    held_out = read_structures(places.held_out) if places.held_out.is_file() else []
    return Frames(read_structures(places.training), held_out)


def check_frames(frames: Sequence[Atoms], where: str, fewest: int) -> None:
    """Refuse frames that cannot be taught.

    Args:
        frames: Labelled frames.
        where: Where they are from, for the message.
        fewest: How many there must be.

    Raises:
        InputError: there are too few, or one is not periodic, or charged.
    """
    if len(frames) < fewest:
        raise InputError(
            f"{where}: {len(frames)} labelled frame{'s' * (len(frames) != 1)}, but teaching takes {FEWEST} "
            f"to train on (mixing needs two) and {FEWEST} to hold out; give more frames, another "
            "--data.validation_fraction, or --teach.hold_out False"
        )
    require_periodic(frames)
    for atoms in frames:
        if charge := float(atoms.info.get("charge", 0.0)):
            raise InputError(
                f"{source(atoms)}: a net charge of {charge:g} e; made frames have no charge, and the "
                "polarisation of a charged crystal depends on the origin; give neutral cells, or train with "
                "equivar train"
            )


def _bare(atoms: Atoms) -> Atoms:
    """Return a frame with its label, without what else the file has."""
    bare = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, info={FROM: source(atoms)})
    return with_born_effective_charges(bare, labels_of(atoms))
