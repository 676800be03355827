"""Milliseconds an atom, inference and training, against the plain kernel: `python -m benchmarks.speed`.

Both kernels run the same batches with the same weights in turn; the tensors are compared before the clock
starts. Compilation is timed apart. Times are medians.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.machine import describe_machine
from equivar_jax.batch import Batch, Sample, collate
from equivar_jax.config import Kernel, load_config
from equivar_jax.datasets import demonstration_set
from equivar_jax.graph import build_graph
from equivar_jax.packing import GraphSizes, edge_fill, plan_budgets
from equivar_jax.steps import (
    ErrorSums,
    Steps,
    initial_state,
    learning_rate_schedule,
    make_optimizer,
    make_steps,
)
from equivar_jax.structures import born_effective_charges

KERNELS: tuple[Kernel, ...] = ("native", "reference")


def demonstration_batch(structures: int, cutoff: float) -> tuple[Batch, float]:
    """One batch of demonstration perovskites, and the share of its edge slots that hold an edge."""
    made = demonstration_set(perovskites=structures, progress=False)
    samples = [Sample(build_graph(atoms, cutoff), born_effective_charges(atoms)) for atoms in made]
    (budget,) = plan_budgets(sizes := GraphSizes.of(s.graph for s in samples), structures)[-1:]
    return jax.device_put(collate(samples, budget)), edge_fill(sizes, [budget])


def median_seconds(calls: Mapping[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median time of each call, taken in turn so that they share whatever else the machine does."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def measure(name: str, structures: int, repeats: int) -> dict[str, Any]:
    """One config: ms an atom of both kernels, and their ratio."""
    config = load_config(name)
    batch, fill = demonstration_batch(structures, config.model.cutoff)
    atoms = int(batch.node_mask.sum())
    edges = int(batch.graph.nodes["neighbours"].sum())
    model = replace(config.model, mean_neighbours=edges / atoms)
    optimizer = make_optimizer(config.train, learning_rate_schedule(config.train, 1))
    state = initial_state(model, config.train, optimizer, batch)
    params, states, steps, compile_seconds = state.params, {}, {}, {}
    for kernel in KERNELS:
        steps[kernel] = make_steps(replace(model, kernel=kernel), config.train, optimizer)
        start = time.perf_counter()
        states[kernel] = steps[kernel].train(jax.tree.map(jax.numpy.copy, state), batch)
        jax.block_until_ready(states[kernel])
        compile_seconds[kernel] = time.perf_counter() - start
    check_agreement(steps, params, batch)

    def training(kernel: Kernel) -> Callable[[], Any]:
        def call() -> Any:
            states[kernel] = steps[kernel].train(states[kernel], batch)  # the old state is donated
            return states[kernel]

        return call

    def inference(kernel: Kernel) -> Callable[[], Any]:
        return lambda: steps[kernel].validate(params, ErrorSums.zero(), batch)

    seconds = {
        "inference": median_seconds({k: inference(k) for k in KERNELS}, repeats),
        "training": median_seconds({k: training(k) for k in KERNELS}, repeats),
    }
    result: dict[str, Any] = {"config": name, "atoms": atoms, "edges": edges, "edge_fill": fill}
    for kind, medians in seconds.items():
        result[kind] = {f"{kernel}_ms_per_atom": 1e3 * medians[kernel] / atoms for kernel in KERNELS}
        result[kind]["speedup"] = medians["reference"] / medians["native"]
    return result | {"first_call_seconds": compile_seconds}


def check_agreement(steps: Mapping[Kernel, Steps], params: dict, batch: Batch) -> None:
    """Refuse to time kernels that do not compute the same."""
    errors = [steps[kernel].validate(params, ErrorSums.zero(), batch).mean() for kernel in KERNELS]
    np.testing.assert_allclose(errors[0], errors[1], rtol=1e-4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure BM1 and BM2; print a table and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__)
    parser.add_argument("--structures", type=int, default=16, help="20-atom perovskites in the batch")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "speed.json")
    options = parser.parse_args(arguments)
    results = [measure(name, options.structures, options.repeats) for name in ("bm1.py", "bm2.py")]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({**describe_machine(), "results": results}, indent=2) + "\n")
    for result in results:
        for kind in ("inference", "training"):
            row = result[kind]
            print(
                f"{result['config']:8} {kind:10} {row['native_ms_per_atom']:.3f} ms/atom, "
                f"plain kernel {row['reference_ms_per_atom']:.3f} ms/atom, {row['speedup']:.1f} times"
            )
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
