"""One interaction: nodes receive messages from their neighbours and compute new features from them."""

import functools
import operator
from collections.abc import Collection, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

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

    inputs: tuple[Irrep, ...]
    """Irreps of the node features that are not identically zero before this interaction."""

    def setup(self) -> None:
        """Make the weights. Flax calls this; nothing is computed, so weights can be drawn without a graph."""
        config, f = self.config, self.config.channels
        functions = config.edge_hidden or config.radial_functions
        self.edge_weight = self.param("edge_weight", unit_normal, (functions, 3, f))
        self.edge_bias = self.param("edge_bias", zeros, (f,))
        self.path_weights = self.param("path_weights", unit_normal, (len(PATHS), f, f))
        self.linear_weight = self.param("linear_weight", unit_normal, (len(HIDDEN), f, f))
        self.linear_bias = self.param("linear_bias", zeros, (f,))
        if config.self_connection:
            rows = (config.species, len(HIDDEN), f)
            self.self_weight = self.param("self_weight", unit_normal, (len(HIDDEN), f, f))
            self.self_factors = self.param("self_factors", nn.initializers.ones, rows)
        if config.node_products:
            self.product_plan = square_plan(plan_products(self.inputs, self.needed).outputs, self.needed)
            self.product_mix = self.param("product_mix", unit_normal, (len(HIDDEN), f, f))
            self.product_linear = self.param("product_linear", unit_normal, (len(HIDDEN), f, f))
            products = (len(self.product_plan.outputs), f)
            self.product_weights = self.param("product_weights", unit_normal, products)
        if config.gates:
            self.gate_weight = self.param("gate_weight", unit_normal, (len(HIDDEN) - 1, f, f))
            self.gate_bias = self.param("gate_bias", zeros, (len(HIDDEN) - 1, f))

    def make_weights(self) -> None:
        """Make the weights and compute nothing; `setup` does it when the first method is called."""

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
        plan, dtype = plan_products(table.irreps, self.needed), table.array.dtype
        # The squares of the Gaussians sum to sqrt(pi), those of `SpeciesBasis` to their number on average.
        squares = config.edge_hidden or GAUSSIAN_SQUARE_SUM
        weights = MessageWeights(
            edge=(self.edge_weight.reshape(-1, 3 * f) / squares**0.5).astype(dtype),
            edge_bias=self.edge_bias.astype(dtype),
            mixing=self._mixing_matrices(plan, dtype),
        )
        messages = Features(plan.outputs, message(table.array, edges, weights, plan, config.kernel))
        kept = self._self_connection(own, species) if config.self_connection else own

        for out, received in messages.parts().items():
            self.sow("intermediates", str(out), received + (self.linear_bias if out == HIDDEN[0] else 0.0))
        terms = [kept, _add_to_scalars(messages, self.linear_bias)]
        if config.node_products:
            terms.append(self._squared_messages(messages))
        updated = _sum_to_unit_variance(terms, self.needed)
        return self._apply_gates(updated) if config.gates else updated

    def _mixing_matrices(self, plan: ProductPlan, dtype: jnp.dtype) -> tuple[Array, ...]:
        """Multiply path weights, linear layer and constants into matrices; they act one after the other.

        Rows of weights are chosen by multiplication with constant matrices, since few and alike operations
        compile faster, in both directions, than many slices.
        """
        f, products = self.config.channels, plan.products
        outputs = [PATHS[product.path][2] for product in products]
        paths, linear = np.zeros((len(products), len(PATHS))), np.zeros((len(products), len(HIDDEN)))
        for row, (product, out) in enumerate(zip(products, outputs, strict=True)):
            terms = f * (outputs.count(out) * _required_mean_neighbours(self.config)) ** 0.5
            paths[row, product.path] = 1.0
            linear[row, HIDDEN.index(out)] = 1.0 / terms
        path_weights = self.path_weights.astype(dtype)
        if len(products) < len(PATHS):
            path_weights = matmul(jnp.asarray(paths, dtype), path_weights.reshape(len(PATHS), -1))
        linear_weights = matmul(jnp.asarray(linear, dtype), self.linear_weight.reshape(len(HIDDEN), -1))
        mixing = matmul(path_weights.reshape(-1, f, f), linear_weights.reshape(-1, f, f)).reshape(-1, f)
        starts = [f * row for row in range(1, len(outputs)) if outputs[row] != outputs[row - 1]]
        matrices = dict(zip(dict.fromkeys(outputs), jnp.split(mixing, starts), strict=True))
        return tuple(matrices[out] for out in plan.outputs)

    def _self_connection(self, own: Features, species: Int[Array, " nodes"]) -> Features:
        """Mix the channels of every irrep, and scale them by factors of the node's species."""
        of_node = self.self_factors[species].astype(own.array.dtype)
        mixed = mix_channels(own, self.self_weight).parts()
        scaled = [part * of_node[:, None, HIDDEN.index(ir)] for ir, part in mixed.items()]
        return Features(own.irreps, jnp.concatenate(scaled, axis=1))

    def _squared_messages(self, messages: Features) -> Features:
        """Mix the channels of the messages, multiply them with themselves by channel, and mix again."""
        f, plan = self.config.channels, self.product_plan
        mixed_before = bound_features(mix_channels(messages, self.product_mix).array)
        products = multiply_with_itself(mixed_before, plan, self.product_weights, self.config.kernel)
        mixed = [
            matmul(sums, self.product_linear[HIDDEN.index(out)]) / (f * plan.outputs.count(out)) ** 0.5
            for out, sums in products.items()
        ]
        return Features(tuple(products), jnp.concatenate(mixed, axis=1))

    def _apply_gates(self, features: Features) -> Features:
        """Pass scalars through a nonlinearity; multiply other channels by sigmoids of mixtures of scalars."""
        f = self.config.channels
        scalars, *others = features.parts().values()
        gated = [silu(scalars)]
        for ir, part in zip(features.irreps[1:], others, strict=True):
            k = HIDDEN.index(ir) - 1
            gated.append(
                part * (2 * jax.nn.sigmoid(matmul(scalars, self.gate_weight[k]) / f**0.5 + self.gate_bias[k]))
            )
        return Features(features.irreps, jnp.concatenate(gated, axis=1))


def _add_to_scalars(features: Features, bias: Float[Array, " channels"]) -> Features:
    """Add a bias to the scalars, if there are any."""
    if HIDDEN[0] not in features.irreps:
        return features
    scalars, others = jnp.split(features.array, [1], axis=1)
    return Features(features.irreps, jnp.concatenate([scalars + bias, others], axis=1))


def _sum_to_unit_variance(terms: Sequence[Features], needed: Collection[Irrep]) -> Features:
    """Sum the terms of every irrep that is needed, and divide by the root of their number."""
    irreps = tuple(ir for ir in HIDDEN if ir in needed and any(ir in term.irreps for term in terms))
    numbers = [sum(ir in term.irreps for term in terms) for ir in irreps for _ in range(ir.dim)]
    total = functools.reduce(operator.add, (term.select(irreps) for term in terms))
    return Features(irreps, total / jnp.asarray(numbers, total.dtype)[:, None] ** 0.5)


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
