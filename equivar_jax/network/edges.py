"""Parts of the edge features, which the interactions read: lengths, and the species at both ends."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels import Neighbours
from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM, SILU_SECOND_MOMENT
from equivar_jax.network.features import matmul, unit_normal, zeros


def edge_lengths(vectors: Float[Array, "edges 3"]) -> Float[Array, " edges"]:
    """Compute the lengths of edges; the gradient is finite even for an edge of length zero."""
    square = jnp.sum(vectors**2, axis=-1)
    is_positive = square > 0
    return jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, square, 1.0)), 0.0)


def neighbours_of(graph: jraph.GraphsTuple) -> Neighbours:
    """Return the edges of every node as the kernels read them."""
    nodes = graph.nodes
    return Neighbours(graph.senders, nodes["first_edge"], nodes["neighbours"], nodes["slots"])


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
