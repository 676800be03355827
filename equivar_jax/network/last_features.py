"""The features of atoms after the last interaction of a network, for many structures."""

import functools
from collections.abc import Sequence

import jax
import jraph
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.config.schema import ModelConfig
from equivar_jax.graphs.batch import Sample, collate
from equivar_jax.graphs.packing import Budget, GraphSizes, pack
from equivar_jax.kernels.whole_network import (
    LastFeatures,
    Structures,
    fills_vectors,
    reason_unavailable,
    run,
    run_polarisation,
)
from equivar_jax.network.compiled import write_tape
from equivar_jax.network.core import Core
from equivar_jax.network.forms import make_network
from equivar_jax.network.plan import live_irreps

_DTYPE = np.dtype(np.float32)


def feature_dims(config: ModelConfig) -> tuple[int, ...]:
    """Return the number of components of each irrep of the last features, 0e first."""
    return tuple(ir.dim for ir in live_irreps(config, config.interactions))


def last_features(
    config: ModelConfig, params: dict, samples: Sequence[Sample], budgets: Sequence[Budget]
) -> Float[np.ndarray, "atoms components channels"]:
    """Compute the last features of the atoms of structures, one structure after the other.

    They are computed in C++ where it is there, which compiles nothing, else by JAX.

    Args:
        config: The network.
        params: Its weights.
        samples: The structures.
        budgets: Batch shapes that hold them, for JAX.
    """
    if not fills_vectors(config.channels, _DTYPE) or reason_unavailable() is not None:
        return _by_jax(make_network(config), params, samples, budgets)
    tape, components, found = write_tape(config, params, _DTYPE), sum(feature_dims(config)), []
    for sample in samples:
        graph = sample.graph
        own = np.empty((len(graph.nodes["species"]), components, config.channels), _DTYPE)
        structures = Structures.join(
            [graph.nodes["species"]], [graph.senders], [graph.receivers], [graph.edges["vectors"]]
        )
        wanted = LastFeatures(features=own)
        if config.form == "polarisation":
            run_polarisation(tape, structures, tensors=False, wanted=wanted)
        else:
            run(tape, structures, wanted=wanted)
        found.append(own)
    return np.concatenate(found)


def _by_jax(
    network: Core, params: dict, samples: Sequence[Sample], budgets: Sequence[Budget]
) -> Float[np.ndarray, "atoms components channels"]:
    found: dict[int, np.ndarray] = {}
    for bucket, members in pack(GraphSizes.of(s.graph for s in samples), budgets, range(len(samples))):
        batch = collate([samples[k] for k in members], budgets[bucket])
        ends = np.cumsum(batch.graph.n_node)[: len(members)]
        features = np.split(np.asarray(_apply(network, params, batch.graph)), ends)
        found.update(zip(members, features, strict=False))  # what is left over is padding
    return np.concatenate([found[k] for k in range(len(samples))])


@functools.partial(jax.jit, static_argnums=0)
def _apply(network: Core, params: dict, graph: jraph.GraphsTuple) -> Array:
    return network.apply(params, graph, method="last_features").array
