"""The structures that the protocols of `benchmarks.accuracy` train and test on.

A part of a data set is chosen by a split file (`--data.split_path`), named by a digest of its content.
"""

import dataclasses
import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from equivar_jax.cache import cache_directory, code_version
from equivar_jax.config.schema import Config, DataConfig, DemonstrationConfig
from equivar_jax.datasets import demonstration_set
from equivar_jax.datasets.demonstration import crystals
from equivar_jax.datasets.demonstration.dataset import GENERATOR_SOURCES
from equivar_jax.datasets.demonstration.polarisable_ion import born_effective_charges
from equivar_jax.datasets.load import load_dataset, load_structures
from equivar_jax.errors import InputError
from equivar_jax.storage.structure_table import StructureTable, cached_table
from equivar_jax.structures import SOURCE, source, with_born_effective_charges

FRESH_SEED = 1
"""Seed of demonstration structures to test on. Training uses seed 0, so it has seen none of them."""

SUPERCELLS = {(2, 1, 1): 40, (2, 2, 1): 20, (2, 2, 2): 10, (3, 3, 2): 4}
"""Repetitions of the 32-atom cells of Li3PO4, and the number of test crystals of each."""


class Division(NamedTuple):
    """The two parts of a data set, without the structures that hygiene sets aside."""

    training: StructureTable
    validation: StructureTable


def with_data(config: Config, path: str | None, key: str | None, counts: Sequence[int]) -> Config:
    """Return the config with other data: those of a file, or of the demonstration set.

    Args:
        config: The settings.
        path: A file, folder or pattern; None: the demonstration set.
        key: Column of the tensors in the file.
        counts: Perovskites, Li3PO4 and ZrO2 of the demonstration set; not read with a path.
    """
    data = dataclasses.replace(config.data, path=path, key=key)
    if path is None:
        data = dataclasses.replace(data, demonstration=DemonstrationConfig(*counts))
    return dataclasses.replace(config, data=data)


def demonstration_counts(given: Sequence[int] | None, default: Sequence[int]) -> list[int]:
    """Return the numbers of perovskites, Li3PO4 and ZrO2 of the demonstration set.

    Args:
        given: Three numbers, or one for every kind that the protocol uses; None: the default.
        default: The numbers of the protocol; kinds that it does not use have 0.

    Raises:
        InputError: Neither one nor three numbers are given.
    """
    if given is None:
        return list(default)
    if len(given) == 1:
        return [given[0] if usual else 0 for usual in default]
    if len(given) != 3:
        raise InputError(
            f"--structures got {len(given)} numbers; give one for all kinds, "
            "or three: perovskites, Li3PO4 and ZrO2"
        )
    return list(given)


def load_division(config: Config) -> Division:
    """Load the training and validation structures of a config.

    Raises:
        InputError: The data cannot be used.
    """
    dataset = load_dataset(config)
    return Division(dataset.training.structures, dataset.validation.structures)


def list_sources(structures: Sequence[Atoms]) -> list[str]:
    """Return the sources of structures, by which split files name them."""
    return [source(atoms) for atoms in structures]


def with_split_file(config: Config, parts: Sequence[Sequence[str]], folder: Path) -> Config:
    """Write a split file and return the config that divides its data by it.

    Args:
        config: The settings.
        parts: Sources of the structures to train on, and of those to validate on.
        folder: The folder of the split file.
    """
    training, validation = map(list, parts)
    text = json.dumps({"training": training, "validation": validation}, indent=1) + "\n"
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, split_path=str(path)))


def limit_data(config: Config, count: int, folder: Path) -> Config:
    """Return the config with `count` random structures of its data, divided in the same proportion.

    Raises:
        InputError: The data have fewer structures, or one part would be empty.
    """
    whole = load_division(config)
    total = len(whole.training) + len(whole.validation)
    validating = max(1, round(count * len(whole.validation) / total))
    if not validating < count <= total:
        raise InputError(f"--structures {count}, but the data have {total}; give 2 to {total}")
    rng = np.random.default_rng(0)
    chosen = [
        list_sources(part.subset(np.sort(rng.permutation(len(part))[:size])))
        for part, size in zip(whole, (count - validating, validating), strict=True)
    ]
    return with_split_file(config, chosen, folder)


def group_by_kind(
    structures: StructureTable, key: str | None, demonstration: bool
) -> dict[str, StructureTable]:
    """Group structures by kind: by `atoms.info[key]`, or by the compound of a demonstration structure.

    Raises:
        InputError: The data are of a file and no key is given, or a structure does not have the key.
    """
    if key is None and not demonstration:
        raise InputError("structures of a file are grouped by a key of their info; name it by --kind-key")
    places: dict[str, list[int]] = {}
    for place, atoms in enumerate(structures):
        if (key or crystals.GROUP) not in atoms.info:
            raise InputError(f"{source(atoms)}: its info has no key {key!r}; name another by --kind-key")
        kind = str(atoms.info[key]) if key else str(atoms.info[crystals.GROUP]).split()[0]
        places.setdefault(kind, []).append(place)
    return {kind: structures.subset(found) for kind, found in places.items()}


def make_fresh(counts: Sequence[int]) -> StructureTable:
    """Make demonstration structures with another seed than that of training."""
    return demonstration_set(*counts, seed=FRESH_SEED, progress=False)


def read_labelled_file(path: str, key: str | None) -> StructureTable:
    """Read the labelled structures of a file; hygiene is not applied."""
    return load_structures(DataConfig(key=key), path)


def make_supercells(repeats: tuple[int, int, int], count: int) -> StructureTable:
    """Make Li3PO4 crystals of several 32-atom cells with vacancies, labelled by the polarisable-ion model.

    The number of vacancies is drawn for each 32-atom cell as in the demonstration set (none, one or two Li,
    Li2O), so that the mean concentration is about the same, and every crystal has at least one. The vacancies
    are placed at random in the whole crystal. Strain and displacements have the distribution of the
    demonstration set. The result is kept in the cache.

    Args:
        repeats: Repetitions of the 32-atom cell.
        count: Number of crystals.
    """
    key = f"{repeats} {count} {code_version(*GENERATOR_SOURCES)} {Path(__file__).read_text()}"
    return cached_table(
        cache_directory() / f"accuracy-li3po4-{'x'.join(map(str, repeats))}",
        hashlib.sha256(key.encode()).hexdigest(),
        lambda: _generate_supercells(repeats, count),
    )


def _generate_supercells(repeats: tuple[int, int, int], count: int) -> Iterator[Atoms]:
    rng = np.random.default_rng([FRESH_SEED, *repeats])
    ideal = {phase: crystals.ideal_li3po4(phase).repeat(repeats) for phase in ("beta", "gamma")}
    for number in range(count):
        lithium = oxygen = 0
        while not lithium:
            draws = rng.integers(4, size=math.prod(repeats))  # perfect, V_Li, 2 V_Li, V_Li2O
            lithium, oxygen = int(np.minimum(draws, 2).sum()), int((draws == 3).sum())
        wanted = Counter(Li=lithium, O=oxygen)
        atoms = crystals.make_vacancies(ideal[str(rng.choice(list(ideal)))], wanted, rng)
        atoms = crystals.strain_and_displace(atoms, rng, crystals.PHOSPHATE_DISPLACEMENT)
        atoms.info[SOURCE] = f"Li3PO4 {'x'.join(map(str, repeats))} {number}"
        yield with_born_effective_charges(atoms, born_effective_charges(atoms))
