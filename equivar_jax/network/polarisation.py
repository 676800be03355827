"""The polarisation form: Born effective charges as derivatives of a polarisation.

The network gives every atom a dipole mu_i, which depends on its neighbourhood, and every element a charge q.
With displacements u of the atoms from where they are, the dipole of the cell is

    V P_a(u) = sum_i mu_i,a(u) + q_i u_i,a,        Z[i, a, b] = V dP_a / du_i,b,

as in Allegro-pol (Falletta et al., Nat. Commun. 2025) and MACE-Field (Martin et al., arXiv:2508.17870). Then

- the acoustic sum rule holds: moving all atoms together changes no neighbourhood, so that `sum_i Z_i` is
  `sum_i q_i 1`, and the charges q are shifted by one number in each structure so that they sum up to its net
  charge;
- the work of a field E along a path, `sum E_a Z[i, a, b] du_i,b`, depends on its ends alone, and
  `energy - V E.P` is an energy;
- labels of P are not needed. They would not determine more than Z does but for a constant and, in a periodic
  crystal, a quantum. What P is determined up to is said in `equivar_jax.prediction.polarisation`.
"""

import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float, Int

from equivar_jax.kernels import EdgeFeatures, Irrep, RadialSlope
from equivar_jax.network.core import Core
from equivar_jax.network.edges import edge_lengths, neighbours_of
from equivar_jax.network.features import Features, matmul, ones, unit_normal, zeros
from equivar_jax.network.harmonics import spherical_harmonics
from equivar_jax.network.tensor import apply_sum_rule, graph_of_node

VECTOR = Irrep.parse("1o")


class Polarisation(Core):
    """Born effective charges of a batch of graphs as derivatives of its polarisation."""

    def setup(self) -> None:
        """Make weights and layers. Flax calls this."""
        config, f = self.config, self.config.channels
        self.make_core()
        self.dipole_weight = self.param("dipole_weight", unit_normal, (f,))
        self.element_dipole = self.param("element_dipole", ones, (config.species,))
        self.element_charge = self.param("element_charge", zeros, (config.species,))

    def __call__(self, graph: jraph.GraphsTuple) -> Float[Array, "nodes 3 3"]:
        """Compute the Born effective charges of all nodes, which obey the acoustic sum rule.

        Args:
            graph: See `Equivar.__call__`; also `n_node` [G] and `globals["charge"]` [G], net charges in e.

        Returns:
            Tensors [node, a = field direction, b = displacement direction] in e.

        Raises:
            ValueError: `config.mean_neighbours` is not set, or the kernel needs slots and there are none.
        """
        return self.tensors_and_dipoles(graph)[0]

    def tensors_and_dipoles(
        self, graph: jraph.GraphsTuple
    ) -> tuple[Float[Array, "nodes 3 3"], Float[Array, "nodes 3"]]:
        """Compute the tensors as `__call__` does and, in the same pass, the dipoles as `dipoles` does.

        Args:
            graph: As `__call__` takes it.
        """
        graph = jax.tree.map(jnp.asarray, graph)  # batches are made in NumPy
        network, params = self.unbind()
        vectors, species = graph.edges["vectors"], graph.nodes["species"]
        dipoles, pullback = jax.vjp(
            lambda moved: network.apply(params, graph, moved, method="dipoles_of_moved_edges"),
            jnp.zeros_like(vectors),
        )
        # The structures of a batch do not know of each other: the sum over nodes has the derivatives of all.
        fields = jnp.broadcast_to(jnp.eye(3, dtype=dipoles.dtype)[:, None], (3, *dipoles.shape))
        (rows,) = jax.vmap(pullback)(fields)
        per_edge = jnp.swapaxes(rows, 0, 1)
        tensors = jnp.zeros((species.shape[0], 3, 3), per_edge.dtype)
        tensors = tensors.at[graph.senders].add(per_edge).at[graph.receivers].add(-per_edge)
        return tensors + self.charges(graph)[:, None, None] * jnp.eye(3, dtype=tensors.dtype), dipoles

    def dipoles(self, graph: jraph.GraphsTuple) -> Float[Array, "nodes 3"]:
        """Compute the dipoles mu of the atoms in e Å, which do not change when all atoms move together.

        Their sum is differentiable any number of times, in any mode, with respect to the edge vectors.
        """
        graph = jax.tree.map(jnp.asarray, graph)
        return self.read_out(self.last_features(graph), graph.nodes["species"])

    def charges(self, graph: jraph.GraphsTuple) -> Float[Array, " nodes"]:
        """Return the charges q of the nodes in e; those of a graph sum up to its net charge."""
        species = jnp.asarray(graph.nodes["species"])
        identity = self.element_charge[species][:, None, None] * jnp.eye(3)
        shifted = apply_sum_rule(identity, jnp.asarray(graph.n_node), jnp.asarray(graph.globals["charge"]))
        return shifted[:, 0, 0].astype(graph.edges["vectors"].dtype)

    def dipole_of_cell(
        self, graph: jraph.GraphsTuple, displacements: Float[Array, "nodes 3"]
    ) -> Float[Array, "graphs 3"]:
        """Compute V P in e Å of each graph, up to a constant: `sum_i mu_i + q_i u_i`.

        Args:
            graph: As `__call__` takes it, at the displaced positions.
            displacements: u in Å, from any reference that is the same for all configurations to compare, not
                wrapped into the cell.
        """
        atomic = self.dipoles(graph) + self.charges(graph)[:, None] * displacements
        owner = graph_of_node(jnp.asarray(graph.n_node), len(atomic))
        return jax.ops.segment_sum(atomic, owner, graph.n_node.shape[0], indices_are_sorted=True)

    def dipoles_of_moved_edges(
        self, graph: jraph.GraphsTuple, moved: Float[Array, "edges 3"]
    ) -> Float[Array, "nodes 3"]:
        """Compute the dipoles to first order in small changes of the edge vectors; see `move_edges`."""
        species = graph.nodes["species"]
        return self.read_out(self.features_of_edges(self.move_edges(graph, moved), species), species)

    def move_edges(self, graph: jraph.GraphsTuple, moved: Float[Array, "edges 3"]) -> EdgeFeatures:
        """Compute the features of edges to first order in small changes of their vectors.

        At zero the first derivatives by `moved` are those of `embed_edges`, for less: a radial function
        depends on the length of its edge alone, so its slope is computed once, forwards, for all directions.

        Args:
            graph: As `__call__` takes it.
            moved: Change of each edge vector in Å.
        """
        vectors = graph.edges["vectors"]
        lengths = edge_lengths(vectors)
        network, params = self.unbind()

        def radial(lengths):
            return network.apply(params, lengths, graph, method="radial_functions")

        (basis, envelope), slopes = jax.jvp(radial, (lengths,), (jnp.ones_like(lengths),))
        directions = vectors / jnp.where(lengths > 0, lengths, 1.0)[:, None]
        slope = RadialSlope(slopes[0], slopes[1], jnp.sum(directions * moved, axis=1))
        harmonics = spherical_harmonics(vectors + moved)
        return EdgeFeatures(basis, harmonics, envelope, neighbours_of(graph), slope)

    def read_out(self, features: Features, species: Int[Array, " nodes"]) -> Float[Array, "nodes 3"]:
        """Compute the dipole of each node in e Å from its features: vectors, mixed and scaled by element."""
        vectors = features.part(VECTOR)
        scale = self.element_dipole[species].astype(vectors.dtype)[:, None]
        return scale * matmul(vectors, self.dipole_weight) / self.config.channels**0.5
