"""Join networks into a committee that knows how sure it is: `python -m equivar_jax.committee RUN RUN ...`.

The members are runs of one config on one division of the data with different `--train.seed`. Their mean is
predicted, their spread is calibrated on data they have not seen, and what they were trained on is kept for
warnings; `FOLDER` is then a checkpoint like any other.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import jax
import numpy as np
from ase import Atoms

from equivar_jax.calibration import Calibration, Residuals, calibrate
from equivar_jax.calibration_picture import plot_calibration
from equivar_jax.checkpoint import CheckpointWriter
from equivar_jax.cli import OptionParser
from equivar_jax.config import DataConfig, FirstIndex
from equivar_jax.datasets.load import Dataset, load_dataset, load_structures
from equivar_jax.domain import FEW_STRUCTURES, Domain, domain_of
from equivar_jax.errors import InputError, exit_on_input_error, input_error_unless_writable
from equivar_jax.loading import load
from equivar_jax.members import residuals_of
from equivar_jax.model import count_parameters
from equivar_jax.predictor import Predictor
from equivar_jax.runtime import enable_compilation_cache
from equivar_jax.settings import to_dict
from equivar_jax.stacking import stack_weights
from equivar_jax.structures import labels_of

_SEEDS = "train each with the same config and data, and another --train.seed"


class Committee(NamedTuple):
    """A calibrated committee and how that went."""

    predictor: Predictor
    residuals: Residuals
    mae: float
    """Of the mean on the calibration data, in e."""


def joined(members: Sequence[Predictor], names: Sequence[str]) -> Predictor:
    """The members as one predictor, not calibrated.

    Args:
        members: Single networks of the same shape that know the same elements.
        names: Of these, for messages.

    Raises:
        InputError: they do not belong together.
    """
    if len(members) < 2:
        raise InputError(f"a committee needs two members or more; {_SEEDS}")
    first, where = members[0], names[0]
    for member, name in zip(members, names, strict=True):
        if member.members > 1:
            raise InputError(f"{name}: a committee already; name the runs of its members")
        # Kernels all give the same numbers.
        ours, theirs = ({**to_dict(one.model.config), "kernel": ""} for one in (first, member))
        for setting, value in theirs.items():
            if value != ours[setting]:
                raise InputError(
                    f"{name}: --model.{setting} is {value}, that of {where} {ours[setting]}; {_SEEDS}"
                )
        if member.metadata.elements != first.metadata.elements:
            raise InputError(f"{name}: trained on other elements than {where}; {_SEEDS}")
    leaves = [jax.tree.leaves(member.weights) for member in members]
    for k in range(len(members)):
        for other in range(k):
            if all(map(np.array_equal, leaves[k], leaves[other])):
                raise InputError(f"{names[k]}: the same weights as {names[other]}; {_SEEDS}")
    metadata = dataclasses.replace(
        first.metadata,
        members=len(members),
        validation_mae=None,
        best_validation_mae=None,
        calibration=None,
        domain=None,
    )
    weights = jax.tree.map(jax.numpy.asarray, stack_weights([member.weights for member in members]))
    return Predictor(first.model, weights, metadata)


def calibrated(committee: Predictor, structures: Sequence[Atoms], domain: Domain | None = None) -> Committee:
    """A committee that knows how sure it is.

    Args:
        committee: See `joined`.
        structures: Labelled, that no member was trained on.
        domain: Of the training data; the range of uncertainties is added to it.

    Raises:
        InputError: fewer than two structures with labels, or one that cannot be used.
    """
    labels = [labels_of(atoms) for atoms in structures]
    if len(structures) < 2:
        raise InputError(
            f"{len(structures)} structures to calibrate with; give some hundred, or two at least"
        )
    found = committee.predictions(structures, progress=True)
    residuals = residuals_of(found, labels)
    calibration = calibrate(residuals)
    if domain is not None:
        of_atom = calibration.sigma(residuals.spread).mean(axis=(1, 2))
        domain = dataclasses.replace(domain, largest_sigma=float(np.quantile(of_atom, 0.99)))
    mae = float(np.abs(residuals.errors).mean())
    metadata = dataclasses.replace(
        committee.metadata, validation_mae=mae, calibration=calibration, domain=domain
    )
    return Committee(dataclasses.replace(committee, metadata=metadata), residuals, mae)


def write_committee(committee: Committee, folder: Path) -> None:
    """The checkpoint, `calibration.png` and `calibration.json`.

    Raises:
        InputError: the folder cannot be written to.
    """
    metadata = committee.predictor.metadata
    with input_error_unless_writable(folder, "-o"):
        writer = CheckpointWriter(folder, "best")
        writer.save({"params": committee.predictor.weights}, metadata)
        writer.close()
        numbers = {"mae": committee.mae, **dataclasses.asdict(_calibration_of(committee))}
        (folder / "calibration.json").write_text(json.dumps(numbers, indent=2) + "\n")
    plot_calibration(committee.residuals, _calibration_of(committee), folder / "calibration.png")


def check_split(first: str, others: Sequence[str], configs: Sequence[Any]) -> None:
    """Refuse members that were not trained on the same structures.

    Raises:
        InputError: names the first that was trained on others.
    """
    splits = [_split_of(Path(name)) for name in (first, *others)]
    for name, split, config in zip(others, splits[1:], configs[1:], strict=True):
        if split != splits[0] if split and splits[0] else config.data != configs[0].data:
            raise InputError(
                f"{name}: trained on another division of the data than {first}, so neither validation part "
                f"is new to both; {_SEEDS}, or give --data FILE that is new to all"
            )


def _split_of(run: Path) -> dict[str, list[str]] | None:
    """Names of the structures in each part, or None where the run does not say."""
    path = run / "split.json"
    if not path.is_file():
        return None
    return {part: sorted(names) for part, names in json.loads(path.read_text()).items()}


def _calibration_of(committee: Committee) -> Calibration:
    return committee.predictor.calibration


def of_known_elements(structures: Sequence[Atoms], elements: Sequence[int]) -> list[Atoms]:
    """Those of elements that were trained on."""
    return [atoms for atoms in structures if set(atoms.numbers.tolist()) <= set(elements)]


def _table(committee: Committee, members: Sequence[Predictor], structures: int, left_out: int) -> str:
    """What the program prints."""
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
        _calibration_of(committee).table(),
    ]
    if (domain := predictor.metadata.domain) is not None:
        rare = [f"{symbol} ({n})" for symbol, n in domain.structures.items() if n < FEW_STRUCTURES]
        lines.append(
            f"domain: {len(domain.structures)} elements, {len(domain.shortest)} pairs of neighbours, sigma "
            f"of an atom up to {domain.largest_sigma:.3g} e"
            + f"; in fewer than {FEW_STRUCTURES} structures: {', '.join(rare)}"
            * bool(rare)
        )
    return "\n".join(lines)


def _parser() -> OptionParser:
    """The options of the program."""
    parser = OptionParser(prog="python -m equivar_jax.committee", description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories of the members, two to four")
    parser.add_argument(
        "--data", help="labelled structures new to all members; default: the validation part of the runs"
    )
    parser.add_argument("--key", help="column of the tensors, if it has an unusual name")
    parser.add_argument(
        "--first-index",
        choices=get_args(FirstIndex),
        help="what the first index of a stored tensor is, where the format leaves it open",
    )
    parser.add_argument("-o", "--output", required=True, metavar="FOLDER", help="where the committee goes")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Join, calibrate, write, and print how good it is."""
    with exit_on_input_error():
        options = _parser().parse_args(arguments)
        folder = Path(options.output)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder}: not an empty folder; choose another -o")
        enable_compilation_cache()
        members = [load(run) for run in options.runs]
        committee = joined(members, options.runs)
        configs = [member.metadata.config for member in members]
        if not options.data:
            check_split(options.runs[0], options.runs[1:], configs)
        dataset: Dataset = load_dataset(configs[0])
        structures: Sequence[Atoms] = dataset.validation.structures
        if options.data:
            structures = load_structures(
                DataConfig(key=options.key, first_index=options.first_index), options.data
            )
        usable = of_known_elements(structures, committee.metadata.elements)
        result = calibrated(committee, usable, domain_of(dataset.training))
        write_committee(result, folder)
        print(_table(result, members, len(usable), len(structures) - len(usable)))
        print(f"written: {folder}, {folder / 'calibration.png'}")


if __name__ == "__main__":
    main()
