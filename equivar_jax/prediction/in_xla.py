"""Prediction by JAX: on a GPU, and for networks that have no C++ form here (see `in_cpp`).

The network is compiled for few batch shapes, single structures and small lists included.
"""

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

import jax
import jraph
import numpy as np
from jaxtyping import Float

from equivar_jax.graphs.batch import Batch, Sample, collate
from equivar_jax.graphs.graph import AnyGraph, neighbour_counts
from equivar_jax.graphs.packing import Budget
from equivar_jax.kernels import needs_slots
from equivar_jax.network.core import Core
from equivar_jax.network.model import Equivar
from equivar_jax.network.polarisation import Polarisation
from equivar_jax.prediction.backwards import derivatives_layer_by_layer
from equivar_jax.prediction.batches import LARGE, plan_batches
from equivar_jax.prediction.distances import Known, distances, known_of
from equivar_jax.prediction.layerwise import dipoles_layer_by_layer, tensors_layer_by_layer
from equivar_jax.prediction.members import Moments, Prediction, mean_and_spread, predictions_of
from equivar_jax.progress import announce_if_slow
from equivar_jax.runtime import require_precision, use_compilation_cache
from equivar_jax.uncertainty.features import FeatureDomain
from equivar_jax.weights.stacking import member_of

LARGE_BACKWARDS = 2048
"""A structure of more atoms is in no batch, if it takes derivatives: one atom takes more memory for these."""
PlannedBatch = tuple[list[int], Batch]
"""Indices of samples, and the batch that they were collated into."""


class NetworksInXla:
    """The networks of a checkpoint, compiled by XLA for each batch shape.

    Args:
        network: The network.
        weights: Its weights; those of a committee have a leading axis with one entry for each member.
        members: Number of networks.
        dtype: Precision of the computation.
        features: What the last features of the training data of each network were like; none if not known.

    Raises:
        InputError: float64 is asked for without `jax_enable_x64`.
    """

    def __init__(
        self,
        network: Core,
        weights: dict,
        members: int,
        dtype: np.dtype,
        features: Sequence[FeatureDomain] = (),
    ):
        require_precision(dtype)
        use_compilation_cache()
        self.network, self.members, self.dtype = network, members, dtype
        self.weights = jax.tree.map(jax.numpy.asarray, weights)
        self.known = known_of(features, network.config.species, dtype) if features else None
        self._shapes: set[tuple] = set()
        self._last: Budget | None = None

    @property
    def dense(self) -> bool:
        """Whether batches need slots for the neighbours of each node (see `Budget`)."""
        return needs_slots(self.network.config.kernel, self.network.config.channels, self.dtype)

    def stage(self, samples: Sequence[Sample]) -> list[PlannedBatch]:
        """Collate samples to batches; another thread may do this ahead of `run`."""
        return [(members, self._collate(samples, members, budget)) for members, budget in self._plan(samples)]

    def run(
        self,
        samples: Sequence[Sample],
        staged: Iterable[PlannedBatch],
        progress: bool,
        advance: Callable[[int], object],
    ) -> list[Prediction]:
        """Predict samples that were staged, then each sample that is too large for a batch."""
        found: dict[int, Prediction] = {}
        charges = [float(sample.graph.globals["charge"][0]) for sample in samples]
        for members, batch in staged:
            sizes = batch.graph.n_node[: len(members)].tolist()
            raw, far = self._compute(batch.graph)
            far = None if far is None else far[:, : sum(sizes)]
            made = predictions_of(raw[:, : sum(sizes)], sizes, [charges[k] for k in members], far)
            found.update(zip(members, made, strict=True))
            advance(sum(sizes))
        for k, sample in enumerate(samples):
            if k not in found:
                atoms = len(sample.graph.nodes["species"])
                far = None if self.known is None else np.zeros((self.members, atoms))
                moments = self.moments_layer_by_layer(sample.graph, progress, far)
                found[k] = Prediction.of(moments, charges[k], None if far is None else far.mean(axis=0))
                advance(atoms)
        return [found[k] for k in range(len(samples))]

    def dielectric(self, samples: Sequence[Sample]) -> Float[np.ndarray, "members structures 3 3"]:
        """Compute the mean over the atoms of the dielectric readout, for each network and structure."""
        found = np.zeros((self.members, len(samples), 3, 3))
        for members, batch in self.stage(samples):
            means = _apply_dielectric(self.network, self.weights, batch.graph, self.members)
            found[:, members] = np.asarray(means)[:, : len(members)]
        return found

    def dipoles(
        self, samples: Sequence[Sample], staged: Iterable[PlannedBatch]
    ) -> list[Float[np.ndarray, "members atoms 3"]]:
        """Compute the dipoles of the atoms in e Å, of a network in the form of a polarisation."""
        network = self.network
        assert isinstance(network, Polarisation)
        found: dict[int, np.ndarray] = {}
        for members, batch in staged:
            sizes = batch.graph.n_node[: len(members)]
            atomic = np.asarray(_apply_dipoles(self.network, self.weights, batch.graph, self.members))
            cuts = np.cumsum(sizes)
            found.update(zip(members, np.split(atomic.astype(np.float64), cuts, axis=1)[:-1], strict=True))
        for k, sample in enumerate(samples):
            if k not in found:
                each = [dipoles_layer_by_layer(network, one, sample.graph) for one in self._each()]
                found[k] = np.stack(each)
        return [found[k] for k in range(len(samples))]

    def raw_tensors(self, graph: jraph.GraphsTuple) -> Float[np.ndarray, "members nodes 3 3"]:
        """Compute the tensors of the nodes of a batch by each network, before the sum rule, in e."""
        return self._compute(graph)[0]

    def _compute(
        self, graph: jraph.GraphsTuple
    ) -> tuple[Float[np.ndarray, "members nodes 3 3"], Float[np.ndarray, "members nodes"] | None]:
        """Compute the tensors of the nodes of a batch, and how far their features are from the known ones."""
        shape = tuple(leaf.shape for leaf in jax.tree.leaves(graph))
        new = shape not in self._shapes
        self._shapes.add(shape)
        words = "compiling the network for a new batch shape (kept for the next process)"
        with announce_if_slow(words) if new else contextlib.nullcontext():
            found = apply(self.network, self.weights, graph, self.members, self.known)
            raw, far = (found, None) if self.known is None else found
            return np.asarray(raw, np.float64), None if far is None else np.asarray(far, np.float64)

    def moments_layer_by_layer(
        self, graph: AnyGraph, progress: bool = False, far: Float[np.ndarray, "members atoms"] | None = None
    ) -> Moments:
        """Compute mean and spread of a structure too large for `raw_tensors`, with bounded memory.

        Args:
            graph: The structure.
            progress: Show a progress bar.
            far: Array to fill with the distances of its features, if those of the training data are known.
        """
        network = self.network

        def tensors(number: int, weights: dict) -> Float[np.ndarray, "atoms 3 3"]:
            wanted = None
            if self.known is not None and far is not None:
                wanted = jax.tree.map(lambda leaf: leaf[number], self.known), far[number]
            if isinstance(network, Polarisation):
                if wanted is not None:
                    dipoles_layer_by_layer(network, weights, graph, wanted=wanted)
                return derivatives_layer_by_layer(network, weights, graph, progress=progress)
            assert isinstance(network, Equivar)
            return tensors_layer_by_layer(network, weights, graph, progress=progress, wanted=wanted)

        return mean_and_spread(itertools.starmap(tensors, enumerate(self._each())), self.members)

    def _each(self) -> Iterator[dict]:
        """Yield the weights of each network."""
        if self.members == 1:
            yield self.weights
            return
        for number in range(self.members):
            yield member_of(self.weights, number)

    def _plan(self, samples: Sequence[Sample]) -> list[tuple[list[int], Budget]]:
        """Plan batches; a structure alone takes the shape of the one before it if that has room for it.

        So a trajectory compiles once, though its numbers of neighbours go up and down.
        """
        largest = LARGE_BACKWARDS if isinstance(self.network, Polarisation) else LARGE
        plan = list(plan_batches(samples, self.dense, largest))
        if len(samples) == 1 and plan:
            ((members, budget),) = plan
            last = self._last  # another thread may set another one meanwhile
            if last is None or not _serves(last, samples[0], budget):
                last = self._last = budget
            plan = [(members, last)]
        return plan

    def _collate(self, samples: Sequence[Sample], members: Sequence[int], budget: Budget) -> Batch:
        return collate([samples[k] for k in members], budget, self.dtype.type)


