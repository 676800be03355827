"""Structures that benchmarks run on, and batches and initial weights for them."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from ase import Atoms

from equivar_jax.config.schema import ModelConfig
from equivar_jax.datasets import demonstration_set
from equivar_jax.graphs.batch import Batch, Sample, collate
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.packing import Budget, GraphSizes
from equivar_jax.io import read_structures
from equivar_jax.network.initial_weights import scale_to_unit_variance
from equivar_jax.network.model import Equivar
from equivar_jax.structures import born_effective_charges

TAUGHT_CHANNELS = 64
"""Width of `bm3_deep` on frames that a teacher labelled.

It was chosen on the last 8 of the 47 training frames of BaTiO3, with a teacher that had learned the other 39
and labelled 1,000: the error was 0.0139 e with 64 channels and 0.0146 e with 32.
"""


def perovskites(count: int) -> list[Atoms]:
    """Return demonstration perovskites of 20 atoms each."""
    return list(demonstration_set(perovskites=count, progress=False))


def phonon_dfpt(count: int) -> list[Atoms] | None:
    """Read crystals of phonon-dfpt, whose neighbour counts vary much.

    Returns:
        At most `count` of them, chosen at random; None where EQUIVAR_DATA does not name a folder with them.
    """
    folder = os.environ.get("EQUIVAR_DATA")
    path = Path(folder) / "phonon-dfpt.extxyz.gz" if folder else None
    if path is None or not path.is_file():
        return None
    structures = read_structures(path)
    chosen = np.random.default_rng(0).permutation(len(structures))[:count]
    return [structures[k] for k in chosen]


def collate_together(structures: Sequence[Atoms], cutoff: float, slots: bool) -> Batch:
    """Put all structures into one batch, with the least padding.

    Args:
        structures: Labelled structures.
        cutoff: Cutoff radius in Å.
        slots: Whether to add the dense layout of neighbours.
    """
    samples = [Sample(build_graph(atoms, cutoff), born_effective_charges(atoms)) for atoms in structures]
    sizes = GraphSizes.of(sample.graph for sample in samples)
    width = int(sizes.degrees.max()) if slots else 0
    budget = Budget(int(sizes.atoms.sum()) + 1, int(sizes.edges.sum()), width, len(samples) + 1)
    return collate(samples, budget)


def collate_alone(structures: Sequence[Atoms], cutoff: float) -> tuple[list[Sample], list[Batch]]:
    """Make samples of structures and put each into a batch of its own.

    All batches have one shape and the dense layout of neighbours.

    Args:
        structures: Structures with or without labels.
        cutoff: Cutoff radius in Å.
    """
    samples = [Sample(build_graph(atoms, cutoff), born_effective_charges(atoms)) for atoms in structures]
    atoms, edges, width = (int(np.max(each)) for each in GraphSizes.of(sample.graph for sample in samples))
    budget = Budget(atoms + 1, edges, width, 2)
    return samples, [collate([sample], budget) for sample in samples]


def prepare_network(config: ModelConfig, batch: Batch) -> tuple[ModelConfig, dict]:
    """Return the config with the mean neighbour count of a batch, and initial weights of unit variance."""
    config = replace(config, mean_neighbours=len(batch.graph.senders) / int(batch.node_mask.sum()))
    model = Equivar(config)
    params = jax.jit(model.init)(jax.random.key(0), batch.graph)
    return config, scale_to_unit_variance(model, {"params": params["params"]}, batch.graph)
