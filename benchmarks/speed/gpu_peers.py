"""One message-passing layer beside equivariant CUDA libraries: `python -m benchmarks.speed.gpu_peers`.

The layer and its contestants are in `gpu_contestants`. Before the clock starts each must give our numbers to
1e-4: values, and gradients by features, weights and the radial basis of every edge. A contestant that is not
installed, fails or differs is left out, and the result says why. The time includes the radial part, the sum
over neighbours and the mixing of channels, without and with gradients by features and weights. It does not
include the radial basis, the harmonics and the order of the edges, which a network makes once for all layers.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from benchmarks.common.machine import describe_machine
from benchmarks.common.shapes import collate_together, perovskites, prepare_network
from benchmarks.common.timing import RESULTS, time_in_turn, write_result
from benchmarks.speed.gpu_contestants import OURS, Contestant, Inputs, contestants, ours
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.graphs.batch import Batch
from equivar_jax.kernels import EDGE, HIDDEN, EdgeFeatures, MessageWeights, ProductPlan, plan_products
from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM
from equivar_jax.network.model import Equivar
from equivar_jax.training.losses import ErrorSums
from equivar_jax.training.optimizers import make_optimizer
from equivar_jax.training.steps import TrainState, make_steps

OUTPUT = RESULTS / "gpu_peers.json"
LIBRARIES = ("cuequivariance", "cuequivariance-jax", "cuequivariance-ops-jax-cu13", "e3j", "e3j_ops")
TOLERANCE = 1e-4
LEARNING_RATE = 0.005


def draw_inputs(batch: Batch, config: ModelConfig, plan: ProductPlan) -> Inputs:
    """Draw unit normal features, and weights of the size that a network starts with, for a batch's edges."""
    graph, channels = jax.tree.map(jnp.asarray, batch.graph), config.channels
    keys = iter(jax.random.split(jax.random.key(0), 4 + len(plan.outputs)))

    def normal(*shape: int) -> Array:
        return jax.random.normal(next(keys), shape)

    features = normal(len(batch.node_mask), plan.input_components, channels)
    fans = {out: channels * len(plan.products_to(out)) for out in plan.outputs}
    weights = MessageWeights(
        edge=normal(config.radial_functions, len(EDGE) * channels) / GAUSSIAN_SQUARE_SUM**0.5,
        edge_bias=normal(channels),
        mixing=tuple(normal(fan, channels) / fan**0.5 for fan in fans.values()),
    )
    network = Equivar(config)
    params = {"params": network.init(next(keys), method="make_weights")["params"]}
    edges = network.apply(params, graph, method="embed_edges")
    return Inputs(features, edges, graph.receivers, weights)


def reorder_edges(inputs: Inputs, order: Int[Array, " edges"]) -> Inputs:
    """Return inputs with the edges in another order, for contestants that read senders and receivers only."""
    neighbours = inputs.edges.neighbours
    per_edge = (*inputs.edges[:3], neighbours.senders, inputs.receivers)
    basis, harmonics, envelope, senders, receivers = jax.tree.map(lambda array: array[order], per_edge)
    edges = EdgeFeatures(basis, harmonics, envelope, neighbours._replace(senders=senders))
    return inputs._replace(edges=edges, receivers=receivers)


def add_gradients(layer: Callable[[Inputs], Array], by_edges: bool) -> Callable[..., dict[str, Any]]:
    """Compile a layer together with its gradients.

    Args:
        layer: The layer.
        by_edges: Whether to give the gradient by the radial basis of every edge, too.

    Returns:
        A function of inputs and a cotangent that gives the value and the gradients by features and weights.
    """

    def call(inputs: Inputs, cotangent: Array) -> dict[str, Any]:
        def of(arguments: dict[str, Any]) -> Array:
            edges = inputs.edges._replace(basis=arguments.get("basis", inputs.edges.basis))
            return layer(Inputs(arguments["features"], edges, inputs.receivers, arguments["weights"]))

        arguments = {"features": inputs.features, "weights": inputs.weights}
        if by_edges:
            arguments["basis"] = inputs.edges.basis
        value, pullback = jax.vjp(of, arguments)
        return {"value": value, **pullback(cotangent)[0]}

    return jax.jit(call)


def largest_deviation(found: Any, expected: Any) -> float:
    """Return the largest difference of any array, divided by the largest component expected of it."""
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    return max(float(jnp.abs(a - b).max() / jnp.abs(b).max()) for a, b in pairs)


def measure_layer(name: str, batch: Batch, repeats: int) -> dict[str, Any]:
    """Time the layer of every contestant on one batch, forward and with gradients, in microseconds an atom.

    Args:
        name: The config that sets the width.
        batch: The edges.
        repeats: Number of rounds.
    """
    config, atoms = load_config(name).model, int(batch.node_mask.sum())
    plan = plan_products(HIDDEN, HIDDEN)
    inputs = draw_inputs(batch, config, plan)
    cotangent = jax.random.normal(jax.random.key(1), inputs.features.shape)  # what comes out is as large
    expected = add_gradients(ours("auto", plan, config.channels).layer, True)(inputs, cotangent)
    result: dict[str, Any] = {
        "config": name, "atoms": atoms, "edges": len(inputs.receivers),
        "method": {}, "deviation": {}, "left_out": {},
    }  # fmt: skip
    calls: dict[str, dict[str, Callable[[], Any]]] = {"forward": {}, "with gradients": {}}
    for who, make in contestants(config.channels).items():
        try:
            contestant = make(plan, config.channels)
            deviations, *prepared = prepare(contestant, inputs, cotangent, expected)
        except Exception as error:  # whatever a foreign library raises; the others go on
            if who.startswith(OURS):
                raise
            result["left_out"][who] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            print(f"{who} is left out: {result['left_out'][who]}")
            continue
        result["method"][who], result["deviation"][who] = contestant.method, deviations
        calls["forward"][who], calls["with gradients"][who] = prepared
    for kind, of_everyone in calls.items():
        result[kind] = to_microseconds_per_atom(time_in_turn(of_everyone, repeats), atoms)
    return result


