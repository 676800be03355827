"""How each kind of row is measured. Times are in microseconds an atom, on the default device of JAX."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.common.shapes import collate_together, perovskites
from benchmarks.common.timing import time_in_turn
from benchmarks.speed.gpu_peers import installed_versions, measure_layer
from benchmarks.speed.roofline import bytes_per_atom
from benchmarks.speed.scaling import make_family, measure_training
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Config, ModelConfig
from equivar_jax.graphs.batch import Batch, Sample, collate
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.packing import Budget, GraphSizes
from equivar_jax.kernels import needs_slots
from equivar_jax.network.forms import make_network
from equivar_jax.network.model import Equivar
from equivar_jax.prediction.layerwise import NODES_AT_ONCE, tensors_layer_by_layer
from equivar_jax.structures import born_effective_charges
from equivar_jax.training.optimizers import make_optimizer
from equivar_jax.training.steps import draw_weights, initial_state, make_steps

if TYPE_CHECKING:
    from benchmarks.gpu.rows import Sizes

Measure = Callable[[], dict[str, Any]]
"""Measures, and returns the numbers of a row."""
DIFFERENT = 50
"""Different perovskites in a batch; a larger batch has each several times."""


def measure_copy(sizes: Sizes) -> dict[str, Any]:
    """Measure how fast the device reads an array and writes another."""
    source = jnp.zeros(sizes.copied_bytes // 4, jnp.float32)
    add = jax.jit(lambda array: array + 1.0)  # a mere copy may be left out by the compiler
    seconds = time_in_turn({"copy": lambda: add(source).block_until_ready()}, 3 * sizes.repeats)["copy"]
    return {"bytes_per_second": 2 * sizes.copied_bytes / seconds["median"], "seconds": seconds}


def read_config(name: str, sizes: Sizes) -> Config:
    """Return a shipped config in the sizes of the benchmark."""
    config = load_config(name)
    changed: dict[str, Any] = dict(sizes.network)
    return replace(config, model=replace(config.model, **changed))


def make_batch(config: ModelConfig, atoms: int) -> Batch:
    """Make one batch of perovskites of 20 atoms, with the least padding."""
    count = max(1, atoms // 20)
    different = [
        Sample(build_graph(each, config.cutoff), born_effective_charges(each))
        for each in perovskites(min(count, DIFFERENT))
    ]
    samples = [different[k % len(different)] for k in range(count)]
    found = GraphSizes.of(sample.graph for sample in samples)
    width = int(found.degrees.max()) if needs_slots(config.kernel, config.channels) else 0
    return collate(
        samples, Budget(int(found.atoms.sum()) + 1, int(found.edges.sum()), width, len(samples) + 1)
    )


def prepare_network(name: str, atoms: int, kind: str, sizes: Sizes) -> Measure:
    """Compile inference or a step of training of a network for one batch.

    Args:
        name: The config.
        atoms: In the batch.
        kind: "inference", the tensors before the sum rule, or "training", loss, gradient and optimiser.
        sizes: Of everything else.
    """
    whole = read_config(name, sizes)
    batch = make_batch(whole.model, atoms)
    real, edges = int(batch.node_mask.sum()), len(batch.graph.senders)
    config = replace(whole.model, mean_neighbours=edges / real)
    params = jax.tree.map(jnp.asarray, draw_weights(config, 0))
    batch = jax.device_put(batch)
    started = time.perf_counter()
    call, cost = (_compile_inference if kind == "inference" else _compile_training)(
        replace(whole, model=config), params, batch
    )
    compiling = time.perf_counter() - started

    def measure() -> dict[str, Any]:
        assert np.isfinite(np.asarray(call())).all(), "numbers that are not finite"
        seconds = time_in_turn({"call": call}, sizes.repeats)["call"]
        least = None
        if kind == "inference" and config.form == "direct":
            least = real * bytes_per_atom(config, edges / real)
        return {
            "measured_atoms": real,
            "edges": edges,
            "us_per_atom": {key: 1e6 * value / real for key, value in seconds.items()},
            "compile_seconds": compiling,
            "least_bytes": least,
            "bytes_counted_by_xla": cost.get("bytes accessed"),
        }

    return measure


def _compile_inference(
    whole: Config, params: dict, batch: Batch
) -> tuple[Callable[[], jax.Array], dict[str, float]]:
    """Return a call that waits for the tensors, and what XLA says of its cost."""
    program = jax.jit(make_network(whole.model).apply).lower(params, batch.graph).compile()
    return lambda: program(params, batch.graph).block_until_ready(), program.cost_analysis() or {}


def _compile_training(
    whole: Config, params: dict, batch: Batch
) -> tuple[Callable[[], jax.Array], dict[str, float]]:
    """Return a call that takes a step and waits for the sum of errors, and what XLA says of its cost."""
    optimizer = make_optimizer(whole.train, optax.constant_schedule(1e-4))
    leaves, tree = jax.tree.flatten(initial_state(params, whole.train, optimizer))
    train = make_steps(whole.model, whole.train, optimizer).train.__wrapped__  # type: ignore[attr-defined]

    def of_leaves(leaves: list[jax.Array], batch: Batch) -> list[jax.Array]:
        return jax.tree.leaves(train(jax.tree.unflatten(tree, leaves), batch))

    program = jax.jit(of_leaves, donate_argnums=0).lower(leaves, batch).compile()
    state = [leaves]

    def step() -> jax.Array:
        state[0] = jax.block_until_ready(program(state[0], batch))
        return jax.tree.unflatten(tree, state[0]).sums.absolute

    return step, program.cost_analysis() or {}


def measure_crystal(name: str, atoms: int, again: bool, sizes: Sizes) -> dict[str, Any]:
    """Measure inference on one crystal, layer by layer.

    Args:
        name: The config.
        atoms: About how many.
        again: Time further calls, which compile nothing; otherwise the first one alone is timed.
        sizes: Of everything else.
    """
    (cell,) = make_family("perovskite", 1)
    repeat = max(1, round((atoms / len(cell)) ** (1 / 3)))
    crystal = cell.repeat((repeat, repeat, max(1, round(atoms / len(cell) / repeat**2))))
    config = read_config(name, sizes).model
    started = time.perf_counter()
    graph = build_graph(crystal, config.cutoff)
    graph_seconds = time.perf_counter() - started
    config = replace(config, mean_neighbours=len(graph.senders) / len(crystal))
    model, params = Equivar(config), jax.tree.map(jnp.asarray, draw_weights(config, 0))

    def run() -> None:
        found = tensors_layer_by_layer(model, params, graph, min(NODES_AT_ONCE, len(crystal)))
        assert np.isfinite(found).all(), "numbers that are not finite"

    started = time.perf_counter()
    run()
    first = time.perf_counter() - started
    seconds = time_in_turn({"call": run}, 2)["call"] if again else {"median": first}
    return {
        "measured_atoms": len(crystal),
        "edges": len(graph.senders),
        "graph_seconds": graph_seconds,
        "first_call_seconds": first,
        "compilation_included": not again,
        "us_per_atom": {key: 1e6 * value / len(crystal) for key, value in seconds.items()},
        "peak_bytes_of_device": _peak_bytes(),
    }


def _peak_bytes() -> int | None:
    """Return the most memory that this process has held on the device, if it tells."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def measure_epoch(name: str, count: int, sizes: Sizes) -> dict[str, Any]:
    """Measure an epoch of training on perovskites, from graphs to weights, host work included."""
    (row,) = measure_training(read_config(name, sizes).model, "perovskite", (count,), sizes.repeats)
    key = "_ms_per_atom_epoch"
    times = {name.removesuffix(key): 1e3 * value for name, value in row.items() if name.endswith(key)}
    return {
        "measured_atoms": row["atoms"],
        "host_share": row["host_share"],
        "first_epoch_seconds": row["first_epoch_seconds"],
        "us_per_atom": times,
    }


def measure_one_layer(name: str, sizes: Sizes) -> dict[str, Any]:
    """Measure one layer beside those of other libraries, which must give the same numbers."""
    batch = collate_together(
        perovskites(sizes.structures_of_layer), load_config(name).model.cutoff, slots=True
    )
    found = measure_layer(name, batch, sizes.repeats)
    return {"measured_atoms": found["atoms"], "libraries": installed_versions(), **found}
