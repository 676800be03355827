"""Committees: networks whose mean is the prediction and whose calibrated spread is its uncertainty."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from equivar_jax.config.settings import to_dict
from equivar_jax.errors import InputError
from equivar_jax.prediction.dielectric import dielectric_of_members, dielectric_residuals
from equivar_jax.prediction.members import residuals_of
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.structures import labels_of, usable_epsilon_inf
from equivar_jax.uncertainty.calibration import calibrate
from equivar_jax.uncertainty.domain import FAR, Domain, without_domain_warnings
from equivar_jax.uncertainty.features import FeatureDomain
from equivar_jax.uncertainty.residuals import Residuals
from equivar_jax.weights.stacking import leaves_of, stack_weights

_MAY_DIFFER = ("model.kernel", "train.seed", "train.checkpoint_minutes")
FEWEST = 2
"""Labelled structures that a calibration needs at the least."""
_SEEDS = "train each with the same config and data, and another --train.seed"


class Committee(NamedTuple):
    """A calibrated committee, with its errors on the calibration data."""

    predictor: Predictor
    residuals: Residuals
    mae: float
    """Mean absolute error of the mean of the members on the calibration data, in e."""
    dielectric: Residuals | None = None
    """Of the electronic dielectric tensors; None if there is no readout for them or no label."""


def join_members(members: Sequence[Predictor], names: Sequence[str]) -> Predictor:
    """Join single networks into one committee, which is not calibrated yet.

    Args:
        members: Single networks of the same architecture, trained on the same elements.
        names: Names of the members for messages, such as their run directories.

    Raises:
        InputError: there are fewer than two members, one is a committee already, two differ in more than the
            seed: in a setting of the network or of its training, or in the elements they were trained on; or
            two have the same weights.
    """
    if len(members) < 2:
        raise InputError(f"a committee needs two members or more; {_SEEDS}")
    first, where = members[0], names[0]
    for member, name in zip(members, names, strict=True):
        if member.members > 1:
            raise InputError(f"{name}: this is a committee already; name the runs of its members instead")
        ours, theirs = (_settings(one) for one in (first, member))
        for setting, value in theirs.items():
            if value != ours[setting]:
                raise InputError(
                    f"{name}: --{setting} is {value}, but that of {where} is {ours[setting]}; {_SEEDS}"
                )
        if member.metadata.elements != first.metadata.elements:
            raise InputError(f"{name}: trained on other elements than {where}; {_SEEDS}")
    leaves = [list(leaves_of(member.weights)) for member in members]
    for k in range(len(members)):
        for other in range(k):
            if all(map(np.array_equal, leaves[k], leaves[other])):
                raise InputError(f"{names[k]}: has the same weights as {names[other]}; {_SEEDS}")
    metadata = dataclasses.replace(
        first.metadata,
        members=len(members),
        validation_mae=None,
        best_validation_mae=None,
        calibration=None,
        dielectric_calibration=None,
        domain=None,
        features=_join_features(members),
    )
    return Predictor(stack_weights([member.weights for member in members]), metadata)


def _settings(member: Predictor) -> dict[str, Any]:
    """Return the settings in which members must not differ, by name.

    The kernel may differ, since all kernels give the same numbers, and how often a run is saved.
    """
    config = member.metadata.config
    rooms = {"model": to_dict(config.model), "train": to_dict(config.train)}
    named = {f"{room}.{name}": value for room, own in rooms.items() for name, value in own.items()}
    return {name: value for name, value in named.items() if name not in _MAY_DIFFER}


def _join_features(members: Sequence[Predictor]) -> tuple[FeatureDomain, ...]:
    """Return what the features of the training data were like for each member; nothing if one lacks it."""
    known = tuple(one for member in members for one in member.metadata.features)
    alike = {(one.elements, one.dims, one.matrices) for one in known}
    return known if len(known) == len(members) and len(alike) == 1 else ()


def calibrate_committee(
    committee: Predictor, structures: Sequence[Atoms], domain: Domain | None = None
) -> Committee:
    """Calibrate the uncertainty of a committee on labelled structures.

    Args:
        committee: As `join_members` returns it.
        structures: Labelled structures that no member was trained on.
        domain: Of the training data. The result carries it with its largest uncertainty set: `FAR` times the
            99th percentile of the mean sigma of an atom.

    Raises:
        InputError: there are fewer than two structures, or one has no labels or cannot be used.
    """
    labels = [labels_of(atoms) for atoms in structures]
    if len(structures) < FEWEST:
        raise InputError(
            f"too few structures to calibrate with: {len(structures)}; give some hundred, "
            f"{FEWEST} at the least"
        )
    with without_domain_warnings():  # these structures say what is usual
        found = committee.predictions(structures, progress=True)
    residuals = residuals_of(found, labels, [atoms.numbers for atoms in structures])
    calibration = calibrate(residuals)
    if domain is not None:
        of_atom = calibration.sigma_of(residuals).mean(axis=(1, 2))
        domain = dataclasses.replace(domain, largest_sigma=FAR * float(np.quantile(of_atom, 0.99)))
    mae = float(np.abs(residuals.errors).mean())
    dielectric = compare_dielectric(committee, structures)
    metadata = dataclasses.replace(
        committee.metadata,
        validation_mae=mae,
        calibration=calibration,
        dielectric_calibration=calibrate(dielectric)
        if dielectric is not None and len(dielectric.errors) > 1
        else None,
        domain=domain,
    )
    return Committee(dataclasses.replace(committee, metadata=metadata), residuals, mae, dielectric)


def compare_dielectric(committee: Predictor, structures: Sequence[Atoms]) -> Residuals | None:
    """Compare the electronic dielectric tensors of a committee with those labels that there are.

    Returns:
        Errors and spreads; None without the readout or without labels.
    """
    if not committee.config.dielectric:
        return None
    labels = [usable_epsilon_inf(atoms) for atoms in structures]
    chosen = [k for k, label in enumerate(labels) if label is not None]
    if not chosen:
        return None
    of_members = dielectric_of_members(committee, [structures[k] for k in chosen])
    return dielectric_residuals(of_members, np.array([labels[k] for k in chosen]))


def check_split(first: str, others: Sequence[str], configs: Sequence[Any]) -> None:
    """Refuse members that were trained on different divisions of the data.

    Runs with a `split.json` are compared by the structures in each part, others by their `data` settings.

    Args:
        first: Run directory of the first member.
        others: Run directories of the other members.
        configs: Settings of all members, that of the first one first.

    Raises:
        InputError: a member was trained on another division than the first; the message names it.
    """
    splits = [_read_split(Path(name)) for name in (first, *others)]
    for name, split, config in zip(others, splits[1:], configs[1:], strict=True):
        if split != splits[0] if split and splits[0] else config.data != configs[0].data:
            raise InputError(
                f"{name}: trained on another division of the data than {first}, so neither validation part "
                f"is new to both; {_SEEDS}, or give --data FILE with structures that are new to all"
            )


def _read_split(run: Path) -> dict[str, list[str]] | None:
    """Read the names of the structures in each part of a run's data; None if it has no `split.json`."""
    path = run / "split.json"
    if not path.is_file():
        return None
    return {part: sorted(names) for part, names in json.loads(path.read_text()).items()}


def keep_known_elements(structures: Sequence[Atoms], elements: Sequence[int]) -> list[Atoms]:
    """Return the structures that have no other elements than these atomic numbers."""
    return [atoms for atoms in structures if set(atoms.numbers.tolist()) <= set(elements)]