def prepare(
    contestant: Contestant, inputs: Inputs, cotangent: Array, expected: Mapping[str, Any]
) -> tuple[dict[str, float], Callable[[], Any], Callable[[], Any]]:
    """Compile a contestant and compare its results with ours.

    Returns:
        Relative deviations of values and gradients; a call forward and a call with gradients.

    Raises:
        ValueError: It gives other results than `expected`.
    """
    edges = jnp.arange(len(inputs.receivers))
    order = jnp.argsort(inputs.edges.neighbours.senders, stable=True) if contestant.by_sender else edges
    given = reorder_edges(inputs, order)
    found = add_gradients(contestant.layer, by_edges=True)(given, cotangent)
    found["basis"] = found["basis"][jnp.argsort(order)]
    deviations = {key: largest_deviation(found[key], expected[key]) for key in expected}
    if not max(deviations.values()) < TOLERANCE:  # nor is NaN
        raise ValueError(f"gives other results, relative deviations {deviations}")
    forward, with_backward = jax.jit(contestant.layer), add_gradients(contestant.layer, by_edges=False)
    return (
        deviations,
        lambda: jax.block_until_ready(forward(given)),
        lambda: jax.block_until_ready(with_backward(given, cotangent)),
    )


def measure_network(name: str, batch: Batch, repeats: int) -> dict[str, Any]:
    """Time inference and a training step of our whole network on one batch, in microseconds an atom."""
    config, params = prepare_network(load_config(name).model, batch)
    apply, atoms = jax.jit(Equivar(config).apply), int(batch.node_mask.sum())
    optimizer = make_optimizer(TrainConfig(), optax.constant_schedule(LEARNING_RATE))
    train = make_steps(config, TrainConfig(), optimizer).train
    batch = jax.device_put(batch)
    weights = jax.tree.map(jnp.copy, params)  # a step gives its state away
    state = [TrainState(weights, None, optimizer.init(weights), ErrorSums.zero())]

    def training() -> None:
        state[0] = jax.block_until_ready(train(state[0], batch))

    calls = {"inference": lambda: jax.block_until_ready(apply(params, batch.graph)), "training": training}
    times = to_microseconds_per_atom(time_in_turn(calls, repeats), atoms)
    return {"config": name, "atoms": atoms, "edges": len(batch.graph.senders), **times}


def to_microseconds_per_atom(
    seconds: Mapping[str, Mapping[str, float]], atoms: int
) -> dict[str, dict[str, float]]:
    """Convert seconds of a batch to microseconds an atom."""
    return {who: {key: 1e6 * s / atoms for key, s in row.items()} for who, row in seconds.items()}


def make_table(layers: Sequence[Mapping[str, Any]], networks: Sequence[Mapping[str, Any]]) -> str:
    """Make tables in Markdown: microseconds an atom, and how many times ours they are."""
    names = list(dict.fromkeys(who for layer in layers for who in layer["forward"]))
    lines = ["| layer of | atoms | | " + " | ".join(names) + " |", "|---|---|---|" + "---|" * len(names)]
    for layer in layers:
        for kind in ("forward", "with gradients"):
            best, row = layer[kind][OURS]["median"], layer[kind]
            cells = [
                f"{row[who]['median']:.3g} ({row[who]['median'] / best:.2f}x)" if who in row else "-"
                for who in names
            ]
            lines.append(f"| {layer['config']} | {layer['atoms']} | {kind} | " + " | ".join(cells) + " |")
    if networks:
        lines += ["", "| network | atoms | inference | training |", "|---|---|---|---|"]
    for network in networks:
        cells = [f"{network[kind]['median']:.3g}" for kind in ("inference", "training")]
        lines.append(f"| {network['config']} | {network['atoms']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def installed_versions() -> dict[str, str]:
    """Return the versions of the other libraries that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure BM1 and BM2; print tables in microseconds an atom and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.gpu_peers", description=__doc__)
    parser.add_argument(
        "--structures", type=int, nargs="+", default=[200, 800], help="20-atom perovskites in each batch"
    )
    parser.add_argument("--repeats", type=int, default=21)
    parser.add_argument("--whole", action="store_true", help="measure our whole network, too")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    if jax.default_backend() == "cpu" and options.output.resolve() == OUTPUT.resolve():
        parser.error(f"{OUTPUT.name} holds times of a GPU and JAX runs on a CPU here; give another --output")
    if min(*options.structures, options.repeats) < 1:
        parser.error("--structures and --repeats must be 1 or more")
    layers, networks = [], []
    for count in options.structures:
        structures = perovskites(count)
        for name in ("bm1.py", "bm2.py"):
            batch = collate_together(structures, load_config(name).model.cutoff, slots=True)
            layers.append(measure_layer(name, batch, options.repeats))
            if options.whole:
                networks.append(measure_network(name, batch, options.repeats))
    result = {**describe_machine(), "libraries": installed_versions(), "unit": "us/atom"}
    write_result(options.output, {**result, "layers": layers, "networks": networks})
    print(make_table(layers, networks))


if __name__ == "__main__":
    main()
