"""Committees: several networks whose mean is predicted and whose calibrated spread says how sure they are."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from ase import Atoms

from equivar_jax.config.settings import to_dict
from equivar_jax.errors import InputError
from equivar_jax.prediction.members import residuals_of
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import labels_of
from equivar_jax.uncertainty.calibration import Residuals, calibrate
from equivar_jax.uncertainty.domain import Domain
from equivar_jax.weights.stacking import stack_weights

_SEEDS = "train each with the same config and data, and another --train.seed"


class Committee(NamedTuple):
    """A calibrated committee and how that went."""

    predictor: Predictor
    residuals: Residuals
    mae: float
    """Of the mean on the calibration data, in e."""


def join_members(members: Sequence[Predictor], names: Sequence[str]) -> Predictor:
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


def calibrate_committee(
    committee: Predictor, structures: Sequence[Atoms], domain: Domain | None = None
) -> Committee:
    """A committee that knows how sure it is.

    Args:
        committee: See `join_members`.
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


def keep_known_elements(structures: Sequence[Atoms], elements: Sequence[int]) -> list[Atoms]:
    """Those of elements that were trained on."""
    return [atoms for atoms in structures if set(atoms.numbers.tolist()) <= set(elements)]
