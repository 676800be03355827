"""Two readouts of the core of `bm3_deep.py` on real data: `python -m benchmarks.teacher.derivative_head`.

"direct" is the readout of the package: Born effective charges from 0e + 1e + 2e, then the acoustic sum rule.
It is applied in the loss, too, since the other form obeys it there. "derivative" is the readout of
`equivar_jax.network.polarisation`.

The data are BaTiO3-300K: the first 39 frames to train on and the next 8 to validate; the last 12, the test
part, are left out. Both forms run on XLA ("chunked"), which can be differentiated twice. The direct form does
not need that and can use the C++ kernel, which is only timed here. Seconds are processor time, since others
may use the machine. "direct, equal time" has as many steps as fit into the time of the derivative form, with
a schedule of its own.
"""

import argparse
import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jraph
import numpy as np
import optax
from ase import Atoms
from jaxtyping import Array, Float

from benchmarks.common.machine import describe_machine
from benchmarks.common.shapes import collate_alone
from benchmarks.common.timing import RESULTS, write_result
from benchmarks.real_data.parts import data_folder, divide_set
from benchmarks.teacher.derivative_form import draw_first_weights
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.config.teaching import form_of_committee
from equivar_jax.graphs.batch import Batch, Sample
from equivar_jax.kernels import choose_kernel
from equivar_jax.network.forms import make_network
from equivar_jax.network.initial_weights import scale_to_unit_variance, start_from_labels
from equivar_jax.network.model import Equivar, born_effective_charges, count_parameters
from equivar_jax.training.losses import ErrorSums, absolute_errors
from equivar_jax.training.optimizers import learning_rate_schedule, make_optimizer
from equivar_jax.training.steps import draw_weights

SET = "BaTiO3-300K"
CONFIG = "bm3_deep.py"
FRAMES, TRAINING = 47, 39
WARM_UP_STEPS = 10
TIMED_STEPS = 20
"""Number of steps to time the C++ kernel with; it gives the same tensors."""


class Head(NamedTuple):
    """A network with one of the readouts, and its initial weights."""

    predict: Callable[[dict, jraph.GraphsTuple], Float[Array, "nodes 3 3"]]
    params: dict


def make_direct_head(config: ModelConfig, samples: Sequence[Sample], typical: Batch, seed: int) -> Head:
    """Make the network with the readout of the package, and the weights that it starts with."""
    model = Equivar(config)
    params = scale_to_unit_variance(model, draw_weights(config, seed), typical.graph)
    return Head(lambda p, graph: born_effective_charges(model, p, graph), start_from_labels(params, samples))


def make_derivative_head(config: ModelConfig, samples: Sequence[Sample], typical: Batch, seed: int) -> Head:
    """Make the network with the polarisation as readout.

    It starts like the other one: at the mean and spread of the labels.
    """
    config = form_of_committee(config)
    network, params = make_network(config), draw_first_weights(config, seed, typical, samples)
    return Head(network.apply, params)


