"""Time an atom against the size of structure and data set: `python -m benchmarks.speed.scaling`.

These are Figs. S2 and S3 of the paper. Inference takes one crystal of growing size, layer by layer. Training
takes an epoch of growing sets of demonstration structures of 20, 32 and 48 atoms, host work included.
Compilation is timed separately. `host_share` is the part of the time in which the device waits for graphs
(inference, where they are built first) or batches (training). Published times (RTX A6000) are drawn, too.
"""

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ase import Atoms

from benchmarks.common.machine import describe_machine
from benchmarks.common.plots import plot_scaling
from benchmarks.common.shapes import collate_together, prepare_network
from benchmarks.common.timing import RESULTS, time_first_call, time_in_turn, write_result
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import ModelConfig, TrainConfig
from equivar_jax.datasets import demonstration_set
from equivar_jax.graphs.batch import Batch, Sample, collate, prefetch
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.packing import Budget, GraphSizes, edge_fill, epoch_batches, plan_budgets
from equivar_jax.kernels import needs_slots
from equivar_jax.network.model import Equivar
from equivar_jax.prediction.layerwise import tensors_layer_by_layer
from equivar_jax.structures import born_effective_charges
from equivar_jax.training.losses import ErrorSums
from equivar_jax.training.optimizers import make_optimizer
from equivar_jax.training.steps import TrainState, make_steps

PUBLISHED = {
    "bm1.py": {"inference": 0.340, "training": 0.493},
    "bm2.py": {"inference": 0.117, "training": 0.156},
}
"""Published ms an atom (and epoch) on an RTX A6000 (Kutana et al., Sci. Rep. 15, 2025)."""
FAMILIES = {"perovskite": 0, "Li3PO4": 1, "ZrO2": 2}
BATCH_SIZE = 32
LARGE = 50_000


def make_family(kind: str, count: int) -> list[Atoms]:
    """Make demonstration structures of one family."""
    counts = [0, 0, 0]
    counts[FAMILIES[kind]] = count
    return list(demonstration_set(*counts, progress=False))


def measure_inference(
    config: ModelConfig, params: dict, kind: str, sizes: Sequence[int], repeats: int
) -> list[dict[str, Any]]:
    """Time inference on one crystal of growing size; graph and network are timed separately."""
    (cell,) = make_family(kind, 1)
    model, rows = Equivar(config), []
    for size in sizes:
        repeat = max(1, round((size / len(cell)) ** (1 / 3)))
        atoms = cell.repeat((repeat, repeat, max(1, round(size / len(cell) / repeat**2))))
        graph = build_graph(atoms, config.cutoff)
        graph_seconds = time_first_call(partial(build_graph, atoms, config.cutoff))
        run = partial(tensors_layer_by_layer, model, params, graph, min(8192, len(atoms)))
        compiling = time_first_call(run)
        # A second call of a large crystal takes long enough to be timed once.
        seconds = (
            time_in_turn({"network": run}, repeats)["network"]
            if len(atoms) < LARGE
            else {"median": time_first_call(run)}
        )
        rows.append(
            {
                "family": kind,
                "atoms": len(atoms),
                "edges": len(graph.senders),
                "host_share": graph_seconds / (graph_seconds + seconds["median"]),
                "graph_ms_per_atom": 1e3 * graph_seconds / len(atoms),
                "first_call_seconds": compiling,
                **{f"{key}_ms_per_atom": 1e3 * value / len(atoms) for key, value in seconds.items()},
            }
        )
        print(rows[-1])
    return rows


