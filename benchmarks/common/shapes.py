"""The structures that benchmarks run on."""

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
from equivar_jax.network.initial_weights import unit_variance
from equivar_jax.network.model import Equivar
from equivar_jax.structures import born_effective_charges

TAUGHT_CHANNELS = 64
"""Width of `bm3_deep` where a teacher labels; chosen on the last 8 of the training frames of BaTiO3, with a
teacher of the other 39 that labelled 1,000: 64 channels 0.0139 e, 32 channels 0.0146 e."""


def perovskites(count: int) -> list[Atoms]:
    """Demonstration perovskites of 20 atoms."""
    return list(demonstration_set(perovskites=count, progress=False))


def phonon_dfpt(count: int) -> list[Atoms] | None:
    """Crystals of very different neighbour counts, from the folder that EQUIVAR_DATA names."""
    folder = os.environ.get("EQUIVAR_DATA")
    path = Path(folder) / "phonon-dfpt.extxyz.gz" if folder else None
    if path is None or not path.is_file():
        return None
    structures = read_structures(path)
    chosen = np.random.default_rng(0).permutation(len(structures))[:count]
    return [structures[k] for k in chosen]


def one_batch(structures: Sequence[Atoms], cutoff: float, slots: bool) -> Batch:
    """All structures in one batch, with the least padding.

    Args:
        structures: Labelled.
        cutoff: Å.
        slots: Make the dense layout, too.
    """
    samples = [Sample(build_graph(atoms, cutoff), born_effective_charges(atoms)) for atoms in structures]
    sizes = GraphSizes.of(sample.graph for sample in samples)
    width = int(sizes.degrees.max()) if slots else 0
    budget = Budget(int(sizes.atoms.sum()) + 1, int(sizes.edges.sum()), width, len(samples) + 1)
    return collate(samples, budget)


def alone(structures: Sequence[Atoms], cutoff: float) -> tuple[list[Sample], list[Batch]]:
    """Samples, and each of them in a batch of its own, all in one shape with slots.

    Args:
        structures: Labelled or not.
        cutoff: Å.
    """
    samples = [Sample(build_graph(atoms, cutoff), born_effective_charges(atoms)) for atoms in structures]
    atoms, edges, width = (int(np.max(each)) for each in GraphSizes.of(sample.graph for sample in samples))
    budget = Budget(atoms + 1, edges, width, 2)
    return samples, [collate([sample], budget) for sample in samples]


def fitted(config: ModelConfig, batch: Batch) -> tuple[ModelConfig, dict]:
    """The config with the batch's mean neighbour count, and initial weights of unit variance."""
    config = replace(config, mean_neighbours=len(batch.graph.senders) / int(batch.node_mask.sum()))
    model = Equivar(config)
    params = jax.jit(model.init)(jax.random.key(0), batch.graph)
    return config, unit_variance(model, {"params": params["params"]}, batch.graph)