def train_head(head: Head, batches: Sequence[Batch], config: TrainConfig, steps: int) -> tuple[dict, dict]:
    """Train for some steps of one frame each; return the weights, and the time that a step took."""
    settings = dataclasses.replace(config, epochs=steps)  # the schedule counts in steps here
    optimizer = make_optimizer(settings, learning_rate_schedule(settings, 1))

    def loss(params: dict, batch: Batch) -> Float[Array, ""]:
        return absolute_errors(head.predict(params, batch.graph), batch).ratio()

    @jax.jit
    def step(params: dict, state: optax.OptState, batch: Batch) -> tuple[dict, optax.OptState]:
        gradient = jax.grad(lambda p: loss(p, batch))(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    params, state, order = head.params, optimizer.init(head.params), _draw_order(len(batches), config.seed)
    compiled = step.lower(params, state, batches[0]).compile()
    wall, processor = time.perf_counter(), time.process_time()
    for _ in range(steps):
        params, state = jax.block_until_ready(compiled(params, state, batches[next(order)]))
    return params, {
        "steps": steps,
        "cpu_seconds_per_step": (time.process_time() - processor) / steps,
        "wall_seconds_per_step": (time.perf_counter() - wall) / steps,
    }


def _draw_order(count: int, seed: int) -> Iterator[int]:
    """Yield frame numbers in an order that is new in every epoch and the same for every head."""
    rng = np.random.default_rng(seed)
    while True:
        yield from rng.permutation(count).tolist()


def mean_absolute_error(head: Head, params: dict, batches: Sequence[Batch]) -> float:
    """Return the mean absolute error over the components of all atoms, in e."""
    errors = jax.jit(lambda p, batch: absolute_errors(head.predict(p, batch.graph), batch))
    return sum((errors(params, batch) for batch in batches), ErrorSums.zero()).mean()


def make_settings(options: argparse.Namespace, samples: Sequence[Sample]) -> tuple[ModelConfig, TrainConfig]:
    """Return network and training settings in the size that the options ask for."""
    config = load_config(CONFIG)
    edges = sum(len(sample.graph.senders) for sample in samples)
    model = dataclasses.replace(
        config.model,
        channels=options.channels,
        interactions=options.interactions,
        edge_hidden=options.channels,
        radial_functions=32,
        mean_neighbours=edges / sum(len(sample.graph.nodes["species"]) for sample in samples),
        kernel="chunked",
    )
    training = dataclasses.replace(
        config.train,
        batch_size=1,
        learning_rate=options.learning_rate,
        warmup_epochs=float(WARM_UP_STEPS),
        ema_decay=None,
        seed=options.seed,
        optimizer="adamw",
    )
    return model, training


def compare_heads(
    structures: Sequence[Atoms], training: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Train every head and validate it; return a row for each.

    Args:
        structures: Labelled structures.
        training: Number of structures, from the first, to train on; the others validate.
        options: Those of the command line.
    """
    samples, batches = collate_alone(structures, load_config(CONFIG).model.cutoff)
    batches = jax.device_put(batches)
    samples, seen, unseen = samples[:training], batches[:training], batches[training:]
    model, settings = make_settings(options, samples)
    rows: list[dict[str, Any]] = []

    def add(name: str, head: Head, steps: int) -> float:
        params, took = train_head(head, seen, settings, steps)
        row = {"head": name, "kernel": model.kernel, "parameters": count_parameters(params), **took}
        row["training_mae"] = mean_absolute_error(head, params, seen)
        row["validation_mae"] = mean_absolute_error(head, params, unseen)
        rows.append(row)
        print(row, flush=True)
        return took["cpu_seconds_per_step"]

    direct = make_direct_head(model, samples, seen[0], options.seed)
    fast = add("direct", direct, options.steps)
    slow = add("derivative", make_derivative_head(model, samples, seen[0], options.seed), options.steps)
    add("direct, equal time", direct, max(1, round(options.steps * slow / fast)))
    if choose_kernel("auto", model.channels) == "native":
        native = dataclasses.replace(model, kernel="native")
        _, took = train_head(
            make_direct_head(native, samples, seen[0], options.seed), seen, settings, TIMED_STEPS
        )
        rows.append({"head": "direct, time only", "kernel": "native", **took})
    return rows


def make_table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as a table in Markdown."""
    columns = (
        "head",
        "kernel",
        "parameters",
        "steps",
        "cpu_seconds_per_step",
        "training_mae",
        "validation_mae",
    )
    lines = [[_format_cell(row.get(name, "")) for name in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *lines])


def _format_cell(value: float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the heads, print a table and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teacher.derivative_head", description=__doc__)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--interactions", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS / "derivative_head.json")
    options = parser.parse_args(arguments)
    structures = divide_set(SET, data_folder())[0][:FRAMES]
    rows = compare_heads(structures, TRAINING, options)
    print(make_table(rows))
    words = sys.argv[1:] if arguments is None else arguments
    result = {
        **describe_machine(),
        "command": shlex.join(["python", "-m", "benchmarks.teacher.derivative_head", *words]),
        "set": {"name": SET, "training": TRAINING, "validation": FRAMES - TRAINING},
        "config": {name: value for name, value in vars(options).items() if name != "output"},
        "results": rows,
    }
    write_result(options.output, result)


if __name__ == "__main__":
    main()
