"""Interactions, written down for the C++ functions: forwards and, for derivatives, backwards."""

import numpy as np
from jaxtyping import Float, Int

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels.contraction import contraction_terms
from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM
from equivar_jax.kernels.paths import HIDDEN, offsets, plan_products
from equivar_jax.network.plan import SquarePlan, irreps_read_after, live_irreps, square_plan
from equivar_jax.network.tape_writer import NONE, TapeWriter, fill_vectors, first_rows


def write_layer(writer: TapeWriter, config: ModelConfig, layer: int, weights: dict) -> None:
    """Write one interaction (see `Interaction`)."""
    inputs = live_irreps(config, layer)
    needed = irreps_read_after(config, layer)
    plan = plan_products(inputs, needed)
    writer.integers(len(inputs), *(ir.dim for ir in inputs), plan.output_components)
    terms = contraction_terms(plan)
    writer.integers(len(terms["out"]), terms["out"], terms["u"])
    writer.numbers(terms["coefficient"])
    writer.integers(len(plan.outputs))
    for out in plan.outputs:
        products = plan.products_to(out)
        writer.integers(out.dim, len(products), *(product.out.start for product in products))
    edge_weight, h = weights["edge_weight"], config.edge_hidden
    if h:
        more = np.zeros((fill_vectors(h) - h, *edge_weight.shape[1:]))
        edge_weight = np.concatenate([edge_weight / h**0.5, more])
    else:
        edge_weight = edge_weight / GAUSSIAN_SQUARE_SUM**0.5
    mixing = _mixing_matrices(config, layer, weights)
    writer.weights(edge_weight, weights["edge_bias"], mixing, weights["linear_bias"])
    writer.integers(config.self_connection)
    if config.self_connection:
        chosen = [HIDDEN.index(ir) for ir in inputs]
        writer.weights(_self_matrices(config, layer, weights), weights["self_factors"][:, chosen])
    rows_of_squares = _write_squares(writer, config, layer, weights)
    _write_results(writer, inputs, plan.outputs, needed, rows_of_squares)
    writer.integers(config.gates)
    if config.gates:
        gated = [HIDDEN.index(ir) - 1 for ir in live_irreps(config, layer + 1)[1:]]
        writer.weights(_gate_matrices(config, layer, weights), weights["gate_bias"][gated])


def write_layer_backwards(writer: TapeWriter, config: ModelConfig, layer: int, weights: dict) -> None:
    """Write what the derivatives of one interaction read beside: see `cpp/layer_backwards.h`.

    Matrices are transposed, and coefficients sorted by what they give backwards.
    """
    terms = contraction_terms(plan_products(live_irreps(config, layer), irreps_read_after(config, layer)))
    order = np.argsort(terms["u"], kind="stable")
    rows, counts = np.unique(terms["u"], return_counts=True)
    writer.integers(len(order), len(rows), rows, np.cumsum(counts), terms["out"][order])
    writer.weights(terms["coefficient"][order])
    writer.weights(_transposed(_mixing_matrices(config, layer, weights)))
    if config.self_connection:
        writer.weights(_transposed(_self_matrices(config, layer, weights)))
    if config.node_products:
        plan = _squares_of(config, layer)
        i, j, column, coefficient = _terms_of_squares(plan)
        # Either factor of a product has a derivative, the other one.
        own, other = np.concatenate([i, j]), np.concatenate([j, i])
        order = np.argsort(own, kind="stable")
        ends = np.searchsorted(own[order], np.arange(offsets(plan.inputs)[-1]), side="right")
        writer.integers(len(order), ends, np.tile(column, 2)[order], other[order])
        writer.weights(np.tile(coefficient, 2)[order])
        mix, after = _square_matrices(config, layer, weights)
        writer.weights(_transposed(mix), _transposed(after))
    if config.gates:
        writer.weights(_transposed(_gate_matrices(config, layer, weights)))


Indices = Int[np.ndarray, " terms"]
Matrices = Float[np.ndarray, "matrices channels channels"]


def _transposed(matrices: Matrices) -> Matrices:
    return np.swapaxes(matrices, 1, 2)