def _serves(budget: Budget, sample: Sample, planned: Budget) -> bool:
    """Return whether a shape holds a structure, and has at most twice the room of the planned one."""
    counts = neighbour_counts(sample.graph)
    fits = len(counts) < budget.nodes and counts.sum() <= budget.edges
    fits &= counts.max() <= budget.neighbours or not budget.neighbours
    return bool(fits and budget.nodes <= 2 * planned.nodes and budget.edges <= 2 * planned.edges)


@functools.partial(jax.jit, static_argnums=(0, 3))
def apply(model: Core, weights, graph, members: int, known: Known | None = None):
    """Compute the tensors [member, node, 3, 3] of a batch before the sum rule, in e.

    There is one compilation for each network, batch shape and number of members, whoever holds the network.
    With `known` it returns a pair: the tensors, and the distances [member, node] of the features (see
    `distances`).
    """

    def one(weights, known):
        tensors = model.apply(weights, graph)
        if known is None:
            return tensors
        features = model.apply(weights, graph, method="last_features")  # XLA computes them once
        return tensors, distances(features, jax.numpy.asarray(graph.nodes["species"]), known)

    if members > 1:
        return jax.vmap(one)(weights, known)
    alone = one(weights, jax.tree.map(lambda leaf: leaf[0], known))
    return jax.tree.map(lambda leaf: leaf[None], alone)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _apply_dipoles(model: Core, weights, graph, members: int):
    """Compute the dipoles [member, node, 3] of the nodes of a batch in e Å."""

    def one(params):
        return model.apply(params, graph, method="dipoles")

    return one(weights)[None] if members == 1 else jax.vmap(one)(weights)


@functools.partial(jax.jit, static_argnums=(0, 3))
def _apply_dielectric(model: Core, weights, graph, members: int):
    """Compute the means [member, graph, 3, 3] of the dielectric readout over the atoms of each graph."""

    def one(params):
        return model.apply(params, graph, method="dielectric_means")

    return one(weights)[None] if members == 1 else jax.vmap(one)(weights)
