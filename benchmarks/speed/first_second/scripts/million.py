"""Time a large crystal layer by layer, as `predict` takes it, beside the network alone: print ratios as JSON.

`million.py BM1_CHECKPOINT ATOMS MOST_ATOMS_IN_A_BATCH`. The network alone is timed on one batch of the same
crystal, cut down to what the memory holds, and on one batch of 1,080 atoms, whose features stay near the
processor (that of `benchmarks.speed.roofline`); times are those an atom. Graphs are made beforehand.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable

import jax
from ase import Atoms

from equivar_jax import Predictor, load
from equivar_jax.datasets import demonstration_set
from equivar_jax.graphs import graph_of
from equivar_jax.graphs.graph import build_graph
from equivar_jax.prediction.layerwise import tensors_layer_by_layer

try:
    from equivar_jax.kernels.whole_network import run as run_network
    from equivar_jax.network.compiled import write_tape
    from equivar_jax.prediction.in_cpp import structures_of

    in_cpp = True
except ModuleNotFoundError:  # an old build
    in_cpp = False

SMALL_BATCH = 1080
ROUNDS = 1
"""After a first one that compiles and is not counted."""


def repeat_to(cell: Atoms, atoms: int) -> Atoms:
    """Repeat a cell to about that many atoms."""
    edge = max(1, round((atoms / len(cell)) ** (1 / 3)))
    return cell.repeat((edge, edge, max(1, round(atoms / len(cell) / edge**2))))


def call_as_predict(predictor: Predictor, crystal: Atoms) -> Callable[[], object]:
    """Return the call that `predict` makes for a large structure: in C++, else layer by layer."""
    if in_cpp:
        sample, _ = predictor.prepare(crystal)
        return lambda: predictor.predict_samples([sample])
    graph = build_graph(crystal, predictor.network.config.cutoff)
    return lambda: tensors_layer_by_layer(predictor.network, predictor.params, graph)


def call_in_one_batch(predictor: Predictor, crystal: Atoms) -> Callable[[], object]:
    """Return the call of the network on one batch."""
    if in_cpp:
        structures = structures_of([predictor.prepare(crystal)[0]])
        tape = write_tape(predictor.config, predictor.weights)
        return lambda: run_network(tape, structures)
    batch = jax.device_put(graph_of(crystal, predictor.network.config.cutoff))
    apply = jax.jit(predictor.network.apply)
    return lambda: apply(predictor.params, batch).block_until_ready()


def main(run: str, atoms: int, most_in_batch: int) -> None:
    """Time all three in turn."""
    predictor = load(run)
    (cell,) = demonstration_set(1, 0, 0, progress=False)
    crystal = repeat_to(cell, atoms)
    calls = {"layers": (len(crystal), call_as_predict(predictor, crystal))}
    for name, size in (("large", min(atoms, most_in_batch)), ("small", SMALL_BATCH)):
        part = repeat_to(cell, size)
        calls[name] = len(part), call_in_one_batch(predictor, part)
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(ROUNDS + 1):
        for name, (size, call) in calls.items():
            times = []
            for _ in range(max(1, min(20, 20_000 // size))):  # a short call is timed more often
                started = time.perf_counter()
                call()
                times.append((time.perf_counter() - started) / size)
            if turn:
                seconds[name].append(statistics.median(times))
    layers, large, small = (statistics.median(seconds[name]) for name in ("layers", "large", "small"))
    print(json.dumps({"large": layers / large, "small": layers / small, "us_per_atom": 1e6 * layers}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
