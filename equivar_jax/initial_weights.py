"""Where training starts: weights under which messages have unit variance on typical structures."""

import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float

from equivar_jax.kernels import HIDDEN
from equivar_jax.model import Equivar

SMALLEST_MESSAGE = 1e-2
"""Root mean square below which a message is left as it is."""


def unit_variance(model: Equivar, params: dict, graph: jraph.GraphsTuple) -> dict:
    """Initial weights under which the messages of every interaction have unit variance on `graph`.

    Neighbours at equal distances add up coherently, so the variance of a message depends on the structures.
    Layer by layer, the linear weights of each irrep are divided by the measured root mean square
    (layer-sequential unit variance; Mishkin and Matas, ICLR 2016).

    Args:
        model: The network.
        params: Weights as drawn by `model.init`.
        graph: Typical structures.

    Returns:
        The weights, with `linear_weight` rescaled.
    """
    is_atom = (jnp.asarray(graph.nodes["species"]) > 0)[:, None, None]

    @jax.jit
    def message_sizes(params):
        messages = model.apply(params, graph, mutable="intermediates")[1]["intermediates"]
        return jax.tree.map(
            lambda m: jnp.sqrt(jnp.sum(m**2 * is_atom) / (is_atom.sum() * m[0].size)), messages
        )

    for layer in range(model.config.interactions):
        name = f"interaction_{layer}"
        sizes = {irrep: size for irrep, (size,) in message_sizes(params)[name].items()}
        # What is tiny vanishes by the crystals' symmetry, and only rounding would be enlarged.
        factors = jnp.array([_inverse(sizes.get(str(ir), 1.0)) for ir in HIDDEN])
        weights = params["params"][name]
        scaled = {**weights, "linear_weight": weights["linear_weight"] * factors[:, None, None]}
        params = {"params": {**params["params"], name: scaled}}
    return params


def _inverse(size: Float[Array, ""] | float) -> Float[Array, ""]:
    return jnp.where(jnp.asarray(size) > SMALLEST_MESSAGE, 1.0 / jnp.maximum(size, SMALLEST_MESSAGE), 1.0)
