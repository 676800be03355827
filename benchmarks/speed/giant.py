"""One structure on many devices, in time and memory: `python -m benchmarks.speed.giant`.

Devices are virtual: parts of one CPU, in one process. Times are therefore ratios: with the work of all
devices done by the same cores, n devices that cost nothing extra take the time of one (strong scaling, one
structure) or n times that (weak scaling, a structure for each). What they take beyond that is padding, halo
and exchange.

Memory is what XLA plans for each device (`memory_analysis` of compiled functions), which needs no arrays, so
that it is known for sizes that this machine could not hold. It is planned for the CPU, with the working set
that the kernel has on a GPU.
"""

import argparse
import dataclasses
import functools
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jraph
import numpy as np
from ase import Atoms
from ase.build import bulk
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS, time_in_turn, write_result
from equivar_jax import load
from equivar_jax.graphs.graph import find_neighbours
from equivar_jax.kernels import chunked
from equivar_jax.network.model import Equivar
from equivar_jax.prediction.giant import run
from equivar_jax.prediction.giant.bricks import divide
from equivar_jax.prediction.giant.exchange import Exchange
from equivar_jax.prediction.giant.regions import divide_graph, own_and_halo
from equivar_jax.prediction.layerwise import NODES_AT_ONCE
from equivar_jax.prediction.pieces import round_up

DEVICES = 4
FLAG = f"--xla_force_host_platform_device_count={DEVICES}"
NEIGHBOURS = 56
"""Within 5 Å in MgO, one of the denser oxides."""


def magnesia(cells: Sequence[int]) -> Atoms:
    """Make a rattled block of MgO of 8 atoms a cell."""
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True) * cells
    atoms.rattle(0.03, seed=1)
    return atoms


def measure_times(model: Equivar, params: dict, cells: Sequence[int], repeats: int) -> dict[str, Any]:
    """Time one structure on one to four devices, and a structure that grows with their number."""
    calls: dict[str, functools.partial] = {}
    rows: dict[str, dict[str, Any]] = {}
    # (devices, in how many parts of the largest): the last of both kinds are the same.
    shapes = {"strong_1": (1, DEVICES), "strong_2": (2, DEVICES), "strong_4": (DEVICES, DEVICES)}
    shapes |= {"weak_1": (1, 1), "weak_2": (2, 2)}
    for name, (devices, parts) in shapes.items():
        atoms = magnesia((cells[0] * parts, *cells[1:]))
        graph = find_neighbours(atoms, model.config.cutoff)
        placed = run.place(model, np.dtype(np.float32), atoms, graph, jax.devices()[:devices])
        calls[name] = functools.partial(run.tensors_on_devices, model, params, placed)
        regions = placed.regions
        rows[name] = {
            "devices": devices,
            "atoms": len(atoms),
            "own": regions.own_rows,
            "halo": regions.exchange.rows,
        }
    times = time_in_turn(calls, repeats)
    for name, row in rows.items():
        row.update(times[name])
    rows["weak_4"] = dict(rows["strong_4"])
    for name, row in rows.items():
        one = rows[f"{name.split('_')[0]}_1"]
        row["time_for_the_work_of_one"] = row["median"] / one["median"] * one["atoms"] / row["atoms"]
        print(name, row)
    return rows


def measure_halo(cutoff: float, cells: int, devices: int) -> dict[str, Any]:
    """Divide a cube among devices: halo, and rows with padding, in multiples of surface times cutoff."""
    atoms = magnesia((cells, cells, cells))
    started = time.perf_counter()
    graph = find_neighbours(atoms, cutoff)
    found = time.perf_counter()
    regions = divide_graph(graph, divide(atoms, devices), devices, NODES_AT_ONCE, slots=True)
    divided = time.perf_counter()
    own, halo = own_and_halo(regions).max(axis=0).tolist()
    return {
        "atoms": len(atoms),
        "devices": devices,
        "own": own,
        "halo": halo,
        "halo_rows_with_padding": regions.exchange.rows,
        "rounds": len(regions.exchange.rounds),
        "neighbour_search_us_per_atom": 1e6 * (found - started) / len(atoms),
        "division_us_per_atom": 1e6 * (divided - found) / len(atoms),
    }


