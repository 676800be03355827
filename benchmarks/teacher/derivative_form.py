"""The derivative form: Born effective charges as derivatives of a polarisation (Allegro-pol, MACE-Field).

`P_a = sum_i mu_i,a(u) + q_i u_i,a`, with atomic dipoles `mu` that mix the 1o features and charges `q` by
species, and `Z[i, a, b] = dP_a / du_i,b`. The sum rule holds since a translation changes no dipole.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float

from equivar_jax.graphs.batch import Batch, Sample
from equivar_jax.kernels import Irrep
from equivar_jax.network.features import matmul, unit_normal, zeros
from equivar_jax.network.initial_weights import scale_to_unit_variance, start_from_labels
from equivar_jax.network.model import Equivar, displace
from equivar_jax.network.tensor import apply_sum_rule

VECTOR = Irrep.parse("1o")


class Polarisation(Equivar):
    """The core of `Equivar` with atomic dipoles and charges as its readout."""

    unit: float = 1.0
    """Unit of the dipoles in e Å, not learned; with it the tensors start with the spread of the labels."""

    def __post_init__(self) -> None:
        """Let the last interaction compute what a readout of vectors reads, whatever the config is for."""
        object.__setattr__(self, "config", dataclasses.replace(self.config, form="polarisation"))
        super().__post_init__()

    def setup(self) -> None:
        """Make weights and layers. Flax calls this."""
        config, f = self.config, self.config.channels
        self.make_core()
        self.dipole_weight = self.param("dipole_weight", unit_normal, (f,))
        self.charge = self.param("charge", zeros, (config.species,))

    def __call__(self, graph: jraph.GraphsTuple) -> Float[Array, "nodes 3"]:
        """Compute atomic dipoles mu in e Å, which do not change when all atoms move together."""
        features = self.last_features(graph).part(VECTOR)
        return self.unit * matmul(features, self.dipole_weight) / self.config.channels**0.5

    def charges(self, graph: jraph.GraphsTuple) -> Float[Array, " nodes"]:
        """Return charges q in e by species, not yet shifted to the net charge of the graph."""
        return self.charge[jnp.asarray(graph.nodes["species"])]


def derivative_tensors(
    model: Polarisation, params: dict, graph: jraph.GraphsTuple
) -> Float[Array, "nodes 3 3"]:
    """Compute `dP_a / du_i,b` [node, a = field, b = displacement] in e, by three reverse passes."""
    graph = jax.tree.map(jnp.asarray, graph)
    dtype = graph.edges["vectors"].dtype
    still, identity = jnp.zeros((len(graph.nodes["species"]), 3), dtype), jnp.eye(3, dtype=dtype)
    _, pullback = jax.vjp(lambda u: model.apply(params, displace(graph, u)).sum(axis=0), still)
    (rows,) = jax.vmap(pullback)(identity)
    charges = model.apply(params, graph, method="charges").astype(dtype)[:, None, None] * identity
    # The sum rule is applied to the charges alone, which it shifts; the dipoles obey it by themselves.
    return jnp.swapaxes(rows, 0, 1) + apply_sum_rule(charges, graph.n_node, graph.globals["charge"])


def draw_first_weights(model: Polarisation, seed: int, typical: Batch, samples: Sequence[Sample]) -> dict:
    """Draw weights that give unit variance, with charges that are the mean labels of each species.

    Args:
        model: The network.
        seed: Of the random numbers.
        typical: One structure on which variances are measured.
        samples: The training part.
    """
    params = {"params": jax.jit(model.init)(jax.random.key(seed), typical.graph)["params"]}
    params = scale_to_unit_variance(model, params, typical.graph)
    nothing = params["params"]["charge"]
    tables = {"params": {"element_shift": nothing, "element_scale": nothing}}
    charges = start_from_labels(tables, samples)["params"]["element_shift"]
    return {"params": {**params["params"], "charge": charges}}


def find_unit(model: Polarisation, params: dict, typical: Batch) -> Float[Array, ""]:
    """Return the `unit` with which the tensors of one structure have the spread of its labels."""
    charges = params["params"]["charge"]
    bare = {"params": {**params["params"], "charge": jnp.zeros_like(charges)}}
    found = derivative_tensors(model, bare, typical.graph)
    centred = typical.tensors - charges[typical.graph.nodes["species"], None, None] * np.eye(3)
    spreads = [jnp.sqrt(jnp.mean(array[typical.node_mask] ** 2)) for array in (centred, found)]
    return model.unit * spreads[0] / spreads[1]
