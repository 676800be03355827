"""Report on a calibrated committee: its checkpoint, a table, numbers and a picture."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from equivar_jax.errors import input_error_unless_writable
from equivar_jax.network.model import count_parameters
from equivar_jax.prediction.committee import Committee
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.calibration_picture import plot_calibration
from equivar_jax.uncertainty.domain import FEW_STRUCTURES, Domain
from equivar_jax.weights.checkpoint import CheckpointWriter


def write_committee(committee: Committee, folder: Path) -> None:
    """Write the checkpoint of a committee, `calibration.png` and `calibration.json`.

    Raises:
        InputError: the folder cannot be written to.
    """
    with input_error_unless_writable(folder, "-o"):
        _write_checkpoint(committee.predictor, folder)
        numbers = {"mae": committee.mae, **dataclasses.asdict(committee.predictor.calibration)}
        if (dielectric := committee.predictor.metadata.dielectric_calibration) is not None:
            numbers["dielectric"] = dataclasses.asdict(dielectric)
        (folder / "calibration.json").write_text(json.dumps(numbers, indent=2) + "\n")
    plot_calibration(committee.residuals, committee.predictor.calibration, folder / "calibration.png")


def write_uncalibrated(committee: Predictor, domain: Domain, folder: Path) -> None:
    """Write the checkpoint of a committee that was not calibrated, with the domain of its training data.

    Raises:
        InputError: the folder cannot be written to.
    """
    metadata = dataclasses.replace(committee.metadata, domain=domain)
    with input_error_unless_writable(folder, "-o"):
        _write_checkpoint(dataclasses.replace(committee, metadata=metadata), folder)


def _write_checkpoint(predictor: Predictor, folder: Path) -> None:
    writer = CheckpointWriter(folder, "best")
    writer.save({"params": predictor.weights}, predictor.metadata)
    writer.close()


def committee_table(
    committee: Committee, members: Sequence[Predictor], structures: int, left_out: int
) -> str:
    """Describe a committee: size, errors of mean and members, coverage of its uncertainty, its domain."""
    predictor, residuals = committee.predictor, committee.residuals
    alone = ", ".join(
        "-" if member.metadata.validation_mae is None else f"{member.metadata.validation_mae:.4f}"
        for member in members
    )
    zero = residuals.counted.size - int(residuals.counted.sum())
    lines = [
        f"{predictor.members} members of {count_parameters(members[0].weights):,} parameters",
        f"calibrated on {structures:,} structures, {len(residuals.errors):,} atoms"
        + f"; {left_out} structures of unseen elements left out" * (left_out > 0)
        + f"; {zero:,} components that are zero by symmetry left out" * (zero > 0),
        f"MAE {committee.mae:.4f} e; in training, the members alone: {alone} e",
        committee.predictor.calibration.table(),
    ]
    if (dielectric := predictor.metadata.dielectric_calibration) is not None:
        lines += ["electronic dielectric tensors:", dielectric.table("", "crystal")]
    if (domain := predictor.metadata.domain) is not None:
        rare = [f"{symbol} ({n})" for symbol, n in domain.structures.items() if n < FEW_STRUCTURES]
        lines.append(
            f"domain: {len(domain.structures)} elements, {len(domain.shortest)} pairs of neighbours, sigma "
            f"of an atom up to {domain.largest_sigma:.3g} e"
            + f"; in fewer than {FEW_STRUCTURES} structures: {', '.join(rare)}"
            * bool(rare)
        )
    return "\n".join(lines)
