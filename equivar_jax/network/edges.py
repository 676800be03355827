"""Edge features, which the interactions read: radial basis, angular basis, and the species at both ends."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels import EdgeFeatures, Neighbours
from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM, SILU_SECOND_MOMENT
from equivar_jax.network.features import matmul, unit_normal, zeros
from equivar_jax.network.harmonics import spherical_harmonics
from equivar_jax.network.radial import cosine_envelope, gaussian_basis


def embed_edges(graph: jraph.GraphsTuple, config: ModelConfig) -> EdgeFeatures:
    """Compute radial basis and real spherical harmonics (component normalisation, l = 0, 1, 2) of every edge.

    Args:
        graph: See `Equivar.__call__`.
        config: Cutoff and number of the radial functions, and whether an envelope ends them smoothly.
    """
    vectors = graph.edges["vectors"]
    # The two `where`s keep the gradient finite even for an edge of length zero, should one slip in.
    square = jnp.sum(vectors**2, axis=-1)
    is_positive = square > 0
    distances = jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, square, 1.0)), 0.0)
    nodes = graph.nodes
    return EdgeFeatures(
        basis=gaussian_basis(distances, config.cutoff, config.radial_functions),
        harmonics=spherical_harmonics(vectors),
        # It multiplies the radial function, not the basis: else the bias of that function would be left at
        # the cutoff.
        envelope=cosine_envelope(distances, config.cutoff) if config.envelope else None,
        neighbours=Neighbours(graph.senders, nodes["first_edge"], nodes["neighbours"], nodes["slots"]),
    )


class SpeciesBasis(nn.Module):
    """Radial functions that depend on the species at both ends of an edge: a perceptron of two layers.

    It computes `silu(W2 silu(W1 G(r) + A[species of the receiver] + B[species of the sender]))`, once for all
    interactions; each interaction mixes these functions with weights of its own.
    """

    config: ModelConfig

    def setup(self) -> None:
        """Make the weights. Flax calls this."""
        width, depth = self.config.edge_hidden, self.config.embedding
        self.radial = self.param("radial", unit_normal, (self.config.radial_functions, width))
        self.ends = self.param("ends", unit_normal, (2, depth, width))
        self.mix = self.param("mix", unit_normal, (width, width))
        self.bias = self.param("bias", zeros, (width,))

    def make_weights(self) -> None:
        """Make the weights and compute nothing; `setup` does it when the first method is called."""

    def __call__(
        self,
        basis: Float[Array, "edges functions"],
        embedding: Float[Array, "species embedding"],
        graph: jraph.GraphsTuple,
    ) -> Float[Array, "edges hidden"]:
        """Compute the radial functions; their second moments are about one.

        Args:
            basis: Gaussians of the edge lengths.
            embedding: Vectors of the elements, by atomic number.
            graph: Its `nodes["species"]` must hold all nodes that `senders` and `receivers` point at.
        """
        width, depth = self.config.edge_hidden, embedding.shape[1]
        species = graph.nodes["species"]
        receiver, sender = (matmul(embedding.astype(basis.dtype), end) / depth**0.5 for end in self.ends)
        hidden = matmul(basis, self.radial) / GAUSSIAN_SQUARE_SUM**0.5
        hidden = hidden + receiver[species[graph.receivers]] + sender[species[graph.senders]]
        hidden = silu(hidden / 3**0.5)
        return silu(matmul(hidden, self.mix) / width**0.5 + self.bias.astype(basis.dtype))


def silu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Return `x / (1 + e^-x)`, scaled so that a unit normal variable gives a unit second moment."""
    return jax.nn.silu(x) / SILU_SECOND_MOMENT**0.5
