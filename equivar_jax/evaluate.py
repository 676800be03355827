"""How good a model is: `python -m equivar_jax.evaluate --checkpoint RUN --data FILE`."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.calibration import BY_SYMMETRY, Residuals, covered
from equivar_jax.cli import OptionParser
from equivar_jax.config import DataConfig, FirstIndex
from equivar_jax.data import load_dataset, load_structures
from equivar_jax.dielectric import dielectric_tensors
from equivar_jax.dielectric_errors import DielectricSummary, dielectric_errors
from equivar_jax.errors import InputError, exit_on_input_error, input_error_unless_writable
from equivar_jax.loading import load
from equivar_jax.members import Prediction
from equivar_jax.metrics import Metrics, Report, charge_drift
from equivar_jax.plots import plot_parity
from equivar_jax.predictor import Predictor
from equivar_jax.runtime import enable_compilation_cache
from equivar_jax.structures import born_effective_charges, epsilon_inf, source
from equivar_jax.weights import NAME


def evaluate_model(
    predictor: Predictor,
    structures: Sequence[Atoms],
    *,
    allow_unseen: bool = False,
    parity_plot: Path | None = None,
    title: str = "",
    progress: bool = False,
) -> Report:
    """Errors of a model on labelled structures, after the sum rule; the charge drift is that before it.

    Args:
        predictor: The model.
        structures: Each with Born effective charges, [atom, field, displacement] in e.
        allow_unseen: Only warn about elements that the training data did not have.
        parity_plot: Where to draw predicted against reference components, if anywhere.
        title: Of the plot.
        progress: Show a bar.

    Raises:
        InputError: no structures, one without a label, or one that the model cannot take.
    """
    if not structures:
        raise InputError("no structures to evaluate; give some with Born effective charges")
    labels = [label_of(atoms) for atoms in structures]
    found = predictor.predictions(structures, allow_unseen=allow_unseen, progress=progress)
    numbers = np.concatenate([atoms.numbers for atoms in structures])
    predicted = np.concatenate([prediction.tensors for prediction in found])
    reference = np.concatenate(labels)
    sizes = np.array([len(atoms) for atoms in structures])
    charges = np.array([float(atoms.info.get("charge", 0.0)) for atoms in structures])
    metrics = Metrics()
    metrics.update(numbers, predicted, reference)
    metrics.update_drift(charge_drift(np.concatenate([p.raw for p in found]), sizes, charges), sizes)
    if parity_plot is not None:
        plot_parity(numbers, predicted, reference, parity_plot, title)
    calibration = predictor.metadata.calibration
    return dataclasses.replace(
        metrics.report(),
        dielectric=_dielectric_summary(predictor, structures),
        uncertainty=None if calibration is None else covered(residuals_of(found, labels), calibration),
    )


def _dielectric_summary(predictor: Predictor, structures: Sequence[Atoms]) -> DielectricSummary | None:
    """Errors of the electronic dielectric tensor, if the network has that readout and there are labels."""
    if not predictor.model.config.dielectric:
        return None
    labels = [_epsilon_if_usable(atoms) for atoms in structures]
    chosen = [k for k, label in enumerate(labels) if label is not None]
    if not chosen:
        return None
    predicted = dielectric_tensors(predictor, [structures[k] for k in chosen])
    reference = np.array([labels[k] for k in chosen])
    return dielectric_errors(predicted, reference, np.ones(len(chosen), bool)).summary()


def _epsilon_if_usable(atoms: Atoms) -> Float[np.ndarray, "3 3"] | None:
    """The label, or None if there is none or a broken one, as in training."""
    try:
        return epsilon_inf(atoms)
    except InputError:
        return None


def residuals_of(found: Sequence[Prediction], labels: Sequence[Float[np.ndarray, "_atoms 3 3"]]) -> Residuals:
    """From what a committee predicts for structures, and their labels."""
    tensors = np.concatenate([prediction.tensors for prediction in found])
    spread = np.concatenate([prediction.spread for prediction in found if prediction.spread is not None])
    return Residuals(
        errors=tensors - np.concatenate(labels),
        spread=spread,
        counted=(spread > BY_SYMMETRY) | (np.abs(tensors) > BY_SYMMETRY),
        structure=np.repeat(np.arange(len(found)), [len(prediction.tensors) for prediction in found]),
    )


def label_of(atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
    """The Born effective charges that a structure must have.

    Raises:
        InputError: it has none.
    """
    tensors = born_effective_charges(atoms)
    if tensors is None:
        raise InputError(f"{source(atoms)}: no Born effective charges to compare with; remove it")
    return tensors


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table; write JSON and the parity plot."""
    parser = OptionParser(prog="python -m equivar_jax.evaluate", description=__doc__)
    parser.add_argument(
        "--checkpoint", help="run directory of the trained model; default: the weights of the package"
    )
    parser.add_argument("--data", help="file with Born effective charges; default: the run's validation part")
    parser.add_argument("--key", help="column of the tensors, if it has an unusual name")
    parser.add_argument(
        "--first-index",
        choices=get_args(FirstIndex),
        help="what the first index of a stored tensor is, where the format leaves it open",
    )
    parser.add_argument("--output", help="folder for evaluation.json and parity.png; default: RUN/evaluation")
    parser.add_argument(
        "--allow-unseen", action="store_true", help="only warn about elements never trained on"
    )
    with exit_on_input_error():
        options = parser.parse_args(arguments)
        enable_compilation_cache()
        is_shipped = options.checkpoint in (None, NAME)
        if is_shipped and not options.data:
            raise InputError("the weights of the package bring no data; give --data FILE with labels")
        predictor = load(options.checkpoint)
        if options.data:
            structures = load_structures(
                DataConfig(key=options.key, first_index=options.first_index), options.data
            )
        else:
            structures = load_dataset(predictor.metadata.config).validation.structures
        folder = Path(options.output or Path("" if is_shipped else options.checkpoint) / "evaluation")
        with input_error_unless_writable(folder, "--output"):
            folder.mkdir(parents=True, exist_ok=True)
        report = evaluate_model(
            predictor,
            structures,
            allow_unseen=options.allow_unseen,
            parity_plot=folder / "parity.png",
            title=Path(options.data).name if options.data else "Validation part of the run",
            progress=True,
        )
        print(report.table())
        written = {"checkpoint": options.checkpoint or NAME, "data": options.data, **report.to_dict()}
        with input_error_unless_writable(folder, "--output"):
            (folder / "evaluation.json").write_text(json.dumps(written, indent=2) + "\n")
        print(f"written: {folder / 'evaluation.json'}, {folder / 'parity.png'}")


if __name__ == "__main__":
    main()
