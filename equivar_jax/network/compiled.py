"""A network with its weights, written down for the C++ functions of `equivar_jax.kernels.whole_network`.

All constants are multiplied into the weights here, once for each network: what `Equivar` computes on the way
to a message or a feature in several steps is one matrix there. `Equivar` is the definition; tests compare the
two for every setting.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels.contraction import contraction_terms
from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM, SILU_SECOND_MOMENT, SOFTPLUS_SECOND_MOMENT
from equivar_jax.kernels.paths import HIDDEN, PATHS, plan_products
from equivar_jax.kernels.whole_network import Tape
from equivar_jax.network.plan import (
    READOUT,
    SYMMETRIC,
    change_of_basis,
    irreps_read_after,
    live_irreps,
    square_plan,
)

NONE = -1
"""Stands for a row that there is not."""


def write_tape(config: ModelConfig, params: dict, dtype: np.dtype | type | str = np.float32) -> Tape:
    """Describe a network to the C++ functions.

    Args:
        config: The network.
        params: Its weights, as `Equivar.init` makes them.
        dtype: Precision of the computation.

    Raises:
        ValueError: `config.mean_neighbours` is not set.
    """
    writer = _Writer()
    weights = _in_float64(params["params"])
    writer.integers(config.channels, config.species)
    scalars = weights["embedding"] @ weights["lin0_weight"] / config.embedding**0.5 + weights["lin0_bias"]
    writer.weights(scalars)
    _write_edges(writer, config, weights)
    writer.numbers(SOFTPLUS_SECOND_MOMENT**-0.5)
    writer.integers(config.interactions)
    for layer in range(config.interactions):
        _write_layer(writer, config, layer, weights[f"interaction_{layer}"])
    last = live_irreps(config, config.interactions)
    _write_readout(writer, last, READOUT, weights["lin1_weight"], weights["lin1_bias"])
    writer.integers(config.element_shift)
    if config.element_shift:
        writer.weights(weights["element_scale"], weights["element_shift"])
    writer.integers(config.dielectric)
    if config.dielectric:
        _write_readout(writer, last, SYMMETRIC, weights["dielectric_weight"], weights["dielectric_bias"])
    return writer.tape(dtype)


def weight_shapes(config: ModelConfig) -> dict:
    """Return the shape of every weight of a network, as `jax.eval_shape(Equivar(config).init, ...)` does."""
    f, hidden, embedding = config.channels, len(HIDDEN), config.embedding
    h = config.edge_hidden
    functions = h or config.radial_functions
    shapes: dict = {
        "embedding": (config.species, embedding),
        "lin0_weight": (embedding, f),
        "lin0_bias": (f,),
    }
    if config.form == "polarisation":
        tables = dict.fromkeys(("element_dipole", "element_charge"), (config.species,))
        shapes |= {"dipole_weight": (f,), **tables}
    else:
        shapes |= {"lin1_weight": (len(READOUT), f), "lin1_bias": ()}
    if config.element_shift and config.form == "direct":
        shapes |= {"element_scale": (config.species,), "element_shift": (config.species,)}
    if config.dielectric:
        shapes |= {"dielectric_weight": (len(SYMMETRIC), f), "dielectric_bias": ()}
    if h:
        basis = {
            "radial": (config.radial_functions, h),
            "ends": (2, embedding, h),
            "mix": (h, h),
            "bias": (h,),
        }
        shapes["species_basis"] = basis
    for layer in range(config.interactions):
        interaction: dict[str, tuple[int, ...]] = {
            "edge_weight": (functions, 3, f),
            "edge_bias": (f,),
            "path_weights": (len(PATHS), f, f),
            "linear_weight": (hidden, f, f),
            "linear_bias": (f,),
        }
        if config.self_connection:
            interaction |= {"self_weight": (hidden, f, f), "self_factors": (config.species, hidden, f)}
        if config.node_products:
            needed = irreps_read_after(config, layer)
            plan = square_plan(plan_products(live_irreps(config, layer), needed).outputs, needed)
            interaction |= {"product_mix": (hidden, f, f), "product_linear": (hidden, f, f)}
            interaction["product_weights"] = (len(plan.outputs), f)
        if config.gates:
            interaction |= {"gate_weight": (hidden - 1, f, f), "gate_bias": (hidden - 1, f)}
        shapes[f"interaction_{layer}"] = interaction
    return {"params": shapes}


Numbers = Any
"""A number, or an array or list of numbers."""


class _Writer:
    """Collects the three lists."""

    def __init__(self) -> None:
        self._lists: tuple[list[Any], list[Any], list[Any]] = ([], [], [])

    def integers(self, *values: Numbers) -> None:
        self._lists[0].extend(values)

    def numbers(self, *values: Numbers) -> None:
        self._lists[1].extend(values)

    def weights(self, *arrays: Float[np.ndarray, "..."]) -> None:
        self._lists[2].extend(arrays)

    def tape(self, dtype: np.dtype | type | str) -> Tape:
        """Join everything that was written."""
        types = (np.int32, np.float64, np.dtype(dtype))
        joined = (
            np.concatenate([np.zeros(0), *(np.ravel(value) for value in values)]).astype(kind)
            for values, kind in zip(self._lists, types, strict=True)
        )
        return Tape(*joined)


def _write_edges(writer: _Writer, config: ModelConfig, weights: dict) -> None:
    """Write what makes the features of edges (see `embed_edges` and `SpeciesBasis`)."""
    writer.integers(config.radial_functions, config.edge_hidden, config.envelope)
    writer.numbers(config.cutoff, SILU_SECOND_MOMENT**-0.5)
    if not config.edge_hidden:
        return
    basis = weights["species_basis"]
    ends = [weights["embedding"] @ end / config.embedding**0.5 for end in basis["ends"]]
    writer.weights(basis["radial"] / (3 * GAUSSIAN_SQUARE_SUM) ** 0.5, *(end / 3**0.5 for end in ends))
    writer.weights(basis["mix"] / config.edge_hidden**0.5, basis["bias"])


def _write_layer(writer: _Writer, config: ModelConfig, layer: int, weights: dict) -> None:
    """Write one interaction (see `Interaction`)."""
    f, inputs = config.channels, live_irreps(config, layer)
    needed = irreps_read_after(config, layer)
    plan = plan_products(inputs, needed)
    writer.integers(len(inputs), *(ir.dim for ir in inputs), plan.output_components)
    terms = contraction_terms(plan)
    writer.integers(len(terms["out"]), terms["out"], terms["u"])
    writer.numbers(terms["coefficient"])
    writer.integers(len(plan.outputs))
    mixing = []
    for out in plan.outputs:
        products = plan.products_to(out)
        writer.integers(out.dim, len(products), *(product.out.start for product in products))
        scale = (f * (len(products) * _mean_neighbours(config)) ** 0.5) ** -1
        linear = weights["linear_weight"][HIDDEN.index(out)] * scale
        mixing += [weights["path_weights"][product.path] @ linear for product in products]
    functions = weights["edge_weight"].shape[0]
    squares = functions if config.edge_hidden else GAUSSIAN_SQUARE_SUM
    writer.weights(
        weights["edge_weight"] / squares**0.5, weights["edge_bias"], *mixing, weights["linear_bias"]
    )
    writer.integers(config.self_connection)
    if config.self_connection:
        chosen = [HIDDEN.index(ir) for ir in inputs]
        writer.weights(weights["self_weight"][chosen] / f**0.5, weights["self_factors"][:, chosen])
    rows_of_squares = _write_squares(writer, config, plan.outputs, needed, weights)
    _write_results(writer, inputs, plan.outputs, needed, rows_of_squares)
    writer.integers(config.gates)
    if config.gates:
        gated = [HIDDEN.index(ir) - 1 for ir in live_irreps(config, layer + 1)[1:]]
        writer.weights(weights["gate_weight"][gated] / f**0.5, weights["gate_bias"][gated])


def _write_squares(writer: _Writer, config: ModelConfig, messages, needed, weights: dict) -> dict:
    """Write the products of the messages with themselves; return the first row of each result."""
    if not config.node_products:
        writer.integers(0)
        return {}
    f, plan = config.channels, square_plan(messages, needed)
    outputs = [ir for ir in HIDDEN if ir in plan.outputs]
    first = dict(zip(outputs, np.cumsum([0, *(ir.dim for ir in outputs)]).tolist(), strict=False))
    rows = [first[out] + m for out in plan.outputs for m in range(out.dim)]
    paths = [path for path, out in enumerate(plan.outputs) for _ in range(out.dim)]
    pairs, columns = np.nonzero(plan.coefficients.T)[::-1]
    ends = np.searchsorted(columns, np.arange(len(rows)), side="right")
    components = sum(ir.dim for ir in messages)
    writer.integers(len(rows), len(pairs), len(plan.outputs), len(outputs))
    writer.integers(rows, paths, ends, pairs // components, pairs % components)
    writer.integers(*(ir.dim for ir in outputs))
    writer.numbers(plan.coefficients[pairs, columns])
    chosen = [HIDDEN.index(ir) for ir in messages]
    writer.weights(weights["product_mix"][chosen] / f**0.5, weights["product_weights"])
    for ir in outputs:
        scale = (f * plan.outputs.count(ir)) ** -0.5
        writer.weights(weights["product_linear"][HIDDEN.index(ir)] * scale)
    return first


def _write_results(writer: _Writer, inputs, messages, needed, rows_of_squares: dict) -> None:
    """Write which terms each irrep of the new features is the sum of."""
    starts = [
        dict(zip(irreps, np.cumsum([0, *(ir.dim for ir in irreps)]).tolist(), strict=False))
        for irreps in (inputs, messages)
    ]
    results = [ir for ir in HIDDEN if ir in needed and (ir in inputs or ir in messages)]
    writer.integers(len(results))
    for ir in results:
        square = rows_of_squares.get(ir, NONE) if ir in messages else NONE
        rows = [*(start.get(ir, NONE) for start in starts), square]
        writer.integers(ir.dim, *rows)
        writer.numbers(sum(row != NONE for row in rows) ** -0.5)


def _write_readout(writer: _Writer, features, irreps, weight: np.ndarray, bias: np.ndarray) -> None:
    """Write a readout of the last features: irreps to a Cartesian tensor."""
    start = dict(zip(features, np.cumsum([0, *(ir.dim for ir in features)]).tolist(), strict=False))
    writer.integers(len(irreps), *(start.get(ir, NONE) for ir in irreps), *(ir.dim for ir in irreps))
    writer.weights(weight / weight.shape[-1] ** 0.5)
    basis = change_of_basis(np.dtype(np.float64))
    first = dict(zip(READOUT, np.cumsum([0, *(ir.dim for ir in READOUT)]).tolist(), strict=False))
    writer.numbers(float(bias), *(basis[first[ir] : first[ir] + ir.dim] for ir in irreps))


def _mean_neighbours(config: ModelConfig) -> float:
    if config.mean_neighbours is None:
        raise ValueError("mean_neighbours is not set")
    return config.mean_neighbours


def _in_float64(weights: Any) -> Any:
    if isinstance(weights, dict):
        return {name: _in_float64(value) for name, value in weights.items()}
    return np.asarray(weights, np.float64)
