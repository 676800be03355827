"""The network: embedding -> interactions -> readout (Kutana et al., Sci. Rep. 15, 2025).

All sizes come from `ModelConfig`; BM1 has 510,081 parameters and BM2 139,905. Weights start as unit normal
variables and every sum is divided by the root of its number of terms, so that features keep unit variance
where neighbours are independent; `initial_weights` measures what a crystal's equal bonds add to that and
takes it out. The network is linear in the node features, so these constants only set where training starts.
"""

from typing import NamedTuple

import e3nn_jax as e3nn
import flax.linen as nn
import jax
import jax.numpy as jnp
import jraph
from jaxtyping import Array, Float, Int

from equivar_jax.config import ModelConfig
from equivar_jax.kernels import (
    HIDDEN,
    PATHS,
    EdgeFeatures,
    MessageWeights,
    Neighbours,
    ProductPlan,
    message,
    offsets,
    plan_products,
)
from equivar_jax.radial import GAUSSIAN_SQUARE_SUM, cosine_envelope, gaussian_basis
from equivar_jax.tensor import OUTPUT_IRREPS, apply_sum_rule, graph_of_node, irreps_to_cartesian

READOUT = tuple(ir for _, ir in OUTPUT_IRREPS)
SYMMETRIC = (READOUT[0], READOUT[2])  # 0e and 2e: those of a symmetric tensor
PRECISION = jax.lax.Precision.HIGHEST  # no TF32 behind the user's back

_unit_normal = nn.initializers.normal(1.0)
_zeros = nn.initializers.zeros


class Features(NamedTuple):
    """Node features: the irreps that are not identically zero, and their components in that order."""

    irreps: tuple[e3nn.Irrep, ...]
    array: Float[Array, "nodes components channels"]

    def part(self, irrep: e3nn.Irrep) -> Float[Array, "nodes dim channels"]:
        """The components of one irrep."""
        start = offsets(self.irreps)[self.irreps.index(irrep)]
        return self.array[:, start : start + irrep.dim]


class Equivar(nn.Module):
    """Born effective charges of a batch of graphs, before the acoustic sum rule.

    The graph has its edges sorted by receiver (see `equivar_jax.batch.graph_of` and `collate`).
    """

    config: ModelConfig

    def setup(self) -> None:
        """Weights and layers; the last interaction computes only what the readout reads."""
        config, f = self.config, self.config.channels
        self.embedding = self.param("embedding", _unit_normal, (config.species, config.embedding))
        self.lin0_weight = self.param("lin0_weight", _unit_normal, (config.embedding, f))
        self.lin0_bias = self.param("lin0_bias", _zeros, (f,))
        self.interaction = [Interaction(config, _needed(config, k)) for k in range(config.interactions)]
        self.lin1_weight = self.param("lin1_weight", _unit_normal, (len(READOUT), f))
        self.lin1_bias = self.param("lin1_bias", _zeros, ())
        if config.dielectric:
            self.dielectric_weight = self.param("dielectric_weight", _unit_normal, (len(SYMMETRIC), f))
            self.dielectric_bias = self.param("dielectric_bias", _zeros, ())

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
        return self.read_out(self.last_features(graph))

    def with_dielectric(
        self, graph: jraph.GraphsTuple
    ) -> tuple[Float[Array, "nodes 3 3"], Float[Array, "graphs 3 3"]]:
        """What calling it gives, and the electronic dielectric tensor of each graph (`config.dielectric`)."""
        features = self.last_features(graph)
        return self.read_out(features), self.read_out_dielectric(features, jnp.asarray(graph.n_node))

    def last_features(self, graph: jraph.GraphsTuple) -> Features:
        """Node features after the last interaction: what the readouts read."""
        graph = jax.tree.map(jnp.asarray, graph)  # batches are made in NumPy
        edges = embed_edges(graph, self.config)
        features = self.embed_species(graph.nodes["species"], edges.basis.dtype)
        for layer in range(self.config.interactions):
            features = self.interact(layer, features, features, edges)
        return features

    def embed_species(self, species: Int[Array, " nodes"], dtype: jnp.dtype) -> Features:
        """Table by atomic number, then lin0: scalars only, every other degree starts at zero."""
        scalars = _matmul(self.embedding[species].astype(dtype), self.lin0_weight)
        scalars = scalars / self.config.embedding**0.5 + self.lin0_bias
        return Features(HIDDEN[:1], scalars[:, None, :].astype(dtype))

    def interact(self, layer: int, table: Features, own: Features, edges: EdgeFeatures) -> Features:
        """New features of the nodes that receive: `own` are theirs, `table` those that senders point into."""
        return self.interaction[layer](table, own, edges)

    def read_out(self, features: Features) -> Float[Array, "nodes 3 3"]:
        """lin1: channels to one 0e + 1e + 2e, with a bias on the scalar; as a Cartesian tensor."""
        parts = [_one_channel(features, ir, self.lin1_weight[k]) for k, ir in enumerate(READOUT)]
        return irreps_to_cartesian(jnp.concatenate(parts, axis=1).at[:, 0].add(self.lin1_bias))

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


