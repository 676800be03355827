"""Batches for prediction: few distinct shapes for structures of any size, since each new shape compiles."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.graphs.batch import Sample
from equivar_jax.graphs.packing import Budget, GraphSizes, pack
from equivar_jax.prediction.layerwise import NODES_AT_ONCE

BATCH_NODES = 1024
"""Structures share a batch of up to about this many atoms; a larger structure has a batch of its own."""
SMALL = 128
"""Structures of fewer atoms in all, such as one cell in a loop, share very few shapes."""
LARGE = 2 * NODES_AT_ONCE
"""A structure of more atoms than this is in no batch; it is predicted layer by layer, with bounded memory."""
_WORTH_A_SHAPE = 4  # full batches that justify one more shape, and so one more compilation
_GROWTH = 1.2  # ratio of the geometric series that padded sizes follow, so that few of them are ever compiled


def plan_batches(
    samples: Sequence[Sample], dense: bool, large: int = LARGE
) -> Iterator[tuple[list[int], Budget]]:
    """Group the samples that are not large into batches with few distinct shapes.

    The plan is deterministic: the same samples give the same batches. For kernels with slots (`dense`),
    structures with similar largest neighbour counts come together. For other kernels, one shape with the
    average number of edges per atom serves all samples that fit it, since such batches run out of room for
    atoms and for edges at about the same time.

    Args:
        samples: Structures of any size.
        dense: Whether the kernel needs slots for the neighbours of each node.
        large: Structures of more atoms than this are in no batch.

    Yields:
        Indices of the samples of a batch, and the shape of the batch.
    """
    sizes = GraphSizes.of(sample.graph for sample in samples)
    if sizes.atoms.sum() < SMALL:
        yield list(range(len(samples))), _small_shape(sizes, dense)
        return
    kinds = _size_classes(np.maximum(sizes.degrees if dense else sizes.edges / sizes.atoms, 1.0))
    common = np.flatnonzero(sizes.atoms <= BATCH_NODES)
    if dense:
        kinds[common] = _merge_small_classes(kinds[common], sizes.atoms[common])
    elif len(common):
        atoms, edges = int(sizes.atoms[common].sum()), int(sizes.edges[common].sum())
        (average,) = _size_classes(np.array([max(edges / atoms, 1.0)]))
        room = _round_up_nodes(min(atoms, BATCH_NODES) + 1) * _GROWTH ** int(average)
        kinds[common[sizes.edges[common] <= room]] = average
    for kind in np.unique(kinds).tolist():
        together = common[kinds[common] == kind]
        alone = np.flatnonzero((kinds == kind) & (sizes.atoms > BATCH_NODES) & (sizes.atoms <= large))
        for members in [together, *alone.reshape(-1, 1)]:
            if not len(members):
                continue
            chosen = GraphSizes(*(column[members] for column in sizes))
            total, largest = int(chosen.atoms.sum()), int(chosen.atoms.max())
            nodes = _round_up_nodes(max(largest, min(total, BATCH_NODES)) + 1)
            width = math.ceil(_GROWTH**kind)
            edges = nodes * width if dense else math.ceil(nodes * _GROWTH**kind)
            budget = Budget(nodes, edges, width if dense else 0, nodes + 1)
            largest_first = np.argsort(-chosen.atoms, kind="stable").tolist()
            for _, batch in pack(chosen, [budget], largest_first):
                yield members[batch].tolist(), budget


def _small_shape(sizes: GraphSizes, dense: bool) -> Budget:
    """Return the shape of a batch of few atoms: 32 or 128 nodes, and 32, 64, 128, ... edges for each.

    Padding costs less there than one more compilation.
    """
    atoms, edges = int(sizes.atoms.sum()), int(sizes.edges.sum())
    nodes = SMALL // 4 if atoms < SMALL // 4 else SMALL
    needed = int(sizes.degrees.max()) if dense else -(-edges // nodes)
    width = 1 << max(5, (needed - 1).bit_length())
    return Budget(nodes, nodes * width, width if dense else 0, nodes + 1)


def _merge_small_classes(
    kinds: Int[np.ndarray, " structures"], atoms: Int[np.ndarray, " structures"]
) -> Int[np.ndarray, " structures"]:
    """Merge classes too small for `_WORTH_A_SHAPE` batches into the next larger class.

    A compilation costs more than the padding that this adds.
    """
    merged = kinds.copy()
    waiting = np.zeros(len(kinds), bool)
    for kind in np.unique(kinds).tolist():
        waiting |= kinds == kind
        merged[waiting] = kind
        if atoms[waiting].sum() >= _WORTH_A_SHAPE * BATCH_NODES:
            waiting[:] = False
    return merged


def _size_classes(numbers: Float[np.ndarray, " structures"]) -> Int[np.ndarray, " structures"]:
    """Return, for each number, the exponent of the smallest power of `_GROWTH` that is not below it."""
    return np.ceil(np.log(numbers) / np.log(_GROWTH) - 1e-9).astype(int)


def _round_up_nodes(atoms: int) -> int:
    """Round a number of atoms up to the next size of the geometric series; sizes are multiples of 8."""
    (exponent,) = _size_classes(np.array([max(atoms, 8) / 8]))
    return 8 * math.ceil(_GROWTH ** int(exponent))
