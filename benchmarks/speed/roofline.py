"""The time of inference beside the least that the machine allows: `python -m benchmarks.speed.roofline`.

Inference is what `predict` does on a CPU, the network in C++; the time through JAX is given beside it.

The operations of the algorithm are counted path by path, for the factored form: basis to radial functions,
edge products summed over neighbours, Clebsch-Gordan coefficients that are not zero, mixing of channels. The
machine's own rates, of a matrix product and of a copy, are measured in the same run.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.common.machine import describe_machine
from benchmarks.common.shapes import collate_together, perovskites, prepare_network
from benchmarks.common.timing import RESULTS, time_in_turn, write_result
from equivar_jax.config.files import load_config
from equivar_jax.config.schema import ModelConfig
from equivar_jax.graphs.batch import Batch
from equivar_jax.kernels import needs_slots, plan_products
from equivar_jax.kernels.whole_network import Structures, run
from equivar_jax.network.compiled import write_tape
from equivar_jax.network.model import Equivar
from equivar_jax.network.plan import live_irreps

MATRIX_SIZE = 2048
COPY_BYTES = 2**28


def operations_per_atom(config: ModelConfig, neighbours: float) -> dict[str, float]:
    """Count floating-point operations an atom by kind; a multiplication and an addition count as two."""
    f, counted = config.channels, {"radial": 0.0, "edge products": 0.0, "Clebsch-Gordan": 0.0, "mixing": 0.0}
    for layer in range(config.interactions):
        inputs, outputs = live_irreps(config, layer), live_irreps(config, layer + 1)
        plan = plan_products(inputs, outputs)
        components = plan.input_components
        counted["radial"] += neighbours * 2 * config.radial_functions * 3 * f
        # Features times rho for three degrees, then times nine harmonics and summed.
        counted["edge products"] += neighbours * (3 + 2 * 9) * components * f
        terms = sum(int((np.abs(p.coefficients()) > 1e-12).sum()) for p in plan.products)
        counted["Clebsch-Gordan"] += 2 * terms * f
        counted["mixing"] += 2 * plan.output_components * f * f
    return counted


def bytes_per_atom(config: ModelConfig, neighbours: float) -> float:
    """Return the least memory traffic an atom in bytes, in float32.

    Each layer reads and writes the features once and reads the edges once.
    """
    total = 0.0
    for layer in range(config.interactions):
        irreps = (live_irreps(config, layer), live_irreps(config, layer + 1))
        total += sum(ir.dim for part in irreps for ir in part) * config.channels * 4
        total += neighbours * (config.radial_functions + 9 + 1) * 4
    return total


def measure(name: str, structures: int, repeats: int) -> dict[str, Any]:
    """Time inference of one config beside the machine's own matrix product and copy.

    Args:
        name: The config.
        structures: Number of 20-atom perovskites in the batch.
        repeats: Number of rounds.
    """
    config = load_config(name).model
    slots = needs_slots(config.kernel, config.channels)
    batch = collate_together(perovskites(structures), config.cutoff, slots)
    config, params = prepare_network(config, batch)
    atoms, graph = int(batch.node_mask.sum()), jax.device_put(batch.graph)
    apply = jax.jit(Equivar(config).apply)
    compiled = apply.lower(params, graph).compile()
    tape, structures_alone = write_tape(config, jax.tree.map(np.asarray, params)), _without_padding(batch)
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    square = jnp.ones((MATRIX_SIZE, MATRIX_SIZE), jnp.float32)
    product = jax.jit(lambda a: jnp.matmul(a, a, precision="highest"))
    source, target = np.ones((2, COPY_BYTES // 4), np.float32)
    seconds = time_in_turn(
        {
            "inference": lambda: run(tape, structures_alone),
            "inference through JAX": lambda: apply(params, graph).block_until_ready(),
            "matrix product": lambda: product(square).block_until_ready(),
            "copy": lambda: np.copyto(target, source),  # by one core; the pages are mapped already
        },
        repeats,
    )
    flops = operations_per_atom(config, len(batch.graph.senders) / atoms)
    traffic = bytes_per_atom(config, len(batch.graph.senders) / atoms)
    matrix_rate = 2 * MATRIX_SIZE**3 / seconds["matrix product"]["median"]
    copy_rate = 2 * COPY_BYTES / seconds["copy"]["median"]
    bound = max(sum(flops.values()) / matrix_rate, traffic / copy_rate)
    found = seconds["inference"]["median"] / atoms
    return {
        "config": name,
        "atoms": atoms,
        "edges": len(batch.graph.senders),
        "operations_per_atom": flops,
        "least_bytes_per_atom": traffic,
        "compiled": {
            # XLA does not see into the C++ kernel, where nearly all the work is done.
            "flops_counted_by_xla": float(cost.get("flops", np.nan)),
            "bytes_counted_by_xla": float(cost.get("bytes accessed", np.nan)),
            "temporary_bytes_per_atom": memory.temp_size_in_bytes / atoms if memory else None,
        },
        "matrix_rate_GFLOP_s": matrix_rate / 1e9,
        "copy_rate_GB_s": copy_rate / 1e9,
        "roofline_us_per_atom": 1e6 * bound,
        "inference_us_per_atom": 1e6 * found,
        "through_jax_us_per_atom": 1e6 * seconds["inference through JAX"]["median"] / atoms,
        "times_the_roofline": found / bound,
    }


def _without_padding(batch: Batch) -> Structures:
    """Return the structures of a batch as the C++ functions take them."""
    graph, atoms = batch.graph, int(batch.node_mask.sum())
    edges = int(graph.nodes["neighbours"][:atoms].sum())
    return Structures(
        graph.nodes["species"][:atoms],
        graph.senders[:edges],
        graph.nodes["first_edge"][:atoms],
        graph.nodes["neighbours"][:atoms],
        np.ascontiguousarray(graph.edges["vectors"][:edges], np.float64),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure BM1 and BM2; print a line each and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.roofline", description=__doc__)
    parser.add_argument("--structures", type=int, default=54, help="20-atom perovskites in the batch")
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--output", type=Path, default=RESULTS / "roofline.json")
    options = parser.parse_args(arguments)
    results = [measure(name, options.structures, options.repeats) for name in ("bm1.py", "bm2.py")]
    write_result(options.output, {**describe_machine(), "results": results})
    for result in results:
        print(
            f"{result['config']}: {result['inference_us_per_atom']:.1f} us/atom, roofline "
            f"{result['roofline_us_per_atom']:.1f} us/atom at {result['matrix_rate_GFLOP_s']:.0f} GFLOP/s "
            f"and {result['copy_rate_GB_s']:.0f} GB/s: {result['times_the_roofline']:.2f} times"
        )


if __name__ == "__main__":
    main()
