"""The same network, weights and graphs in other programs: `python -m benchmarks.speed.peers`.

Contestants run in turn in one process on the same cores. Before the clock starts each must give our tensors
to 1e-4 (except `torch e3nn uvu`, which is another function of the same size). Needs `pip install -e
".[bench]"`.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from ase import Atoms

from benchmarks.common.machine import describe_machine
from benchmarks.common.plain_network import equivar as plain_e3nn_jax
from benchmarks.common.plots import plot_peers
from benchmarks.common.shapes import collate_together, perovskites, phonon_dfpt, prepare_network
from benchmarks.common.timing import RESULTS, time_first_call, time_in_turn, write_result
from benchmarks.speed.report import peers_table
from benchmarks.speed.torch_equivar import Equivar as TorchEquivar
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import Kernel, ModelConfig, TrainConfig
from equivar_jax.graphs.batch import Batch
from equivar_jax.network.model import Equivar
from equivar_jax.training.losses import ErrorSums
from equivar_jax.training.optimizers import make_optimizer
from equivar_jax.training.steps import TrainState, make_steps

Calls = dict[str, Callable[[], Any]]
TOLERANCE = 1e-4
LEARNING_RATE = 0.005


def ours(name: Kernel, config: ModelConfig, params: dict, batch: Batch) -> tuple[Calls, np.ndarray]:
    """Prepare inference and training step of this package with one of its kernels.

    Returns:
        The calls, and the tensors that inference gives.
    """
    model = Equivar(replace(config, kernel=name))
    optimizer = make_optimizer(TrainConfig(), optax.constant_schedule(LEARNING_RATE))
    steps = make_steps(model.config, TrainConfig(), optimizer)
    weights = jax.tree.map(jnp.copy, params)
    state = [TrainState(weights, None, optimizer.init(weights), ErrorSums.zero())]
    batch = jax.device_put(batch)
    apply = jax.jit(model.apply)

    def training() -> None:
        state[0] = jax.block_until_ready(steps.train(state[0], batch))

    calls: Calls = {
        "inference": lambda: apply(params, batch.graph).block_until_ready(),
        "training": training,
    }
    return calls, np.asarray(apply(params, batch.graph))


def e3nn_jax(config: ModelConfig, params: dict, batch: Batch) -> tuple[Calls, np.ndarray]:
    """Prepare the plain implementation that the tests compare ours with."""
    graph, labels = jax.device_put((batch.graph, batch.tensors))
    mask = jnp.ones(len(graph.senders))
    optimizer = optax.adamw(LEARNING_RATE)

    @jax.jit
    def predict(params):
        species, vectors = graph.nodes["species"], graph.edges["vectors"]
        return plain_e3nn_jax(params, species, vectors, mask, graph.senders, graph.receivers, config)

    @jax.jit
    def step(params, state):
        gradient = jax.grad(lambda p: jnp.abs(predict(p)[:-1] - labels[:-1]).mean())(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    held = [(params, optimizer.init(params))]

    def training() -> None:
        held[0] = jax.block_until_ready(step(*held[0]))

    calls: Calls = {"inference": lambda: predict(params).block_until_ready(), "training": training}
    return calls, np.asarray(predict(params))


def torch_e3nn(form: Any, config: ModelConfig, params: dict, batch: Batch) -> tuple[Calls, np.ndarray]:
    """Prepare torch with e3nn, in the form "uuw" or "uvu" (see `torch_equivar`)."""
    model = TorchEquivar(config, params["params"], form)
    graph = batch.graph
    inputs = [
        torch.tensor(np.asarray(array))
        for array in (graph.nodes["species"], graph.edges["vectors"], graph.senders, graph.receivers)
    ]
    inputs = [inputs[0].long(), inputs[1], inputs[2].long(), inputs[3].long()]
    labels = torch.tensor(np.asarray(batch.tensors))
    trained = TorchEquivar(config, params["params"], form)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=LEARNING_RATE)

    def inference() -> None:
        with torch.inference_mode():
            model(*inputs)

    def training() -> None:
        optimizer.zero_grad(set_to_none=True)
        (trained(*inputs)[:-1] - labels[:-1]).abs().mean().backward()
        optimizer.step()

    with torch.inference_mode():
        tensors = model(*inputs).numpy()
    return {"inference": inference, "training": training}, tensors


def contestants(options: argparse.Namespace) -> dict[str, Callable[..., tuple[Calls, np.ndarray]]]:
    """Return the makers of all contestants that the options ask for, by name."""
    found: dict[str, Callable[..., tuple[Calls, np.ndarray]]] = {
        "equivar_jax": lambda *a: ours("auto", *a),
        "equivar_jax, XLA only": lambda *a: ours("chunked", *a),
        "torch e3nn uuw": lambda *a: torch_e3nn("uuw", *a),
    }
    if options.slow:
        found["e3nn-jax, plain"] = e3nn_jax
        found["torch e3nn uvu"] = lambda *a: torch_e3nn("uvu", *a)
    return found


def measure(
    name: str, label: str, structures: Sequence[Atoms], options: argparse.Namespace
) -> dict[str, Any]:
    """Time every contestant with one config on one batch, in milliseconds an atom.

    Args:
        name: The config.
        label: The name of the structures; phonon-dfpt has a wider cutoff and fewer interactions.
        structures: The structures of the batch.
        options: Those of the command line.

    Raises:
        SystemExit: A contestant gives other tensors.
    """
    config = load_config(name).model
    if label == "phonon-dfpt":
        config = replace(config, cutoff=5.0, interactions=3)
    batch = collate_together(structures, config.cutoff, slots=True)
    config, params = prepare_network(config, batch)
    atoms = int(batch.node_mask.sum())
    prepared, reference, compile_seconds, deviations = {}, None, {}, {}
    for contestant, prepare in contestants(options).items():
        calls, tensors = prepare(config, params, batch)
        reference = tensors if reference is None else reference
        deviations[contestant] = float(np.abs(tensors - reference)[:atoms].max() / np.abs(reference).max())
        if deviations[contestant] > TOLERANCE and contestant != "torch e3nn uvu":
            raise SystemExit(
                f"{contestant} gives other tensors: relative deviation {deviations[contestant]:.2g}"
            )
        compile_seconds[contestant] = time_first_call(calls["training"])
        prepared[contestant] = calls
    result: dict[str, Any] = {
        "config": name, "shape": label, "atoms": atoms, "edges": len(batch.graph.senders),
        "deviation": deviations, "first_training_step_seconds": compile_seconds,
    }  # fmt: skip
    for kind in ("inference", "training"):
        times = time_in_turn({who: calls[kind] for who, calls in prepared.items()}, options.repeats)
        result[kind] = {
            who: {key: 1e3 * value / atoms for key, value in summary.items()}
            for who, summary in times.items()
        }
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure BM1 and BM2; print a table, write JSON and a picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.peers", description=__doc__)
    parser.add_argument("--structures", type=int, default=54, help="20-atom perovskites in the batch")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument(
        "--slow", action="store_true", help="with plain e3nn-jax and torch uvu (give few structures)"
    )
    parser.add_argument("--output", type=Path, default=RESULTS / "peers.json")
    options = parser.parse_args(arguments)
    shapes = {"perovskite": perovskites(options.structures)}
    if not options.slow and (crystals := phonon_dfpt(80)) is not None:
        shapes["phonon-dfpt"] = crystals
    results = [
        measure(name, label, structures, options)
        for label, structures in shapes.items()
        for name in ("bm1.py", "bm2.py")
    ]
    versions = {"torch": torch.__version__, "torch threads": torch.get_num_threads()}
    write_result(options.output, {**describe_machine(), **versions, "unit": "ms/atom", "results": results})
    plot_peers(results, options.output.with_suffix(".png"))
    print(peers_table(results))


if __name__ == "__main__":
    main()
