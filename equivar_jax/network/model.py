"""The network: embedding -> interactions -> readout (Kutana et al., Sci. Rep. 15, 2025).

All sizes come from `ModelConfig`; BM1 has 510,081 parameters and BM2 139,905. Weights start as unit normal
variables and every sum is divided by the root of its number of terms, so that features keep unit variance
where neighbours are independent; `initial_weights` measures what a crystal's equal bonds add to that and
takes it out. BM1 and BM2 are linear in the node features, so these constants only set where training starts.
BM3 (`configs/bm3.py`) and `configs/bm3_deep.py` turn on the envelope, and of the settings from `edge_hidden`
on those that pay for many compositions, and for one material.
"""

from collections.abc import Sequence

import e3nn_jax as e3nn
import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float, Int

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels import HIDDEN, EdgeFeatures, plan_products
from equivar_jax.network.edges import SpeciesBasis, embed_edges
from equivar_jax.network.features import PRECISION, Features, matmul, unit_normal, zeros
from equivar_jax.network.interaction import Interaction
from equivar_jax.network.periodic_table import periodic_table
from equivar_jax.network.tensor import OUTPUT_IRREPS, apply_sum_rule, graph_of_node, irreps_to_cartesian

READOUT = tuple(ir for _, ir in OUTPUT_IRREPS)
SYMMETRIC = (READOUT[0], READOUT[2])  # 0e and 2e: those of a symmetric tensor


class Equivar(nn.Module):
    """Born effective charges of a batch of graphs, before the acoustic sum rule.

    The graph has its edges sorted by receiver (see `equivar_jax.graphs.batch.graph_of` and `collate`).
    """

    config: ModelConfig

    def setup(self) -> None:
        """Weights and layers; the last interaction computes only what the readout reads."""
        config, f = self.config, self.config.channels
        self.make_core([_needed(config, layer) for layer in range(config.interactions)])
        self.lin1_weight = self.param("lin1_weight", unit_normal, (len(READOUT), f))
        self.lin1_bias = self.param("lin1_bias", zeros, ())
        if config.element_shift:
            self.element_scale = self.param("element_scale", nn.initializers.ones, (config.species,))
            self.element_shift = self.param("element_shift", zeros, (config.species,))
        if config.dielectric:
            self.dielectric_weight = self.param("dielectric_weight", unit_normal, (len(SYMMETRIC), f))
            self.dielectric_bias = self.param("dielectric_bias", zeros, ())

    def make_core(self, needed: Sequence[tuple[e3nn.Irrep, ...]]) -> None:
        """Everything before the readout, for `setup`.

        Args:
            needed: Irreps that something reads after each interaction.
        """
        config, f = self.config, self.config.channels
        start = periodic_table if config.periodic_table else unit_normal
        self.embedding = self.param("embedding", start, (config.species, config.embedding))
        self.lin0_weight = self.param("lin0_weight", unit_normal, (config.embedding, f))
        self.lin0_bias = self.param("lin0_bias", zeros, (f,))
        self.interaction = [Interaction(config, irreps) for irreps in needed]
        if config.edge_hidden:
            self.species_basis = SpeciesBasis(config)

    def __call__(self, graph: jraph.GraphsTuple) -> Float[Array, "nodes 3 3"]:
        """Tensors [node, field direction, displacement direction] in e.

        Args:
            graph: `nodes["species"]` [N] atomic numbers; node i receives the `nodes["neighbours"][i]` edges
                from `nodes["first_edge"][i]` on, others are padding; `nodes["slots"]` [N, K] the same as a
                table, K = 0 where the kernel needs none; `edges["vectors"]` [E, 3] from receiver to sender in
                Å, of any length but zero in padding; `senders` and `receivers` [E].

        Returns:
            Shape (N, 3, 3), in the precision of the vectors.

        Raises:
            ValueError: `config.mean_neighbours` is not set, or a kernel needs slots that are not there.
        """
        features, species = self.last_features(graph), jnp.asarray(graph.nodes["species"])
        return self.read_out(features, species)

    def with_dielectric(
        self, graph: jraph.GraphsTuple
    ) -> tuple[Float[Array, "nodes 3 3"], Float[Array, "graphs 3 3"]]:
        """What calling it gives, and the electronic dielectric tensor of each graph (`config.dielectric`)."""
        features, species = self.last_features(graph), jnp.asarray(graph.nodes["species"])
        return self.read_out(features, species), self.read_out_dielectric(features, jnp.asarray(graph.n_node))

    def last_features(self, graph: jraph.GraphsTuple) -> Features:
        """Node features after the last interaction: what the readouts read."""
        graph = jax.tree.map(jnp.asarray, graph)  # batches are made in NumPy
        edges = self.embed_edges(graph)
        species = graph.nodes["species"]
        features = self.embed_species(species, edges.basis.dtype)
        for layer in range(self.config.interactions):
            features = self.interact(layer, features, features, edges, species)
        return features

    def embed_edges(self, graph: jraph.GraphsTuple) -> EdgeFeatures:
        """Radial and angular basis of the edges; `config.edge_hidden` reads the species at both ends."""
        edges = embed_edges(graph, self.config)
        if not self.config.edge_hidden:
            return edges
        return edges._replace(basis=self.species_basis(edges.basis, self.embedding, graph))

    def embed_species(self, species: Int[Array, " nodes"], dtype: jnp.dtype) -> Features:
        """Table by atomic number, then lin0: scalars only, every other degree starts at zero."""
        scalars = matmul(self.embedding[species].astype(dtype), self.lin0_weight)
        scalars = scalars / self.config.embedding**0.5 + self.lin0_bias
        return Features(HIDDEN[:1], scalars[:, None, :].astype(dtype))

    def interact(
        self, layer: int, table: Features, own: Features, edges: EdgeFeatures, species: Int[Array, " nodes"]
    ) -> Features:
        """New features of the nodes that receive.

        Args:
            layer: Number of the interaction.
            table: Features of the nodes that senders point into.
            own: Features of the nodes that receive.
            edges: Of the nodes that receive.
            species: Of the nodes that receive.
        """
        return self.interaction[layer](table, own, edges, species)

    def read_out(self, features: Features, species: Int[Array, " nodes"]) -> Float[Array, "nodes 3 3"]:
        """lin1: channels to one 0e + 1e + 2e, with a bias on the scalar; as a Cartesian tensor.

        With `config.element_shift` scaled by a factor of each node's species, and shifted by a charge of it.
        """
        parts = [_one_channel(features, ir, self.lin1_weight[k]) for k, ir in enumerate(READOUT)]
        tensors = irreps_to_cartesian(jnp.concatenate(parts, axis=1).at[:, 0].add(self.lin1_bias))
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
        """Electronic dielectric tensor `1 + (1 + S)²`, S the mean over a graph's atoms of one 0e + 2e.

        The square keeps it symmetric with no eigenvalue below that of vacuum, as for a crystal in its ground
        state. The mean is the same for every supercell; padding makes a graph of its own.
        """
        scalar, quadrupole = (
            _one_channel(features, ir, self.dielectric_weight[k]) for k, ir in enumerate(SYMMETRIC)
        )
        antisymmetric = jnp.zeros((len(scalar), 3), scalar.dtype)
        atomic = irreps_to_cartesian(
            jnp.concatenate([scalar + self.dielectric_bias, antisymmetric, quadrupole], axis=1)
        )
        owner = graph_of_node(atom_counts, len(atomic))
        sums = jax.ops.segment_sum(atomic, owner, atom_counts.shape[0], indices_are_sorted=True)
        identity = jnp.eye(3, dtype=sums.dtype)
        root = identity + sums / jnp.maximum(atom_counts, 1)[:, None, None]
        return identity + jnp.einsum("gac,gbc->gab", root, root, precision=PRECISION)