class Interaction(nn.Module):
    """Messages from neighbours, mixed by path weights and an equivariant linear layer, plus a residual."""

    config: ModelConfig
    needed: tuple[e3nn.Irrep, ...]
    """Irreps of the result that something later reads."""

    @nn.compact
    def __call__(self, table: Features, own: Features, edges: EdgeFeatures) -> Features:
        """New features of the nodes that receive; irreps appear in the order of `HIDDEN` when not zero."""
        config, f = self.config, self.config.channels
        edge_weight = self.param("edge_weight", _unit_normal, (config.radial_functions, 3, f))
        edge_bias = self.param("edge_bias", _zeros, (f,))
        path_weights = self.param("path_weights", _unit_normal, (len(PATHS), f, f))
        linear = self.param("linear_weight", _unit_normal, (len(HIDDEN), f, f))
        bias = self.param("linear_bias", _zeros, (f,))

        plan = plan_products(table.irreps, self.needed)
        dtype = table.array.dtype
        weights = MessageWeights(
            edge=(edge_weight.reshape(-1, 3 * f) / GAUSSIAN_SQUARE_SUM**0.5).astype(dtype),
            edge_bias=edge_bias.astype(dtype),
            mixing=tuple(self._mixing(plan, out, path_weights, linear).astype(dtype) for out in plan.outputs),
        )
        messages = Features(plan.outputs, message(table.array, edges, weights, plan, config.kernel))

        updated = []
        for out in (ir for ir in HIDDEN if ir in self.needed):
            terms = [own.part(out)] if out in own.irreps else []
            if out in plan.outputs:
                received = messages.part(out) + (bias if out == HIDDEN[0] else 0.0)
                self.sow("intermediates", str(out), received)
                terms.append(received)
            if terms:
                updated.append((out, sum(terms) / len(terms) ** 0.5))
        irreps, arrays = zip(*updated, strict=True)
        return Features(irreps, jnp.concatenate(arrays, axis=1))

    def _mixing(self, plan: ProductPlan, out: e3nn.Irrep, path_weights: Array, linear: Array) -> Array:
        """Path weights, linear layer and constants as one matrix: nothing nonlinear stands between them."""
        products = plan.products_to(out)
        paths = jnp.concatenate([path_weights[product.path] for product in products])
        terms = self.config.channels * (len(products) * _required_mean_neighbours(self.config)) ** 0.5
        return _matmul(paths, linear[HIDDEN.index(out)]) / terms


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


def embed_edges(graph: jraph.GraphsTuple, config: ModelConfig) -> EdgeFeatures:
    """Radial basis and real spherical harmonics (component normalisation, l = 0, 1, 2) of every edge."""
    vectors = graph.edges["vectors"]
    # Two wheres keep the gradient finite even for an edge of length zero, should one slip in.
    square = jnp.sum(vectors**2, axis=-1)
    is_positive = square > 0
    distances = jnp.where(is_positive, jnp.sqrt(jnp.where(is_positive, square, 1.0)), 0.0)
    harmonics = e3nn.spherical_harmonics("0e + 1o + 2e", vectors, normalize=True, normalization="component")
    nodes = graph.nodes
    return EdgeFeatures(
        basis=gaussian_basis(distances, config.cutoff, config.radial_functions),
        harmonics=harmonics.array,
        # On the radial function, not the basis: its bias would otherwise survive at the cutoff.
        envelope=cosine_envelope(distances, config.cutoff) if config.envelope else None,
        neighbours=Neighbours(graph.senders, nodes["first_edge"], nodes["neighbours"], nodes["slots"]),
    )


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
    return _matmul(features.part(irrep), weight) / weight.shape[0] ** 0.5


def _matmul(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right.astype(left.dtype), precision=PRECISION)


def _required_mean_neighbours(config: ModelConfig) -> float:
    if config.mean_neighbours is None:
        raise ValueError("mean_neighbours is not set: training measures it, a checkpoint holds it")
    return config.mean_neighbours
