"""The cost of each network an atom and an edge, on one set: `python -m benchmarks.speed.networks`."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.common.machine import describe_machine
from benchmarks.common.shapes import TAUGHT_CHANNELS, collate_together, perovskites, prepare_network
from benchmarks.common.timing import RESULTS, time_in_turn, write_result
from equivar_jax.config.files import load_config
from equivar_jax.kernels import needs_slots
from equivar_jax.network.model import Equivar, count_parameters

NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in ("bm1.py", "bm2.py", "bm3.py", "bm3_deep.py")},
    f"bm3_deep.py, {TAUGHT_CHANNELS} channels": ("bm3_deep.py", {"channels": TAUGHT_CHANNELS}),
}
"""The networks by name: a config, and the settings of its network that are changed."""


def measure(structures: int, repeats: int) -> list[dict[str, Any]]:
    """Time inference and a gradient by all weights, the networks taken in turn.

    Args:
        structures: Number of 20-atom perovskites in the batch.
        repeats: Number of rounds.
    """
    calls: dict[str, Any] = {}
    found: list[dict[str, Any]] = []
    for name, (shipped, changed) in NETWORKS.items():
        config = dataclasses.replace(load_config(shipped).model, **changed)
        batch = collate_together(
            perovskites(structures), config.cutoff, needs_slots(config.kernel, config.channels)
        )
        config, params = prepare_network(config, batch)
        model, batch = Equivar(config), jax.device_put(batch)

        def loss(params, batch, model=model):
            errors = jnp.abs(model.apply(params, batch.graph) - batch.tensors)
            return jnp.where(batch.node_mask[:, None, None], errors, 0.0).sum()

        apply, gradient = jax.jit(model.apply), jax.jit(jax.grad(loss))
        calls[f"{name} inference"] = lambda f=apply, p=params, b=batch: jax.block_until_ready(f(p, b.graph))
        calls[f"{name} training"] = lambda f=gradient, p=params, b=batch: jax.block_until_ready(f(p, b))
        atoms, edges = int(batch.node_mask.sum()), len(batch.graph.senders)
        found.append({"config": name, "parameters": count_parameters(params), "atoms": atoms, "edges": edges})
    seconds = time_in_turn(calls, repeats)
    for row in found:
        for kind in ("inference", "training"):
            median = seconds[f"{row['config']} {kind}"]["median"]
            row[kind] = {
                **seconds[f"{row['config']} {kind}"],
                "ms_per_atom": 1e3 * median / row["atoms"],
                "us_per_edge": 1e6 * median / row["edges"],
            }
    return found


def main() -> None:
    """Measure all networks; print a line each and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--structures", type=int, default=27)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "networks.json")
    options = parser.parse_args()
    results = measure(options.structures, options.repeats)
    for row in results:
        costs = ", ".join(
            f"{kind} {row[kind]['ms_per_atom']:.4f} ms/atom, {row[kind]['us_per_edge']:.2f} us/edge"
            for kind in ("inference", "training")
        )
        print(f"{row['config']:24s} {row['parameters']:>9,} parameters: {costs}")
    write_result(options.output, {**describe_machine(), "results": results})


if __name__ == "__main__":
    main()
