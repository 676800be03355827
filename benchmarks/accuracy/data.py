"""What the protocols of `benchmarks.accuracy` train and test on: counts, parts, kinds, and larger cells.

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
"""Of demonstration structures that no training (of seed 0) has seen, to train on or to validate on."""

SUPERCELLS = {(2, 1, 1): 40, (2, 2, 1): 20, (2, 2, 2): 10, (3, 3, 2): 4}
"""Repetitions of the 32-atom cells of Li3PO4, and how many crystals of each are tested on."""


class Division(NamedTuple):
    """The two parts of a run, without what hygiene sets aside."""

    training: StructureTable
    validation: StructureTable


def with_data(config: Config, path: str | None, key: str | None, counts: Sequence[int]) -> Config:
    """The config on a file, or on so many perovskites, Li3PO4 and ZrO2 of the demonstration set."""
    data = dataclasses.replace(config.data, path=path, key=key)
    if path is None:
        data = dataclasses.replace(data, demonstration=DemonstrationConfig(*counts))
    return dataclasses.replace(config, data=data)


def demonstration_counts(given: Sequence[int] | None, default: Sequence[int]) -> list[int]:
    """Structures of each kind: three numbers as given, or one for every kind that the protocol uses.

    Raises:
        InputError: neither one nor three numbers.
    """
    if given is None:
        return list(default)
    if len(given) == 1:
        return [given[0] if usual else 0 for usual in default]
    if len(given) != 3:
        raise InputError(f"--structures got {len(given)} numbers; give one, or three of the kinds")
    return list(given)


def division(config: Config) -> Division:
    """Training and validation structures of a config.

    Raises:
        InputError: unusable data.
    """
    dataset = load_dataset(config)
    return Division(dataset.training.structures, dataset.validation.structures)


def names(structures: Sequence[Atoms]) -> list[str]:
    """Their sources, by which split files name them."""
    return [source(atoms) for atoms in structures]


def divided(config: Config, parts: Sequence[Sequence[str]], folder: Path) -> Config:
    """The config with its parts given by a split file that is written here.

    Args:
        config: The settings.
        parts: Sources of the structures to train on, and of those to validate on.
        folder: Where the split file goes.
    """
    training, validation = map(list, parts)
    text = json.dumps({"training": training, "validation": validation}, indent=1) + "\n"
    path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return dataclasses.replace(config, data=dataclasses.replace(config.data, split_path=str(path)))


def limited(config: Config, count: int, folder: Path) -> Config:
    """The config with `count` random structures of its data, divided in the proportion of the whole."""
    whole = division(config)
    total = len(whole.training) + len(whole.validation)
    validating = max(1, round(count * len(whole.validation) / total))
    if not validating < count <= total:
        raise InputError(f"--structures {count}, but the data have {total}; give 2 to {total}")
    rng = np.random.default_rng(0)
    chosen = [
        names(part.subset(np.sort(rng.permutation(len(part))[:size])))
        for part, size in zip(whole, (count - validating, validating), strict=True)
    ]
    return divided(config, chosen, folder)


def by_kind(structures: StructureTable, key: str | None, demonstration: bool) -> dict[str, StructureTable]:
    """Structures of each kind: `atoms.info[key]`, or the compound of a demonstration structure.

    Raises:
        InputError: data of a file without a key, or a structure that does not have it.
    """
    if key is None and not demonstration:
        raise InputError("a file's structures have kinds of their own; name their key in info by --kind-key")
    places: dict[str, list[int]] = {}
    for place, atoms in enumerate(structures):
        if (key or crystals.GROUP) not in atoms.info:
            raise InputError(f"{source(atoms)}: no {key!r} in its info; change --kind-key")
        kind = str(atoms.info[key]) if key else str(atoms.info[crystals.GROUP]).split()[0]
        places.setdefault(kind, []).append(place)
    return {kind: structures.subset(found) for kind, found in places.items()}


def fresh(counts: Sequence[int]) -> StructureTable:
    """Demonstration structures of another seed than those of training."""
    return demonstration_set(*counts, seed=FRESH_SEED, progress=False)


def labelled_file(path: str, key: str | None) -> StructureTable:
    """The labelled structures of a file, as they are."""
    return load_structures(DataConfig(key=key), path)


def li3po4_supercells(repeats: tuple[int, int, int], count: int) -> StructureTable:
    """Li3PO4 crystals of several 32-atom cells with vacancies, labelled by the polarisable-ion model.

    The number of vacancies is drawn for each cell as in the small cells of the demonstration set (none, one
    or two Li, Li2O), so that their mean concentration is about the same; every crystal has one at least. They
    lie at random in the whole. Strain and displacements are of the same distribution.
    """
    key = f"{repeats} {count} {code_version(*GENERATOR_SOURCES)} {Path(__file__).read_text()}"
    return cached_table(
        cache_directory() / f"accuracy-li3po4-{'x'.join(map(str, repeats))}",
        hashlib.sha256(key.encode()).hexdigest(),
        lambda: _supercells(repeats, count),
    )


def _supercells(repeats: tuple[int, int, int], count: int) -> Iterator[Atoms]:
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