def _mixing_matrices(config: ModelConfig, layer: int, weights: dict) -> Matrices:
    """Multiply path weights, linear layer and constants for each product, sorted by result."""
    if config.mean_neighbours is None:
        raise ValueError("mean_neighbours is not set")
    plan, found = plan_products(live_irreps(config, layer), irreps_read_after(config, layer)), []
    for out in plan.outputs:
        products = plan.products_to(out)
        scale = (config.channels * (len(products) * config.mean_neighbours) ** 0.5) ** -1
        linear = weights["linear_weight"][HIDDEN.index(out)] * scale
        found += [weights["path_weights"][product.path] @ linear for product in products]
    return np.array(found)


def _self_matrices(config: ModelConfig, layer: int, weights: dict) -> Matrices:
    chosen = [HIDDEN.index(ir) for ir in live_irreps(config, layer)]
    return weights["self_weight"][chosen] / config.channels**0.5


def _gate_matrices(config: ModelConfig, layer: int, weights: dict) -> Matrices:
    gated = [HIDDEN.index(ir) - 1 for ir in live_irreps(config, layer + 1)[1:]]
    return weights["gate_weight"][gated] / config.channels**0.5


def _square_matrices(config: ModelConfig, layer: int, weights: dict) -> tuple[Matrices, Matrices]:
    """Return the matrices before and after the products of messages with themselves."""
    f, plan = config.channels, _squares_of(config, layer)
    mix = weights["product_mix"][[HIDDEN.index(ir) for ir in plan.inputs]] / f**0.5
    after = [
        weights["product_linear"][HIDDEN.index(ir)] * (f * plan.outputs.count(ir)) ** -0.5
        for ir in HIDDEN
        if ir in plan.outputs
    ]
    return mix, np.array(after)


def _squares_of(config: ModelConfig, layer: int) -> SquarePlan:
    """Return the plan of the products of messages with themselves."""
    needed = irreps_read_after(config, layer)
    return square_plan(plan_products(live_irreps(config, layer), needed).outputs, needed)


def _terms_of_squares(plan: SquarePlan) -> tuple[Indices, Indices, Indices, Float[np.ndarray, " terms"]]:
    """Return the components, columns and values of the coefficients that are not zero, sorted by column."""
    components = offsets(plan.inputs)[-1]
    pairs, columns = np.nonzero(plan.coefficients.T)[::-1]
    return pairs // components, pairs % components, columns, plan.coefficients[pairs, columns]


def _write_squares(writer: TapeWriter, config: ModelConfig, layer: int, weights: dict) -> dict:
    """Write the products of the messages with themselves; return the first row of each result."""
    if not config.node_products:
        writer.integers(0)
        return {}
    plan = _squares_of(config, layer)
    outputs = [ir for ir in HIDDEN if ir in plan.outputs]
    first = first_rows(outputs)
    rows = [first[out] + m for out in plan.outputs for m in range(out.dim)]
    paths = [path for path, out in enumerate(plan.outputs) for _ in range(out.dim)]
    i, j, columns, coefficients = _terms_of_squares(plan)
    ends = np.searchsorted(columns, np.arange(len(rows)), side="right")
    writer.integers(len(rows), len(columns), len(plan.outputs), len(outputs))
    writer.integers(rows, paths, ends, i, j, *(ir.dim for ir in outputs))
    writer.numbers(coefficients)
    mix, after = _square_matrices(config, layer, weights)
    writer.weights(mix, weights["product_weights"], after)
    return first


def _write_results(writer: TapeWriter, inputs, messages, needed, rows_of_squares: dict) -> None:
    """Write which terms each irrep of the new features is the sum of."""
    starts = [first_rows(irreps) for irreps in (inputs, messages)]
    results = [ir for ir in HIDDEN if ir in needed and (ir in inputs or ir in messages)]
    writer.integers(len(results))
    for ir in results:
        square = rows_of_squares.get(ir, NONE) if ir in messages else NONE
        rows = [*(start.get(ir, NONE) for start in starts), square]
        writer.integers(ir.dim, *rows)
        writer.numbers(sum(row != NONE for row in rows) ** -0.5)