def live_irreps(config: ModelConfig, layer: int) -> tuple[e3nn.Irrep, ...]:
    """Irreps of the features that are not zero before interaction number `layer`, or after the last one."""
    irreps = HIDDEN[:1]
    for before in range(layer):
        needed = _needed(config, before)
        reached = plan_products(irreps, needed).outputs
        irreps = tuple(ir for ir in HIDDEN if ir in needed and (ir in irreps or ir in reached))
    return irreps


def _needed(config: ModelConfig, layer: int) -> tuple[e3nn.Irrep, ...]:
    """Irreps that something reads after an interaction."""
    return READOUT if layer == config.interactions - 1 else HIDDEN


def born_effective_charges(
    model: Equivar, params: dict, graph: jraph.GraphsTuple
) -> Float[Array, "nodes 3 3"]:
    """The network followed by the acoustic sum rule: a pure function for `jit`, `vmap` and `grad`.

    Args:
        model: The network.
        params: Its weights.
        graph: See `Equivar.__call__`; `globals["charge"]` [G] net charges in e, `n_node` [G].

    Returns:
        Tensors [node, field direction, displacement direction] in e, summing to the net charge of each graph.
    """
    graph = jax.tree.map(jnp.asarray, graph)  # batches are made in NumPy
    return apply_sum_rule(model.apply(params, graph), graph.n_node, graph.globals["charge"])


def displace(graph: jraph.GraphsTuple, displacements: Float[Array, "nodes 3"]) -> jraph.GraphsTuple:
    """The graph with its atoms moved: `r_ij + u_j - u_i`, the same edges.

    Args:
        graph: See `Equivar.__call__`.
        displacements: u in Å. Differentiate with respect to it for gradients in the positions.

    Returns:
        The graph with new edge vectors; valid while no pair crosses the cutoff.
    """
    moved = graph.edges["vectors"] + displacements[graph.senders] - displacements[graph.receivers]
    return graph._replace(edges={**graph.edges, "vectors": moved})


def count_parameters(params: dict) -> int:
    """Number of weights in a tree of parameters."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def _one_channel(features: Features, irrep: e3nn.Irrep, weight: Array) -> Float[Array, "nodes dim"]:
    """The channels of one irrep summed into one; zero where there are too few interactions to reach it."""
    if irrep not in features.irreps:
        return jnp.zeros((features.array.shape[0], irrep.dim), features.array.dtype)
    return matmul(features.part(irrep), weight) / weight.shape[0] ** 0.5
