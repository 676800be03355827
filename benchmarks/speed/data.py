"""Time and memory of the data: `python -m benchmarks.speed.data`.

The full demonstration set is made, its graphs are built and opened again from the cache. Each stage runs in a
process of its own, which reports its time and its peak memory. Our graphs (every periodic image, matscipy)
are timed against `ase.neighborlist.neighbor_list` on the same structures.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ase.neighborlist import neighbor_list

from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS
from equivar_jax.cache import CACHE_VARIABLE
from equivar_jax.config.schema import Config, DataConfig, DemonstrationConfig, ModelConfig
from equivar_jax.datasets import demonstration_set
from equivar_jax.datasets.load import load_dataset
from equivar_jax.graphs.batch import collate
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.packing import epoch_batches, plan_budgets

PUBLISHED_SET = DemonstrationConfig(perovskites=1224, li3po4=17991, zro2=10103)
"""The demonstration set with as many structures of each family as the published training set has."""


def make(config: Config) -> dict[str, Any]:
    """Generate and label the structures."""
    demonstration = config.data.demonstration
    structures = demonstration_set(demonstration.perovskites, demonstration.li3po4, demonstration.zro2)
    return {"structures": len(structures), "atoms": len(structures.columns["numbers"])}


def build(config: Config) -> dict[str, Any]:
    """Divide the structures, which are in the cache, and build all graphs."""
    return load_dataset(config).statistics


def open_again(config: Config) -> dict[str, Any]:
    """Open divided structures and graphs from the cache."""
    return load_dataset(config).statistics


def epoch(config: Config) -> dict[str, Any]:
    """Open structures and graphs from the cache and collate every batch of an epoch."""
    dataset = load_dataset(config)
    sizes = dataset.training.sizes
    budgets = plan_budgets(sizes, batch_size=32)
    started = time.perf_counter()
    batches = epoch_batches(sizes, budgets, seed=0, epoch=0)
    packed = time.perf_counter()
    for bucket, members in batches:
        collate([dataset.training[k] for k in members], budgets[bucket])
    return {
        "batches": len(batches),
        "seconds_packing": packed - started,
        "seconds_collating": time.perf_counter() - packed,
    }


def neighbour_lists(config: Config) -> dict[str, Any]:
    """Time our neighbour list and ASE's, in milliseconds a structure, on every 100th structure."""
    demonstration = config.data.demonstration
    structures = demonstration_set(demonstration.perovskites, demonstration.li3po4, demonstration.zro2)
    chosen = list(structures[::100])
    result = {}
    calls: dict[str, Callable] = {
        "equivar_jax": lambda atoms: build_graph(atoms, config.model.cutoff),
        "ase": lambda atoms: neighbor_list("ijD", atoms, config.model.cutoff),
    }
    for name, call in calls.items():
        call(chosen[0])
        started = time.perf_counter()
        for atoms in chosen:
            call(atoms)
        result[f"ms_{name}"] = 1e3 * (time.perf_counter() - started) / len(chosen)
    return {**result, "ratio": result["ms_ase"] / result["ms_equivar_jax"]}


STAGES: dict[str, Callable[[Config], dict[str, Any]]] = {
    stage.__name__: stage for stage in (make, build, open_again, epoch, neighbour_lists)
}


def run_stage(name: str, scale: float, cutoff: float) -> None:
    """Run one stage in this process and print its record as JSON."""
    counts = {kind: round(scale * count) for kind, count in vars(PUBLISHED_SET).items() if kind != "seed"}
    demonstration = replace(PUBLISHED_SET, **counts)
    config = Config(DataConfig(demonstration=demonstration), ModelConfig(cutoff=cutoff))
    started = time.perf_counter()
    record = STAGES[name](config)
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2
    print(json.dumps({"stage": name, "seconds": seconds, "peak_memory_GiB": peak, **record}))


def main() -> None:
    """Run all stages and write JSON, or one stage where the command line names one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="share of the published 29,318 structures")
    parser.add_argument("--cutoff", type=float, default=3.0)
    parser.add_argument("--output", type=Path, default=RESULTS / "data.json")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        return run_stage(options.stage, options.scale, options.cutoff)
    records = []
    with TemporaryDirectory() as cache:
        for name in STAGES:
            command = [sys.executable, "-m", "benchmarks.speed.data", "--stage", name]
            command += ["--scale", str(options.scale), "--cutoff", str(options.cutoff)]
            finished = subprocess.run(
                command,
                env={**os.environ, CACHE_VARIABLE: cache},
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            records.append(json.loads(finished.stdout))
            print(finished.stdout, end="")
    result = {**describe_machine(), "cutoff": options.cutoff, "scale": options.scale, "stages": records}
    options.output.write_text(json.dumps(result, indent=2) + "\n")
    return None


if __name__ == "__main__":
    main()