def plan_memory(model: Equivar, params: dict, atoms: int, halo: float, devices: int) -> dict[str, Any]:
    """Let XLA plan the memory of one device, for so many atoms in all and a halo in parts of own atoms."""
    own = -(-atoms // devices)
    nodes, edges = min(NODES_AT_ONCE, own), round_up(NODES_AT_ONCE * NEIGHBOURS)
    own = -(-own // nodes) * nodes
    received = round(halo * own)
    rows, last = own + received, model.config.interactions - 2  # the pass with the two largest tables
    mesh = Mesh(np.array(jax.devices()[:devices]), (run.AXIS,))

    def divided(*shape: int, dtype: Any = np.float32) -> jax.ShapeDtypeStruct:
        sharding = NamedSharding(mesh, PartitionSpec(run.AXIS))
        return jax.ShapeDtypeStruct((devices, *shape), dtype, sharding=sharding)

    whole = functools.partial(jax.tree.map, lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype))
    integers = functools.partial(divided, dtype=np.int32)
    graph = jraph.GraphsTuple(
        nodes={
            "species": integers(0),
            "neighbours": integers(nodes),
            "first_edge": integers(nodes),
            "slots": integers(nodes, NEIGHBOURS),
        },
        edges={"vectors": divided(edges, 3)},
        senders=integers(edges),
        receivers=integers(edges),
        globals=None,
        n_node=None,
        n_edge=None,
    )
    read, written = (divided(rows, *run._shape_after(model, layer)) for layer in (last - 1, last))
    species, weights = integers(rows), whole(params)
    pairs = tuple((k, (k + 1) % devices) for k in range(devices))
    exchange = Exchange((pairs,), (received,)) if received else Exchange((), ())
    compiled = {
        "interaction": run._interact_into.lower(model, mesh, last, written, weights, read, species, 0, graph),
        "exchange": run._exchange.lower(mesh, exchange, own, written, integers(received)),
        "readout": run._read_out.lower(model, mesh, weights, written, species, 0, graph, None),
    }
    found = {"atoms": atoms, "devices": devices, "own": own, "halo": received}
    for name, lowered in compiled.items():
        planned: Any = lowered.compile().memory_analysis()
        # The table that is written is one of the arguments, so what is new in the output is left out.
        new = planned.output_size_in_bytes - planned.alias_size_in_bytes
        found[f"{name}_bytes"] = planned.argument_size_in_bytes + planned.temp_size_in_bytes + new
        found[f"{name}_temporary_bytes"] = planned.temp_size_in_bytes
    found["largest_bytes"] = max(found[f"{name}_bytes"] for name in compiled)
    print(found)
    return found


def main() -> None:
    """Measure, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs=3, default=(2, 4, 4), help="of MgO, for each device")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "giant.json")
    options = parser.parse_args()
    if FLAG not in os.environ.get("XLA_FLAGS", ""):  # JAX counts its devices once
        flags = f"{os.environ.get('XLA_FLAGS', '')} {FLAG}"
        command = [sys.executable, "-m", "benchmarks.speed.giant", *sys.argv[1:]]
        os.execve(sys.executable, command, {**os.environ, "XLA_FLAGS": flags})
    predictor = load(member=0)
    config, params = predictor.config, predictor.params
    times = measure_times(Equivar(config), params, options.cells, options.repeats)
    halos = [measure_halo(config.cutoff, cells, 16) for cells in (12, 18, 24)]
    chunked.CHUNK_BYTES["cpu"] = chunked.CHUNK_BYTES["gpu"]
    model = Equivar(dataclasses.replace(config, kernel="chunked"))
    sizes = ((1, 10**6), (1, 10**7), (DEVICES, 10**7))
    memory = [plan_memory(model, params, atoms, 0.0 if n == 1 else 0.1, n) for n, atoms in sizes]
    slope = (memory[1]["largest_bytes"] - memory[0]["largest_bytes"]) / (memory[1]["own"] - memory[0]["own"])
    result = {
        "machine": describe_machine(),
        "note": "virtual devices on one CPU: ratios of times in one run; memory as XLA plans it for the CPU",
        "times": times,
        "halos": halos,
        "memory": memory,
        "bytes_per_row": slope,
        "fixed_bytes": memory[0]["largest_bytes"] - slope * memory[0]["own"],
    }
    write_result(options.output, result)


if __name__ == "__main__":
    main()
