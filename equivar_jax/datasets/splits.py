"""Divide data into training and validation parts: by frame, group, formula, time, fold, or a given file.

Every rule depends only on the structures and the settings: the same data and seed give the same parts.
"""

import functools
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula
from jaxtyping import Bool, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from equivar_jax.config.schema import DataConfig
from equivar_jax.datasets.split_files import file_and_frame, read_parts
from equivar_jax.errors import InputError
from equivar_jax.structures import source


@dataclass(frozen=True)
class Split:
    """The two parts of a data set, as places in it."""

    training: Int[np.ndarray, " training"]
    """Places to train on, in rising order."""
    validation: Int[np.ndarray, " validation"]
    """Places to validate on, in rising order."""
    note: str = ""
    """What the user should know: structures left out, trajectories too short to validate on."""


def split(structures: Sequence[Atoms], data: DataConfig) -> Split:
    """Divide structures as the settings say.

    - `split_path`: as that file says; structures that it does not name are left out.
    - `split="random"`: frame by frame, or by the values of `group_key`.
    - `split="composition"`: all structures of one reduced formula are on one side (a vacancy makes another
      formula). With `group_key`, structures that share a formula or a group, also indirectly through others,
      stay together.
    - `split="block"`: the last `validation_fraction` of each trajectory, in the order given, is for
      validation. A trajectory has equal values of `group_key`; without a key it is one file. Only the frames
      at this one border are neighbours in time.

    With `folds` = k, fold number `fold` of k is for validation instead of a fraction, and over all folds
    every structure is used for validation once. Folds are as equal in size as the groups allow. With "block",
    each fold is a run of consecutive frames of every trajectory, and the sizes of the folds differ by at most
    one.

    Args:
        structures: The data; each structure is read at most once.
        data: The settings `split`, `split_path`, `validation_fraction`, `folds`, `fold`, `split_seed` and
            `group_key`.

    Raises:
        InputError: there are no structures, a part is empty, the settings contradict each other or the data,
            or the split file does not fit the data.
    """
    if len(structures) == 0:
        raise InputError("no structures to divide into training and validation; give some")
    if data.folds is not None and data.split_path is not None:
        raise InputError("--data.split_path and --data.folds each say what validates; leave out one of them")
    if data.folds is not None and not 0 <= data.fold < data.folds:
        raise InputError(f"--data.fold {data.fold} of {data.folds} folds; give 0 to {data.folds - 1}")
    if data.split_path is not None:
        return _given_split(structures, Path(data.split_path))
    if data.split == "block":
        return _block_split(structures, data)
    groups = number_groups(structures, data.group_key, by_formula=data.split == "composition")
    if data.folds is None:
        return Split(*random_split(groups, data.validation_fraction, data.split_seed))
    validates = _random_folds(groups, data.folds, data.split_seed) == data.fold
    return Split(np.flatnonzero(~validates), np.flatnonzero(validates))


def number_groups(
    structures: Sequence[Atoms], key: str | None, by_formula: bool = False
) -> Int[np.ndarray, " structures"]:
    """Return the number of the group of each structure, from 0; a group must stay on one side of a split.

    Args:
        structures: The data.
        key: Structures with equal values of `atoms.info[key]` are one group.
        by_formula: Structures with equal reduced formulas are one group. If groups by key and by formula
            share a structure, they are one group. Without a key and `by_formula`, every structure is its own
            group.

    Raises:
        InputError: a structure has no such key.
    """
    relations: list[Callable[[Atoms], str]] = [_reduced_formula] if by_formula else []
    if key is not None:
        relations.append(functools.partial(_info_value, key=key))
    if not relations:
        return _number_names(map(str, range(len(structures))))
    names = [[of(atoms) for of in relations] for atoms in structures]
    # The formulas and the keys are the nodes of a graph; each structure connects two of them.
    columns = [_number_names(column) for column in zip(*names, strict=True)]
    first, last = columns[0], columns[-1] + (columns[0].max() + 1 if len(columns) > 1 else 0)
    count = int(last.max()) + 1
    links = coo_array((np.ones(len(first)), (first, last)), shape=(count, count))
    return connected_components(links, directed=False)[1][first].astype(np.int64)


