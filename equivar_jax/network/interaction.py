"""One interaction: nodes receive messages from their neighbours and compute new features from them."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels import (
    HIDDEN,
    PATHS,
    EdgeFeatures,
    Irrep,
    MessageWeights,
    ProductPlan,
    message,
    plan_products,
)
from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM
from equivar_jax.network.edges import silu
from equivar_jax.network.features import Features, matmul, mix_channels, unit_normal, zeros
from equivar_jax.network.plan import square_plan
from equivar_jax.network.squares import bound_features, multiply_with_itself


class Interaction(nn.Module):
    """Messages from neighbours, mixed by path weights and an equivariant linear layer, plus a residual.

    Settings can add three things: weights of the residual that depend on the species of the node
    (`self_connection`, in `bm3.py` and `bm3_deep.py`), a nonlinearity between interactions (`gates`, in
    `bm3.py`), and products of the message with itself (`node_products`, in `bm3_deep.py`).
    """

    config: ModelConfig
    needed: tuple[Irrep, ...]
    """Irreps of the result that a later layer reads; others are not computed."""

    @nn.compact
    def __call__(
        self, table: Features, own: Features, edges: EdgeFeatures, species: Int[Array, " nodes"]
    ) -> Features:
        """Compute the new features of the nodes that receive.

        Args:
            table: Features of all nodes that senders point into.
            own: Features of the nodes that receive.
            edges: Features of the edges of these nodes.
            species: Atomic numbers of these nodes.

        Returns:
            The irreps that are not identically zero, in the order of `HIDDEN`.
        """
        config, f = self.config, self.config.channels
        functions = edges.basis.shape[1]
        edge_weight = self.param("edge_weight", unit_normal, (functions, 3, f))
        edge_bias = self.param("edge_bias", zeros, (f,))
        path_weights = self.param("path_weights", unit_normal, (len(PATHS), f, f))
        linear = self.param("linear_weight", unit_normal, (len(HIDDEN), f, f))
        bias = self.param("linear_bias", zeros, (f,))

        plan = plan_products(table.irreps, self.needed)
        dtype = table.array.dtype
        # The squares of the Gaussians sum to sqrt(pi), those of `SpeciesBasis` to their number on average.
        squares = functions if config.edge_hidden else GAUSSIAN_SQUARE_SUM
        weights = MessageWeights(
            edge=(edge_weight.reshape(-1, 3 * f) / squares**0.5).astype(dtype),
            edge_bias=edge_bias.astype(dtype),
            mixing=tuple(
                self._mixing_matrix(plan, out, path_weights, linear).astype(dtype) for out in plan.outputs
            ),
        )
        messages = Features(plan.outputs, message(table.array, edges, weights, plan, config.kernel))
        kept = self._self_connection(own, species) if config.self_connection else own

        products = self._squared_messages(messages) if config.node_products else {}
        updated = {}
        for out in (ir for ir in HIDDEN if ir in self.needed):
            terms = [kept.part(out)] if out in own.irreps else []
            if out in plan.outputs:
                received = messages.part(out) + (bias if out == HIDDEN[0] else 0.0)
                self.sow("intermediates", str(out), received)
                terms.append(received)
                if out in products:
                    terms.append(products[out])
            if terms:
                updated[out] = sum(terms) / len(terms) ** 0.5
        if config.gates:
            updated = self._apply_gates(updated)
        return Features(tuple(updated), jnp.concatenate(list(updated.values()), axis=1))

    def _mixing_matrix(self, plan: ProductPlan, out: Irrep, path_weights: Array, linear: Array) -> Array:
        """Multiply path weights, linear layer and constants into one matrix; they act one after the other."""
        products = plan.products_to(out)
        paths = jnp.concatenate([path_weights[product.path] for product in products])
        terms = self.config.channels * (len(products) * _required_mean_neighbours(self.config)) ** 0.5
        return matmul(paths, linear[HIDDEN.index(out)]) / terms

    def _self_connection(self, own: Features, species: Int[Array, " nodes"]) -> Features:
        """Mix the channels of every irrep, and scale them by factors of the node's species."""
        f = self.config.channels
        mix = self.param("self_weight", unit_normal, (len(HIDDEN), f, f))
        factors = self.param("self_factors", nn.initializers.ones, (self.config.species, len(HIDDEN), f))
        of_node, mixed = factors[species].astype(own.array.dtype), mix_channels(own, mix)
        scaled = [mixed.part(ir) * of_node[:, None, HIDDEN.index(ir)] for ir in own.irreps]
        return Features(own.irreps, jnp.concatenate(scaled, axis=1))

    def _squared_messages(self, messages: Features) -> dict[Irrep, Array]:
        """Mix the channels of the messages, multiply them with themselves by channel, and mix again."""
        f = self.config.channels
        mix = self.param("product_mix", unit_normal, (len(HIDDEN), f, f))
        after = self.param("product_linear", unit_normal, (len(HIDDEN), f, f))
        plan = square_plan(messages.irreps, self.needed)
        weights = self.param("product_weights", unit_normal, (len(plan.outputs), f))
        products = multiply_with_itself(bound_features(mix_channels(messages, mix).array), plan, weights)
        return {
            out: matmul(sums, after[HIDDEN.index(out)]) / (f * plan.outputs.count(out)) ** 0.5
            for out, sums in products.items()
        }

    def _apply_gates(self, parts: dict[Irrep, Array]) -> dict[Irrep, Array]:
        """Pass scalars through a nonlinearity; multiply other channels by sigmoids of mixtures of scalars."""
        f = self.config.channels
        weight = self.param("gate_weight", unit_normal, (len(HIDDEN) - 1, f, f))
        bias = self.param("gate_bias", zeros, (len(HIDDEN) - 1, f))
        scalars = parts[HIDDEN[0]]
        gated = {HIDDEN[0]: silu(scalars)}
        for k, ir in enumerate(HIDDEN[1:]):
            if ir in parts:
                gate = 2 * jax.nn.sigmoid(matmul(scalars, weight[k]) / f**0.5 + bias[k])
                gated[ir] = parts[ir] * gate
        return gated


def _required_mean_neighbours(config: ModelConfig) -> float:
    """Return `config.mean_neighbours`.

    Raises:
        ValueError: It is not set.
    """
    if config.mean_neighbours is None:
        raise ValueError(
            "mean_neighbours is not set: set it to the mean number of neighbours in your data (training "
            "measures it, and a checkpoint holds it)"
        )
    return config.mean_neighbours
