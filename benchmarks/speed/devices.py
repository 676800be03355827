"""A training step on one device and divided among several: `python -m benchmarks.speed.devices`.

Strong scaling: one batch, divided among more and more devices. Weak scaling: as many structures for each
device as one device has alone. A CPU is made to look like four devices, which share its cores. Steps are
timed in turn, in one process, and given relative to the one on one device.
"""

import argparse
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import optax
from ase import Atoms

from benchmarks.common.machine import describe_machine
from benchmarks.common.shapes import perovskites
from benchmarks.common.timing import RESULTS, time_first_call, time_in_turn, write_result
from equivar_jax.config.files import load_config
from equivar_jax.graphs import GraphSizes, Sample, build_graph, plan_budgets
from equivar_jax.graphs.parts import plan_parts
from equivar_jax.kernels import needs_slots
from equivar_jax.structures import born_effective_charges
from equivar_jax.training import make_optimizer, make_steps
from equivar_jax.training.batches import BatchMaker
from equivar_jax.training.devices import choose_devices
from equivar_jax.training.steps import draw_weights, initial_state

VIRTUAL = 4
"""Devices that a CPU is made to look like."""
MEAN_NEIGHBOURS = 12.0
REMARK = (
    "Virtual devices of one CPU share its cores and its memory, and one of them may use all cores alone: the "
    "ratios say what the division of a batch costs (padding, copies, sums over devices, smaller matrices), "
    "not what more hardware gains; with two cores no ratio above two could be seen in any case."
)


def make_step(config_name: str, structures: Sequence[Atoms], number: int) -> Callable[[], Any]:
    """Make a training step on a batch of all structures, divided among a number of devices.

    Returns:
        A call that takes one step from where the last one ended, and waits for it.
    """
    config = load_config(config_name)
    model = dataclasses.replace(config.model, mean_neighbours=MEAN_NEIGHBOURS)
    samples = [
        Sample(build_graph(atoms, model.cutoff), born_effective_charges(atoms)) for atoms in structures
    ]
    sizes, everything = GraphSizes.of(sample.graph for sample in samples), list(range(len(samples)))
    dense = needs_slots(model.kernel, model.channels)
    budgets = plan_budgets(sizes, len(samples), dense)[-1:]  # the last one is wide enough for all
    devices = choose_devices(number)
    parts = plan_parts([(sizes, [(0, everything)])], budgets, number)
    batch = BatchMaker(samples, sizes, budgets, devices, parts).make((0, everything))
    optimizer = make_optimizer(config.train, optax.constant_schedule(1e-4))
    steps = make_steps(model, config.train, optimizer, devices=devices)
    state = initial_state(draw_weights(model, 0), config.train, optimizer)
    if devices is None:
        batch = jax.device_put(batch)
    else:
        state = devices.replicate(state)

    def step() -> None:
        nonlocal state
        state = jax.block_until_ready(steps.train(state, batch))

    return step


def measure(config: str, numbers: Sequence[int], structures: int, repeats: int) -> dict[str, Any]:
    """Time steps on several numbers of devices in turn.

    Args:
        config: Shipped config.
        numbers: Numbers of devices, 1 first.
        structures: In the batch that is divided; and for each device, where each has the same.
        repeats: Rounds.

    Returns:
        Seconds, median and quartiles, by the number of devices; and how they relate to those of one device.
    """
    most = perovskites(structures * max(numbers))
    calls = {f"strong {n}": make_step(config, most[:structures], n) for n in numbers}
    calls |= {f"weak {n}": make_step(config, most[: structures * n], n) for n in numbers if n > 1}
    for call in calls.values():
        time_first_call(call)
    times = time_in_turn(calls, repeats)
    times["weak 1"] = times["strong 1"]
    one = times["strong 1"]["median"]
    return {
        "config": config,
        "structures": structures,
        "strong": {
            n: {**times[f"strong {n}"], "times_faster": one / times[f"strong {n}"]["median"]} for n in numbers
        },
        "weak": {
            n: {**times[f"weak {n}"], "efficiency": one / times[f"weak {n}"]["median"]} for n in numbers
        },
    }


def _describe(times: Mapping[str, float]) -> str:
    """Describe a median and its quartiles in milliseconds."""
    median, lower, upper = (1e3 * times[name] for name in ("median", "lower", "upper"))
    return f"{median:.1f} ms ({lower:.1f} to {upper:.1f})"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line for each number of devices, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="bm2.py")
    parser.add_argument("--structures", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=RESULTS / "devices.json")
    options = parser.parse_args(arguments)
    virtual = f"--xla_force_host_platform_device_count={VIRTUAL}"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {virtual}".strip()
    numbers = [n for n in (1, 2, 4, 8) if n <= len(jax.devices())]
    result = measure(options.config, numbers, options.structures, options.repeats)
    for n in numbers:
        strong, weak = result["strong"][n], result["weak"][n]
        print(f"{n} devices, the same batch: {_describe(strong)}, {strong['times_faster']:.2f} times as fast")
        print(f"{n} devices, {n} batches: {_describe(weak)}, efficiency {weak['efficiency']:.2f}")
    remark = REMARK if jax.default_backend() == "cpu" else ""
    write_result(options.output, {**describe_machine(), "remark": remark, **result})


if __name__ == "__main__":
    main()
