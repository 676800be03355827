"""A network with its weights, written down for the C++ functions of `equivar_jax.kernels.whole_network`.

All constants are multiplied into the weights here, once for each network: what the Flax modules compute on
the way to a message or a feature in several steps is one matrix there. The modules are the definition; tests
compare the two for every setting.
"""

from typing import Any

import numpy as np

from equivar_jax.config.schema import ModelConfig
from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM, SILU_SECOND_MOMENT, SOFTPLUS_SECOND_MOMENT
from equivar_jax.kernels.paths import HIDDEN, PATHS, plan_products
from equivar_jax.kernels.whole_network import Tape
from equivar_jax.network.compiled_layers import write_layer, write_layer_backwards
from equivar_jax.network.plan import (
    DIPOLE,
    READOUT,
    SYMMETRIC,
    change_of_basis,
    irreps_read_after,
    live_irreps,
    square_plan,
)
from equivar_jax.network.tape_writer import NONE, TapeWriter, fill_vectors, first_rows


def write_tape(config: ModelConfig, params: dict, dtype: np.dtype | type | str = np.float32) -> Tape:
    """Describe a network to the C++ functions.

    Args:
        config: The network.
        params: Its weights, as `init` of the Flax module makes them.
        dtype: Precision of the computation.

    Raises:
        ValueError: `config.mean_neighbours` is not set.
    """
    writer = TapeWriter()
    weights = _in_float64(params["params"])
    writer.integers(config.channels, config.species)
    scalars = weights["embedding"] @ weights["lin0_weight"] / config.embedding**0.5 + weights["lin0_bias"]
    writer.weights(scalars)
    _write_edges(writer, config, weights)
    writer.numbers(SOFTPLUS_SECOND_MOMENT**-0.5)
    writer.integers(config.interactions)
    layers = [weights[f"interaction_{layer}"] for layer in range(config.interactions)]
    for layer, own in enumerate(layers):
        write_layer(writer, config, layer, own)
    if config.form == "polarisation":
        _write_dipoles(writer, config, weights)
        for layer, own in enumerate(layers):
            write_layer_backwards(writer, config, layer, own)
    else:
        _write_tensors(writer, config, weights)
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


def _write_edges(writer: TapeWriter, config: ModelConfig, weights: dict) -> None:
    """Write what makes the features of edges (see `embed_edges` and `SpeciesBasis`)."""
    writer.integers(config.radial_functions, fill_vectors(config.edge_hidden), config.envelope)
    writer.numbers(config.cutoff, SILU_SECOND_MOMENT**-0.5)
    if not config.edge_hidden:
        return
    # More functions, with weights of zero, are zero.
    basis, more = weights["species_basis"], fill_vectors(config.edge_hidden) - config.edge_hidden
    ends = [weights["embedding"] @ end / config.embedding**0.5 for end in basis["ends"]]
    radial = basis["radial"] / (3 * GAUSSIAN_SQUARE_SUM) ** 0.5
    writer.weights(*(np.pad(rows, ((0, 0), (0, more))) for rows in (radial, *(end / 3**0.5 for end in ends))))
    writer.weights(
        np.pad(basis["mix"] / config.edge_hidden**0.5, (0, more)), np.pad(basis["bias"], (0, more))
    )


def _write_tensors(writer: TapeWriter, config: ModelConfig, weights: dict) -> None:
    """Write what gives tensors from the last features (see `Equivar.read_out` and `read_out_dielectric`)."""
    last = live_irreps(config, config.interactions)
    _write_readout(writer, last, READOUT, weights["lin1_weight"], weights["lin1_bias"])
    writer.integers(config.element_shift)
    if config.element_shift:
        writer.weights(weights["element_scale"], weights["element_shift"])
    writer.integers(config.dielectric)
    if config.dielectric:
        _write_readout(writer, last, SYMMETRIC, weights["dielectric_weight"], weights["dielectric_bias"])


def _write_readout(writer: TapeWriter, features, irreps, weight: np.ndarray, bias: np.ndarray) -> None:
    """Write a readout of the last features: irreps to a Cartesian tensor."""
    start = first_rows(features)
    writer.integers(len(irreps), *(start.get(ir, NONE) for ir in irreps), *(ir.dim for ir in irreps))
    writer.weights(weight / weight.shape[-1] ** 0.5)
    basis = change_of_basis(np.dtype(np.float64))
    first = first_rows(READOUT)
    writer.numbers(float(bias), *(basis[first[ir] : first[ir] + ir.dim] for ir in irreps))


def _write_dipoles(writer: TapeWriter, config: ModelConfig, weights: dict) -> None:
    """Write what gives dipoles from the last features (see `Polarisation.read_out`)."""
    writer.integers(first_rows(live_irreps(config, config.interactions))[DIPOLE[1]])
    writer.weights(weights["dipole_weight"] / config.channels**0.5, weights["element_dipole"])


def _in_float64(weights: Any) -> Any:
    if isinstance(weights, dict):
        return {name: _in_float64(value) for name, value in weights.items()}
    return np.asarray(weights, np.float64)