def measure_training(
    config: ModelConfig, kind: str, counts: Sequence[int], repeats: int
) -> list[dict[str, Any]]:
    """Time an epoch of training over growing sets of one family, from graphs to weights."""
    rows = []
    for count in counts:
        samples = [
            Sample(build_graph(atoms, config.cutoff), born_effective_charges(atoms))
            for atoms in make_family(kind, count)
        ]
        sizes = GraphSizes.of(sample.graph for sample in samples)
        budgets = plan_budgets(sizes, BATCH_SIZE, needs_slots(config.kernel, config.channels))
        run, compute = _prepare_epoch(config, samples, budgets, sizes)
        compiling = time_first_call(run)
        times = time_in_turn({"epoch": run, "compute": compute}, repeats)
        seconds = times["epoch"]
        atoms = int(sizes.atoms.sum())
        rows.append(
            {
                "family": kind,
                "structures": count,
                "atoms": atoms,
                "padding_fill": edge_fill(sizes, budgets),
                "host_share": 1 - times["compute"]["median"] / seconds["median"],
                "first_epoch_seconds": compiling,
                **{f"{key}_ms_per_atom_epoch": 1e3 * value / atoms for key, value in seconds.items()},
            }
        )
        print(rows[-1])
    return rows


def _prepare_epoch(
    config: ModelConfig, samples: Sequence[Sample], budgets: Sequence[Budget], sizes: GraphSizes
) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return two calls: an epoch as training runs it, and the same with batches made beforehand."""
    optimizer = make_optimizer(TrainConfig(), optax.constant_schedule(1e-3))
    batches = epoch_batches(sizes, budgets, 0, 0)
    make = lambda batch: collate([samples[k] for k in batch[1]], budgets[batch[0]])  # noqa: E731
    ready = [jax.device_put(make(batch)) for batch in batches]
    config = replace(config, mean_neighbours=float(sizes.edges.sum() / sizes.atoms.sum()))
    steps = make_steps(config, TrainConfig(), optimizer)
    params = {"params": jax.jit(Equivar(config).init)(jax.random.key(0), ready[0].graph)["params"]}
    state = [TrainState(params, None, optimizer.init(params), ErrorSums.zero())]

    def run(batches: Iterable[Batch]) -> None:
        for batch in batches:
            state[0] = steps.train(state[0], batch)
        jax.block_until_ready(state[0])

    return lambda: run(prefetch(make, epoch_batches(sizes, budgets, 0, 0))), lambda: run(ready)


def fit_line(rows: Sequence[dict[str, Any]], key: str) -> dict[str, float]:
    """Fit seconds = slope x atoms + offset, by least squares on relative errors."""
    atoms = np.array([row["atoms"] for row in rows], float)
    seconds = atoms * np.array([row[key] for row in rows]) / 1e3
    matrix = np.stack([atoms, np.ones_like(atoms)], axis=1) / seconds[:, None]
    slope, offset = np.linalg.lstsq(matrix, np.ones_like(atoms), rcond=None)[0]
    return {"ms_per_atom": 1e3 * slope, "offset_seconds": offset}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure BM1 and BM2; write JSON and a picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.scaling", description=__doc__)
    parser.add_argument("--largest", type=int, default=1_000_000, help="atoms of the largest structure")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "scaling.json")
    options = parser.parse_args(arguments)
    sizes = [
        size for size in (20, 160, 1280, 10_000, 100_000, 1_000_000, 10_000_000) if size <= options.largest
    ]
    results: dict[str, Any] = {}
    for name in ("bm1.py", "bm2.py"):
        config = load_config(name).model
        slots = needs_slots(config.kernel, config.channels)
        config, params = prepare_network(
            config, collate_together(make_family("perovskite", 4), config.cutoff, slots)
        )
        params = jax.tree.map(jnp.asarray, params)
        found = {
            "inference": measure_inference(config, params, "perovskite", sizes, options.repeats),
            "training": measure_training(config, "perovskite", (32, 128, 512), options.repeats),
        }
        fits = {
            "inference": fit_line(found["inference"], "median_ms_per_atom"),
            "training": fit_line(found["training"], "median_ms_per_atom_epoch"),
        }
        for kind in ("Li3PO4", "ZrO2"):
            middle = [size for size in sizes if 1000 <= size <= 100_000]
            found["inference"] += measure_inference(config, params, kind, middle, options.repeats)
            found["training"] += measure_training(config, kind, (128,), options.repeats)
        results[name] = {**found, "linear_fit": fits, "published_A6000_ms_per_atom": PUBLISHED[name]}
    write_result(options.output, {**describe_machine(), "results": results})
    plot_scaling(results, options.output.with_suffix(".png"))


if __name__ == "__main__":
    main()
