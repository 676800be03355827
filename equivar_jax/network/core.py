"""The core of the networks: embedding of elements and edges, and interactions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float, Int

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels import HIDDEN, EdgeFeatures
from equivar_jax.network.edges import SpeciesBasis, edge_lengths, neighbours_of
from equivar_jax.network.features import Features, matmul, unit_normal, zeros
from equivar_jax.network.harmonics import spherical_harmonics
from equivar_jax.network.interaction import Interaction
from equivar_jax.network.periodic_table import periodic_table
from equivar_jax.network.plan import irreps_after, irreps_read_after
from equivar_jax.network.radial import cosine_envelope, gaussian_basis


class Core(nn.Module):
    """Everything before the readout: embedding, edge features, interactions.

    The edges of a graph must be sorted by receiver (as `equivar_jax.graphs.batch.graph_of` and `collate` do).
    """

    config: ModelConfig

    def make_core(self) -> None:
        """Make the weights and layers of everything before the readout."""
        config, f = self.config, self.config.channels
        start = periodic_table if config.periodic_table else unit_normal
        self.embedding = self.param("embedding", start, (config.species, config.embedding))
        self.lin0_weight = self.param("lin0_weight", unit_normal, (config.embedding, f))
        self.lin0_bias = self.param("lin0_bias", zeros, (f,))
        live, layers = HIDDEN[:1], []
        for layer in range(config.interactions):
            irreps = irreps_read_after(config, layer)
            layers.append(Interaction(config, irreps, live))
            live = irreps_after(live, irreps)
        self.interaction = layers
        if config.edge_hidden:
            self.species_basis = SpeciesBasis(config)

    def make_weights(self) -> None:
        """Make all weights and compute nothing: `init(key, method="make_weights")` needs no graph."""
        for layer in self.interaction:
            layer.make_weights()
        if self.config.edge_hidden:
            self.species_basis.make_weights()

    def last_features(self, graph: jraph.GraphsTuple) -> Features:
        """Compute the node features after the last interaction, which the readouts read."""
        graph = jax.tree.map(jnp.asarray, graph)  # batches are made in NumPy
        return self.features_of_edges(self.embed_edges(graph), graph.nodes["species"])

    def features_of_edges(self, edges: EdgeFeatures, species: Int[Array, " nodes"]) -> Features:
        """Compute the node features after the last interaction from the features of the edges."""
        features = self.embed_species(species, edges.basis.dtype)
        for layer in range(self.config.interactions):
            features = self.interact(layer, features, features, edges, species)
        return features

    def embed_edges(self, graph: jraph.GraphsTuple) -> EdgeFeatures:
        """Compute the features of the edges.

        With `config.edge_hidden` their radial functions depend on the species at both ends.
        """
        vectors = graph.edges["vectors"]
        basis, envelope = self.radial_functions(edge_lengths(vectors), graph)
        return EdgeFeatures(basis, spherical_harmonics(vectors), envelope, neighbours_of(graph))

    def radial_functions(
        self, lengths: Float[Array, " edges"], graph: jraph.GraphsTuple
    ) -> tuple[Float[Array, "edges functions"], Float[Array, " edges"] | None]:
        """Compute radial basis and envelope of edges as if they had these lengths in Å."""
        basis = gaussian_basis(lengths, self.config.cutoff, self.config.radial_functions)
        if self.config.edge_hidden:
            basis = self.species_basis(basis, self.embedding, graph)
        # The envelope multiplies the radial function, not the basis: else the bias of that function would be
        # left at the cutoff.
        return basis, cosine_envelope(lengths, self.config.cutoff) if self.config.envelope else None

    def embed_species(self, species: Int[Array, " nodes"], dtype: jnp.dtype) -> Features:
        """Look up the vector of each element, and turn it into node features by the linear layer lin0.

        These are scalars only; the features of all other irreps start at zero.
        """
        scalars = matmul(self.embedding[species].astype(dtype), self.lin0_weight)
        scalars = scalars / self.config.embedding**0.5 + self.lin0_bias
        return Features(HIDDEN[:1], scalars[:, None, :].astype(dtype))

    def interact(
        self, layer: int, table: Features, own: Features, edges: EdgeFeatures, species: Int[Array, " nodes"]
    ) -> Features:
        """Run one interaction and return the new features of the nodes that receive.

        Args:
            layer: Number of the interaction.
            table: Features of all nodes that senders point into.
            own: Features of the nodes that receive.
            edges: Features of the edges of these nodes.
            species: Atomic numbers of these nodes.
        """
        return self.interaction[layer](table, own, edges, species)
