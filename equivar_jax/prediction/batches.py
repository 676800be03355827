"""Batches for prediction: few shapes for structures of any size, since each shape is compiled once."""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from ase import Atoms
from jaxtyping import Float, Int

from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.packing import Budget, GraphSizes, pack
from equivar_jax.prediction.layerwise import NODES_AT_ONCE

BATCH_NODES = 1024
"""Structures are joined up to about this many atoms; a larger one makes a batch of its own."""
WINDOW_ATOMS = 16 * BATCH_NODES
"""Structures whose graphs are built together."""
LARGE = 2 * NODES_AT_ONCE
"""Atoms above which a structure is predicted layer by layer, with bounded memory."""
_WORTH_A_SHAPE = 4  # batches
_GROWTH = 1.2  # padded sizes follow a geometric series, so that few of them are ever compiled


def prediction_batches(samples: Sequence[Sample], dense: bool) -> Iterator[tuple[list[int], Budget]]:
    """Samples up to `LARGE` atoms in batches of few shapes; these depend on nothing but the samples.

    Kernels with slots (`dense`) want structures of similar largest degrees together. Otherwise one shape with
    the average number of edges an atom serves all that fit, since batches fill up in atoms and edges alike.
    """
    sizes = GraphSizes.of(sample.graph for sample in samples)
    kinds = _class_of(np.maximum(sizes.degrees if dense else sizes.edges / sizes.atoms, 1.0))
    common = np.flatnonzero(sizes.atoms <= BATCH_NODES)
    if dense:
        kinds[common] = _joined(kinds[common], sizes.atoms[common])
    elif len(common):
        atoms, edges = int(sizes.atoms[common].sum()), int(sizes.edges[common].sum())
        (average,) = _class_of(np.array([max(edges / atoms, 1.0)]))
        room = _padded(min(atoms, BATCH_NODES) + 1) * _GROWTH ** int(average)
        kinds[common[sizes.edges[common] <= room]] = average
    for kind in np.unique(kinds).tolist():
        together = common[kinds[common] == kind]
        alone = np.flatnonzero((kinds == kind) & (sizes.atoms > BATCH_NODES) & (sizes.atoms <= LARGE))
        for members in [together, *alone.reshape(-1, 1)]:
            if not len(members):
                continue
            chosen = GraphSizes(*(column[members] for column in sizes))
            total, largest = int(chosen.atoms.sum()), int(chosen.atoms.max())
            nodes = _padded(max(largest, min(total, BATCH_NODES)) + 1)
            width = math.ceil(_GROWTH**kind)
            edges = nodes * width if dense else math.ceil(nodes * _GROWTH**kind)
            budget = Budget(nodes, edges, width if dense else 0, nodes + 1)
            largest_first = np.argsort(-chosen.atoms, kind="stable").tolist()
            for _, batch in pack(chosen, [budget], largest_first):
                yield members[batch].tolist(), budget


def windows(structures: Sequence[Atoms]) -> Iterator[Sequence[Atoms]]:
    """Runs of structures that make several batches each."""
    ends = np.cumsum([len(atoms) for atoms in structures]) // WINDOW_ATOMS
    starts = np.flatnonzero(np.diff(ends, prepend=-1)).tolist()
    for start, stop in itertools.pairwise([*starts, len(structures)]):
        yield structures[start:stop]


def _joined(
    kinds: Int[np.ndarray, " structures"], atoms: Int[np.ndarray, " structures"]
) -> Int[np.ndarray, " structures"]:
    """Classes too small for a few batches join the next one: a compilation costs more than padding."""
    joined = kinds.copy()
    waiting = np.zeros(len(kinds), bool)
    for kind in np.unique(kinds).tolist():
        waiting |= kinds == kind
        joined[waiting] = kind
        if atoms[waiting].sum() >= _WORTH_A_SHAPE * BATCH_NODES:
            waiting[:] = False
    return joined


def _class_of(numbers: Float[np.ndarray, " structures"]) -> Int[np.ndarray, " structures"]:
    """The smallest power of `_GROWTH` that holds each number: its exponent."""
    return np.ceil(np.log(numbers) / np.log(_GROWTH) - 1e-9).astype(int)


def _padded(atoms: int) -> int:
    """The next size of a geometric series, a multiple of 8."""
    (exponent,) = _class_of(np.array([max(atoms, 8) / 8]))
    return 8 * math.ceil(_GROWTH ** int(exponent))
