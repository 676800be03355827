"""Initial weights of training: messages have unit variance on typical structures."""

import functools
from collections.abc import Iterable

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array

from equivar_jax.graphs.batch import Batch, Sample
from equivar_jax.kernels import HIDDEN
from equivar_jax.network.core import Core
from equivar_jax.network.polarisation import Polarisation

COMPILE_QUICKLY = {"xla_backend_optimization_level": 0}
"""Options of XLA for what runs a few times only, which is not worth the time of an optimising compiler."""
SMALLEST_MESSAGE = 1e-2
"""Root mean square below which a message is not rescaled."""
SMALLEST_TENSOR = 1e-6
"""Root mean square of tensors in e below which they are zero by symmetry, up to rounding."""
SMALLEST_SPREAD = 0.05
"""Smallest `element_scale` in e; the labels of an element that occurs once, or at one site, do not spread."""


def scale_to_unit_variance(model: Core, params: dict, graph: jraph.GraphsTuple) -> dict:
    """Scale initial weights so that the messages of every interaction have unit variance on `graph`.

    Neighbours at equal distances add up coherently, so the variance of a message depends on the structures.
    Layer by layer, the linear weights of each irrep are divided by the measured root mean square of its
    messages (layer-sequential unit variance; Mishkin and Matas, ICLR 2016).

    Args:
        model: The network.
        params: Weights as drawn by `model.init`.
        graph: Typical structures.

    Returns:
        The weights, with `linear_weight` rescaled.
    """
    for layer in range(model.config.interactions):
        name = f"interaction_{layer}"
        measured = _message_sizes(model, params, graph)[name]
        # A tiny message is zero by the symmetry of the crystals; scaling would only enlarge its rounding.
        sizes = [float(measured.get(str(ir), 1.0)) for ir in HIDDEN]
        factors = [1.0 / size if size > SMALLEST_MESSAGE else 1.0 for size in sizes]
        weights = params["params"][name]
        linear = np.asarray(weights["linear_weight"])
        linear = linear * np.array(factors, linear.dtype)[:, None, None]
        scaled = {**weights, "linear_weight": jnp.asarray(linear)}
        params = {"params": {**params["params"], name: scaled}}
    return params


@functools.partial(jax.jit, static_argnums=0, compiler_options=COMPILE_QUICKLY)
def _message_sizes(model: Core, params: dict, graph: jraph.GraphsTuple) -> dict[str, dict[str, Array]]:
    """Compute the root mean square of the messages of every interaction, by irrep."""
    is_atom = (graph.nodes["species"] > 0)[:, None, None]
    messages = model.apply(params, graph, method="last_features", mutable="intermediates")[1]["intermediates"]
    return {
        layer: {
            irrep: jnp.sqrt(jnp.sum(m**2 * is_atom) / (is_atom.sum() * m[0].size))
            for irrep, (m,) in of_layer.items()
        }
        for layer, of_layer in messages.items()
    }


def start_from_labels(params: dict, samples: Iterable[Sample]) -> dict:
    """Set the tables of elements, whichever a network has, from the labels: mean charge and spread of each.

    Args:
        params: Weights of a network, with `element_shift` and `element_scale`, or `element_charge`, or none.
        samples: The training part.

    Returns:
        The weights. `element_shift` and `element_charge` are the mean of trace/3 over the labels of an
        element, and `element_scale` the root mean square deviation of a component from that multiple of the
        identity, both in e; they are 0 and 1 for elements that do not occur.
    """
    old = params["params"]
    rows = len(old["embedding"])
    count, charges, squares = np.zeros((3, rows))
    for sample in samples:
        if sample.tensors is None:
            continue
        species = sample.graph.nodes["species"]
        np.add.at(count, species, 1)
        np.add.at(charges, species, np.trace(sample.tensors, axis1=1, axis2=2) / 3)
        np.add.at(squares, species, np.square(sample.tensors).sum(axis=(1, 2)))
    seen = count > 0
    mean = np.divide(charges, count, where=seen, out=np.zeros(rows))
    # sum over components of (Z - mean 1)^2 = sum Z^2 - 3 mean^2 on average
    variance = np.divide(squares, count, where=seen, out=np.full(rows, 9.0)) - 3 * mean**2
    scale = np.maximum(np.sqrt(np.maximum(variance, 0.0) / 9), SMALLEST_SPREAD)
    tables = {"element_shift": mean, "element_charge": mean, "element_scale": scale}
    known = {name: jnp.asarray(table, old[name].dtype) for name, table in tables.items() if name in old}
    return {"params": {**old, **known}}


def start_polarisation(
    network: Polarisation, params: dict, samples: Iterable[Sample], typical: Batch
) -> dict:
    """Set the tables of elements of the polarisation form from the labels.

    Args:
        network: The network.
        params: Its weights, with messages of unit variance.
        samples: The training part.
        typical: Some of it, with labels.

    Returns:
        The weights: charges as `start_from_labels` gives them, and one scale of the dipoles of all elements,
        with which the tensors of `typical` spread about the charges as the labels do.
    """
    params = start_from_labels(params, samples)["params"]
    is_atom = np.asarray(typical.node_mask)
    charges = params["element_charge"]
    bare = {"params": {**params, "element_charge": jnp.zeros_like(charges)}}
    found = np.asarray(_tensors(network, bare, typical.graph))[is_atom]
    centred = np.asarray(typical.tensors) - np.asarray(charges)[
        typical.graph.nodes["species"], None, None
    ] * np.eye(3)
    spread, own = (float(np.sqrt(np.mean(array**2))) for array in (centred[is_atom], found))
    scale = max(spread, SMALLEST_SPREAD) / own if own > SMALLEST_TENSOR else 1.0
    return {"params": {**params, "element_dipole": scale * params["element_dipole"]}}


@functools.partial(jax.jit, static_argnums=0, compiler_options=COMPILE_QUICKLY)
def _tensors(network: Polarisation, params: dict, graph: jraph.GraphsTuple) -> Array:
    return network.apply(params, graph)
