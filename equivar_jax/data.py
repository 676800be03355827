"""From files to the training and validation parts of a run."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from tqdm import tqdm

from equivar_jax.batch import Sample
from equivar_jax.config import Config, DataConfig
from equivar_jax.datasets import demonstration_set
from equivar_jax.datasets.splits import group_labels, random_split
from equivar_jax.errors import InputError
from equivar_jax.graph import build_graph
from equivar_jax.io import read_structures
from equivar_jax.structures import born_effective_charges, source

SHOW_PROGRESS_FROM = 500  # structures


@dataclass(frozen=True)
class Dataset:
    """The two parts of a run, and what training knows of its own part."""

    training: list[Sample]
    validation: list[Sample]
    training_structures: list[Atoms]
    validation_structures: list[Atoms]
    elements: tuple[int, ...]
    """Atomic numbers of the training part, rising."""

    @property
    def statistics(self) -> dict[str, int | float]:
        """Of the training part: structures, atoms, edges, and the mean neighbour count."""
        atoms = sum(len(sample.graph.nodes["species"]) for sample in self.training)
        edges = sum(len(sample.graph.senders) for sample in self.training)
        return {
            "structures": len(self.training),
            "atoms": atoms,
            "edges": edges,
            "mean_neighbours": edges / atoms,
        }


def load_structures(config: DataConfig, path: str | None) -> list[Atoms]:
    """The labelled structures of a file, or the demonstration set if there is none.

    Raises:
        InputError: the file cannot be used, or a frame has no label.
    """
    if path is None:
        return demonstration_set(**dataclasses.asdict(config.demonstration))
    structures = read_structures(path, config.key)
    for atoms in structures:
        if born_effective_charges(atoms) is None:
            there = ", ".join(sorted(set(atoms.arrays) - {"numbers", "positions"})) or "none"
            raise InputError(
                f"{source(atoms)}: no Born effective charges (columns there: {there}); name the column with "
                "--data.key (in evaluation --key), or remove the frame"
            )
    return structures


def make_samples(structures: Sequence[Atoms], cutoff: float, progress: bool = True) -> list[Sample]:
    """Build the graph of every structure and put it beside its label.

    Raises:
        InputError: a structure from which no graph can be built.
    """
    hide = not progress or len(structures) < SHOW_PROGRESS_FROM
    return [
        Sample(build_graph(atoms, cutoff), born_effective_charges(atoms))
        for atoms in tqdm(structures, desc="graphs", unit="structure", disable=hide)
    ]


def load_dataset(config: Config) -> Dataset:
    """Read, split and build graphs, as the config says.

    Raises:
        InputError: unusable data, an empty part, or an element that the table of the network has no row for.
    """
    data = config.data
    structures = load_structures(data, data.path)
    if data.validation_path is None:
        groups = group_labels(structures, data.group_key)
        chosen = random_split(groups, data.validation_fraction, data.split_seed)
        training, validation = ([structures[k] for k in part] for part in chosen)
    else:
        training, validation = structures, load_structures(data, data.validation_path)
    if not training or not validation:
        raise InputError("the training or the validation part is empty; give some structures for both")
    elements = np.unique(np.concatenate([atoms.numbers for atoms in training]))
    highest = max(int(atoms.numbers.max()) for atoms in [*training, *validation])
    if highest >= config.model.species:
        raise InputError(
            f"atomic number {highest} does not fit a table of {config.model.species}; "
            f"use --model.species {highest + 1}"
        )
    return Dataset(
        training=make_samples(training, config.model.cutoff),
        validation=make_samples(validation, config.model.cutoff),
        training_structures=training,
        validation_structures=validation,
        elements=tuple(int(z) for z in elements),
    )
