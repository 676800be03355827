"""The network: embedding, interactions, readout (Kutana et al., Sci. Rep. 15, 2025).

All sizes come from `ModelConfig`; BM1 has 510,081 parameters and BM2 139,905. Weights start as unit normal
variables and every sum is divided by the root of its number of terms, so that features keep unit variance if
neighbours are independent. The equal bonds of a crystal are not; `initial_weights` measures the variance that
they add and takes it out. BM1 and BM2 are linear in the node features, so these constants only decide where
training starts. BM3 (`configs/bm3.py`) and `configs/bm3_deep.py` turn on the envelope, and those settings of
`ModelConfig` from `edge_hidden` on that pay off for many compositions (BM3) or for one material (`bm3_deep`).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Float, Int

from equivar_jax.kernels import Irrep
from equivar_jax.network.core import Core
from equivar_jax.network.features import PRECISION, Features, matmul, unit_normal, zeros
from equivar_jax.network.plan import READOUT, SYMMETRIC
from equivar_jax.network.tensor import apply_sum_rule, graph_of_node, irreps_to_cartesian


class Equivar(Core):
    """Born effective charges of a batch of graphs, before the acoustic sum rule."""

    def setup(self) -> None:
        """Make weights and layers. Flax calls this."""
        config, f = self.config, self.config.channels
        self.make_core()
        self.lin1_weight = self.param("lin1_weight", unit_normal, (len(READOUT), f))
        self.lin1_bias = self.param("lin1_bias", zeros, ())
        if config.element_shift:
            self.element_scale = self.param("element_scale", nn.initializers.ones, (config.species,))
            self.element_shift = self.param("element_shift", zeros, (config.species,))
        if config.dielectric:
            self.dielectric_weight = self.param("dielectric_weight", unit_normal, (len(SYMMETRIC), f))
            self.dielectric_bias = self.param("dielectric_bias", zeros, ())

    def __call__(self, graph: jraph.GraphsTuple) -> Float[Array, "nodes 3 3"]:
        """Compute the Born effective charges of all nodes, before the acoustic sum rule.

        Args:
            graph: `nodes["species"]` [N] are atomic numbers. Node i receives the `nodes["neighbours"][i]`
                edges from `nodes["first_edge"][i]` on; other edges are padding. `nodes["slots"]` [N, K] says
                the same as a table; K = 0 if the kernel needs none. `edges["vectors"]` [E, 3] lead from
                receiver to sender, in Å; those of padding may have any length but zero. `senders` and
                `receivers` are [E].

        Returns:
            Tensors [node, field direction, displacement direction] in e, shape (N, 3, 3), in the precision of
            the vectors.

        Raises:
            ValueError: `config.mean_neighbours` is not set, or the kernel needs slots and there are none.
        """
        features, species = self.last_features(graph), jnp.asarray(graph.nodes["species"])
        return self.read_out(features, species)

    def with_dielectric(
        self, graph: jraph.GraphsTuple
    ) -> tuple[Float[Array, "nodes 3 3"], Float[Array, "graphs 3 3"]]:
        """Compute what `__call__` does, and the electronic dielectric tensor of each graph.

        Args:
            graph: See `__call__`; `n_node` [G] too. The network must have been made with `config.dielectric`.
        """
        features, species = self.last_features(graph), jnp.asarray(graph.nodes["species"])
        return self.read_out(features, species), self.read_out_dielectric(features, jnp.asarray(graph.n_node))

    def read_out(self, features: Features, species: Int[Array, " nodes"]) -> Float[Array, "nodes 3 3"]:
        """Compute the Cartesian tensor of each node from its features.

        The linear layer lin1 reduces the channels to one 0e + 1e + 2e, with a bias on the scalar. With
        `config.element_shift` the tensor is then scaled by a factor of the node's species, and a charge of
        the species is added to its diagonal.
        """
        sums = _sum_channels(features, READOUT, self.lin1_weight)
        tensors = irreps_to_cartesian(_add_to_first(sums, self.lin1_bias))
        if not self.config.element_shift:
            return tensors
        scale, shift = (
            table[species].astype(tensors.dtype)[:, None, None]
            for table in (self.element_scale, self.element_shift)
        )
        return scale * tensors + shift * jnp.eye(3, dtype=tensors.dtype)

    def read_out_dielectric(
        self, features: Features, atom_counts: Int[Array, " graphs"]
    ) -> Float[Array, "graphs 3 3"]:
        """Compute the electronic dielectric tensor of each graph from the features of its nodes.

        It is `1 + (1 + S)²`, where S is the mean over the atoms of one 0e + 2e as a Cartesian tensor. The
        square makes the result symmetric and keeps its eigenvalues at or above 1, that of vacuum, as they are
        for a crystal in its ground state. The mean makes it the same for every supercell. Padding is a graph
        of its own.

        Args:
            features: Node features after the last interaction.
            atom_counts: Atoms of each graph, padding graph included.
        """
        root = jnp.eye(3) + self._mean_over_atoms(features, atom_counts)
        root = root.astype(features.array.dtype)
        return jnp.eye(3, dtype=root.dtype) + jnp.einsum("gac,gbc->gab", root, root, precision=PRECISION)

    def dielectric_means(self, graph: jraph.GraphsTuple) -> Float[Array, "graphs 3 3"]:
        """Compute the means S over the atoms that `read_out_dielectric` makes dielectric tensors of."""
        return self._mean_over_atoms(self.last_features(graph), jnp.asarray(graph.n_node))

    def _mean_over_atoms(
        self, features: Features, atom_counts: Int[Array, " graphs"]
    ) -> Float[Array, "graphs 3 3"]:
        """Compute the mean over the atoms of each graph of one 0e + 2e as a Cartesian tensor."""
        sums = _sum_channels(features, SYMMETRIC, self.dielectric_weight)
        scalar, quadrupole = jnp.split(sums, [1], axis=1)
        antisymmetric = jnp.zeros((len(scalar), 3), scalar.dtype)
        atomic = irreps_to_cartesian(
            jnp.concatenate([scalar + self.dielectric_bias, antisymmetric, quadrupole], axis=1)
        )
        owner = graph_of_node(atom_counts, len(atomic))
        sums = jax.ops.segment_sum(atomic, owner, atom_counts.shape[0], indices_are_sorted=True)
        return sums / jnp.maximum(atom_counts, 1)[:, None, None]


def born_effective_charges(
    model: Equivar, params: dict, graph: jraph.GraphsTuple
) -> Float[Array, "nodes 3 3"]:
    """Run the network and apply the acoustic sum rule: a pure function for `jit`, `vmap` and `grad`.

    Args:
        model: The network.
        params: Its weights.
        graph: See `Equivar.__call__`; also `globals["charge"]` [G], net charges in e, and `n_node` [G].

    Returns:
        Tensors [node, field direction, displacement direction] in e. Their sum over each graph is its net
        charge times the identity.
    """
    graph = jax.tree.map(jnp.asarray, graph)  # batches are made in NumPy
    return apply_sum_rule(model.apply(params, graph), graph.n_node, graph.globals["charge"])


def displace(graph: jraph.GraphsTuple, displacements: Float[Array, "nodes 3"]) -> jraph.GraphsTuple:
    """Move the atoms of a graph and keep its edges: `r_ij` becomes `r_ij + u_j - u_i`.

    Args:
        graph: See `Equivar.__call__`.
        displacements: u in Å. Differentiate with respect to it for gradients in the positions.

    Returns:
        The graph with new edge vectors; valid while no pair crosses the cutoff.
    """
    moved = graph.edges["vectors"] + displacements[graph.senders] - displacements[graph.receivers]
    return graph._replace(edges={**graph.edges, "vectors": moved})


def count_parameters(params: dict) -> int:
    """Count the weights in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _sum_channels(
    features: Features, irreps: tuple[Irrep, ...], weights: Float[Array, "irreps channels"]
) -> Float[Array, "nodes components"]:
    """Sum the channels of each irrep with weights; zero if too few interactions lead to that irrep."""
    selected = features.select(irreps)
    of_irrep = np.repeat(np.eye(len(irreps)) / weights.shape[1] ** 0.5, [ir.dim for ir in irreps], axis=0)
    of_component = matmul(jnp.asarray(of_irrep, selected.dtype), weights)
    return jnp.sum(selected * of_component, axis=2)


def _add_to_first(components: Float[Array, "nodes components"], bias: Array) -> Array:
    """Add a bias to the first component."""
    first = np.arange(components.shape[1]) == 0
    return components + bias * jnp.asarray(first, components.dtype)
