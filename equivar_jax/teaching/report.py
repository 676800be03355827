"""How good committee and fast network are on held-out frames, and what is in the folder."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.config.teaching import Teaching
from equivar_jax.io.files import write_whole
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.members import residuals_of
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.reports.metrics import summarise_errors
from equivar_jax.reports.plots import plot_parity
from equivar_jax.structures import labels_of
from equivar_jax.teaching.frames import Frames
from equivar_jax.teaching.labels import describe_labels
from equivar_jax.teaching.runs import Places
from equivar_jax.training.run_directory import write_json
from equivar_jax.uncertainty.calibration import summarise_coverage
from equivar_jax.uncertainty.domain import without_domain_warnings
from equivar_jax.weights.checkpoint import CheckpointWriter

TAIL = 0.99
"""Share of atoms that the tail of errors leaves out."""
_README = """\
# A teaching of equivar_jax

| file | what |
|---|---|
| `checkpoints/best` | the fast network, taught by the committee: this folder can be used like a run |
| `committee` | the committee in the form of a polarisation{uncertainty} |
| `committee/member-0` ... `member-{last}` | the runs of its members |
| `report.json`{parity} | errors of both on the frames held out; how many labels were kept |
| `frames` | what is trained on and held out; `labelled.extxyz`: trained on and made, with labels |
| `student` | the run of the fast network |
| `teach.json`, `speed.json` | every setting; seconds of a training step |

    equivar predict --checkpoint {folder} structure.cif -o tensors.csv
    equivar predict --checkpoint {folder}/committee structure.cif {option}-o tensors.csv

The first is fast; the second {second}.
Tensors are Born effective charges in e, index order [atom, electric field, displacement].

{result}
"""


def write_report(teaching: Teaching, places: Places, frames: Frames) -> None:
    """Put the fast network into the folder; measure, print and write errors; write the README."""
    committee, student = load(places.committee), load(places.student)
    writer = CheckpointWriter(places.root, "best")
    writer.save({"params": student.weights}, student.metadata)
    writer.close()
    labels = json.loads(places.counts.read_text())
    report: dict[str, Any] = {
        "frames": {"training": len(frames.training), "held_out": len(frames.held_out)},
        "labels": labels,
        "committee": str(places.committee),
    }
    if frames.held_out:
        report |= measure_errors(committee, student, frames.held_out)
        _plot(student, frames.held_out, places)
        result = error_table(report)
    else:
        result = "No frame was held out, so that there are no errors to report, nor a calibrated uncertainty."
    write_json(places.root / "report.json", report)
    calibrated = bool(frames.held_out)
    text = _README.format(
        folder=places.root,
        last=teaching.teach.members - 1,
        result="\n".join(f"    {line}" for line in result.splitlines()) if calibrated else result,
        parity=", `parity.png`" * calibrated,
        uncertainty=", whose uncertainty is calibrated" if calibrated else ", not calibrated",
        option="--uncertainty " * calibrated,
        second="has standard deviations, too" if calibrated else "is more accurate",
    )
    write_whole(places.root / "README.md", text)
    print(f"{describe_labels(labels)}\n\n{result}\n")
    print(f"fast network: {places.root}\ncommittee: {places.committee}")


def measure_errors(committee: Predictor, student: Predictor, held_out: Sequence[Atoms]) -> dict[str, Any]:
    """Measure errors in e of the committee, its members and the student on held-out frames.

    "uncertainty" says how well sigma, the standard deviation by the committee, describes the errors of the
    student, which it was not fitted to.
    """
    with without_domain_warnings():  # these frames say what is usual
        found = committee.predictions(held_out)
        tensors = student.predict(held_out)
        alone = [committee.member(number).predict(held_out) for number in range(committee.members)]
    labels = [labels_of(atoms) for atoms in held_out]
    errors = np.concatenate(tensors) - np.concatenate(labels)
    coverage = None
    if committee.metadata.calibration is not None:
        residuals = residuals_of(found, labels, [atoms.numbers for atoms in held_out])
        residuals = residuals._replace(errors=errors)
        coverage = summarise_coverage(residuals, committee.calibration)
    return {
        "errors": {
            "committee": errors_of([prediction.tensors for prediction in found], held_out),
            **{f"member {number}": errors_of(each, held_out) for number, each in enumerate(alone)},
            "student": errors_of(tensors, held_out),
        },
        "uncertainty": None if coverage is None else {**coverage.__dict__, "text": str(coverage)},
    }


def errors_of(
    tensors: Sequence[Float[np.ndarray, "_atoms 3 3"]], structures: Sequence[Atoms]
) -> dict[str, float]:
    """Return mean errors of the components, and the tail of the errors of atoms, in e.

    The error of an atom is the root mean square over its components.
    """
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    predicted = np.concatenate(tensors)
    labels = np.concatenate([labels_of(atoms) for atoms in structures])
    overall = summarise_errors(numbers, predicted, labels).overall
    of_atoms = np.sqrt(np.square(predicted - labels).mean(axis=(1, 2)))
    return {
        "mae": overall.mae,
        "rmse": overall.rmse,
        "atoms_99": float(np.quantile(of_atoms, TAIL)),
        "atoms_largest": float(of_atoms.max()),
    }


def error_table(report: dict[str, Any]) -> str:
    """Format the errors as text."""
    columns = ("mae", "rmse", "atoms_99", "atoms_largest")
    lines = [["", "MAE", "RMSE", "99 % of atoms", "worst atom"]]
    for name, errors in report["errors"].items():
        lines.append([name, *(f"{errors[column]:.4f}" for column in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    text = ["  ".join(map(str.rjust, line, widths)).rstrip() for line in lines]
    text.append(
        f"Errors in e on {report['frames']['held_out']:,} held-out frames; of an atom: root mean square."
    )
    if report["uncertainty"] is not None:
        text.append(f"Errors of the student and sigma of the committee. {report['uncertainty']['text']}")
    return "\n".join(text)


def _plot(student: Predictor, held_out: Sequence[Atoms], places: Places) -> None:
    with without_domain_warnings():
        predicted = np.concatenate(student.predict(held_out))
    reference = np.concatenate([labels_of(atoms) for atoms in held_out])
    numbers = np.concatenate([atoms.numbers for atoms in held_out])
    plot_parity(numbers, predicted, reference, places.root / "parity.png", "Held-out frames")