def random_split(
    groups: Int[np.ndarray, " structures"], validation_fraction: float, seed: int
) -> tuple[Int[np.ndarray, " training"], Int[np.ndarray, " validation"]]:
    """Shuffle the groups and give the first ones to validation until it has its share.

    A group that would take the size of the validation part further from its share is passed over. If all
    groups would, the smallest one is for validation.

    Args:
        groups: Number of the group of each structure, from 0 without gaps; equal numbers stay together.
        validation_fraction: Share of structures to validate on.
        seed: Seed of the shuffle.

    Returns:
        Places of the training and of the validation structures, each in rising order.

    Raises:
        InputError: one part would be empty.
    """
    sizes = np.bincount(groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    missing = round(validation_fraction * len(groups))
    chosen = np.zeros(len(sizes), bool)
    if missing and not (sizes < 2 * missing).any():
        chosen[order[np.argmin(sizes[order])]] = True
        missing = 0
    for group in order:
        if sizes[group] < 2 * missing:
            chosen[group] = True
            missing -= sizes[group]
    return _parts(
        chosen[groups],
        f"{len(groups)} structures in {len(sizes)} groups that stay together, with "
        f"--data.validation_fraction {validation_fraction}; give more structures or another fraction",
    )


def _random_folds(
    groups: Int[np.ndarray, " structures"], folds: int, seed: int
) -> Int[np.ndarray, " structures"]:
    """Return the number of the fold of each structure.

    The largest groups are placed first, each into the fold that is smallest so far.
    """
    sizes = np.bincount(groups)
    if len(sizes) < folds:
        raise InputError(
            f"--data.folds {folds}, but {len(groups)} structures in {len(sizes)} groups that stay together; "
            f"give fewer folds or smaller groups"
        )
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    fold_of = np.zeros(len(sizes), np.int64)
    smallest_first = [(0, fold) for fold in range(folds)]
    for group in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        size, fold = smallest_first[0]
        fold_of[group] = fold
        heapq.heapreplace(smallest_first, (size + int(sizes[group]), fold))
    return fold_of[groups]


def _block_split(structures: Sequence[Atoms], data: DataConfig) -> Split:
    """Take consecutive frames of each trajectory for validation."""
    key = data.group_key
    names = [
        file_and_frame(source(atoms))[0] if key is None else _info_value(atoms, key) for atoms in structures
    ]
    trajectories: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        trajectories.setdefault(name, []).append(place)
    if len(trajectories) == len(names):
        raise InputError(
            f"--data.split block, but no two of the {len(names)} structures are of one trajectory "
            f"({names[0]}, ...); name the trajectories with --data.group_key, or use another --data.split"
        )
    if data.folds is not None and len(names) < data.folds:
        raise InputError(f"--data.folds {data.folds}, but {len(names)} structures; give fewer folds")
    validates, without = np.zeros(len(names), bool), 0
    totals = np.zeros(data.folds or 1, np.int64)
    for places in trajectories.values():
        if data.folds is None:
            first, last = len(places) - round(data.validation_fraction * len(places)), len(places)
        else:
            # The frames left over by an even division go to the folds that are smallest so far.
            even, left = divmod(len(places), data.folds)
            lengths = np.full(data.folds, even)
            lengths[np.argsort(totals, kind="stable")[:left]] += 1
            totals += lengths
            first, last = int(lengths[: data.fold].sum()), int(lengths[: data.fold + 1].sum())
        validates[places[first:last]] = True
        without += first == last
    what = f"{len(names)} structures in {len(trajectories)} trajectories"
    parts = _parts(validates, f"{what}; give longer ones, or another --data.validation_fraction")
    return Split(
        *parts, f"{without} of {len(trajectories)} trajectories give validation no frame" * (without > 0)
    )


def _given_split(structures: Sequence[Atoms], path: Path) -> Split:
    """Return the parts that a file names; structures that it does not name are in neither."""
    training, validation = read_parts([source(atoms) for atoms in structures], path)
    for name, part in (("training", training), ("validation", validation)):
        if len(part) == 0:
            raise InputError(f"{path}: the {name} part is empty; name structures for both parts")
    left_out = len(structures) - len(training) - len(validation)
    text = f"{left_out} of {len(structures)} structures are in neither part of {path} and are left out"
    return Split(training, validation, text if left_out else "")


def _parts(
    validates: Bool[np.ndarray, " structures"], what: str
) -> tuple[Int[np.ndarray, " training"], Int[np.ndarray, " validation"]]:
    """Return the places of both parts if neither is empty; `what` names the data in the message."""
    for name, empty in (("training", validates.all()), ("validation", not validates.any())):
        if empty:
            raise InputError(f"the {name} part is empty: {what}")
    return np.flatnonzero(~validates), np.flatnonzero(validates)


def _number_names(names: Iterable[str]) -> Int[np.ndarray, " structures"]:
    """Return the number of each name in the alphabetical order of the distinct names."""
    names = list(names)
    number = {name: k for k, name in enumerate(sorted(set(names)))}
    return np.array([number[name] for name in names], dtype=np.int64)


def _info_value(atoms: Atoms, key: str) -> str:
    """Return the value of `atoms.info[key]` as text."""
    if key not in atoms.info:
        there = ", ".join(sorted(map(str, atoms.info))) or "none"
        raise InputError(f"{source(atoms)}: no {key!r} in its info ({there}); change --data.group_key")
    return str(atoms.info[key])


def _reduced_formula(atoms: Atoms) -> str:
    """Return the reduced formula in Hill's order, such as "CaO3Ti" for every cell of CaTiO3."""
    return _formula_of(tuple(sorted(Counter(atoms.numbers.tolist()).items())))


@functools.cache
def _formula_of(counts: tuple[tuple[int, int], ...]) -> str:
    """Return the reduced formula of the given counts of atoms of each atomic number.

    It is cached, because making it anew for every structure is too slow.
    """
    formula = Formula.from_dict({chemical_symbols[number]: count for number, count in counts})
    return f"{formula.reduce()[0]:hill}"
