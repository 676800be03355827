"""The time that a user waits: `python -m benchmarks.speed.end_to_end`.

It measures a thousand structures of mixed sizes beside the network alone on the same batches, and a giant
crystal with its peak memory, each in a process of its own. The weights are initial ones, since times do not
depend on them. The first tensors of a process are in `first_second`.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.common.machine import describe_machine
from benchmarks.common.shapes import collate_together, perovskites, prepare_network
from benchmarks.common.timing import RESULTS, time_in_turn, write_result
from equivar_jax import load
from equivar_jax.config.files import load_config
from equivar_jax.datasets import demonstration_set
from equivar_jax.kernels.whole_network import run as run_network
from equivar_jax.network.model import count_parameters
from equivar_jax.prediction.in_cpp import NetworksInCpp
from equivar_jax.weights.checkpoint import CheckpointWriter, Metadata

STRUCTURES = 1000


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure BM1 and BM2; write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.end_to_end", description=__doc__)
    parser.add_argument("--atoms", type=int, default=1_000_000, help="of the giant crystal")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--output", type=Path, default=RESULTS / "end_to_end.json")
    options = parser.parse_args(arguments)
    results = []
    for name in ("bm1.py", "bm2.py"):
        with tempfile.TemporaryDirectory() as folder:
            write_checkpoint(name, Path(folder) / "run")
            results.append({"config": name, **measure(Path(folder), options.atoms, options.repeats)})
            print(json.dumps(results[-1], indent=2))
    write_result(options.output, {**describe_machine(), "results": results})


def write_checkpoint(name: str, folder: Path) -> None:
    """Write the initial weights of a config as a checkpoint like those of training."""
    config = load_config(name)
    structures = list(demonstration_set(4, 1, 1, progress=False))
    model, params = prepare_network(
        config.model, collate_together(structures, config.model.cutoff, slots=True)
    )
    elements = sorted({int(number) for atoms in make_mixed_structures() for number in atoms.numbers})
    writer = CheckpointWriter(folder, "best")
    writer.save(
        {"params": params},
        Metadata(replace(config, model=model), tuple(elements)),
    )
    writer.close()


def measure(folder: Path, atoms: int, repeats: int) -> dict[str, Any]:
    """Measure everything with one checkpoint.

    Args:
        folder: A folder with the checkpoint in `run`.
        atoms: Number of atoms in the giant crystal.
        repeats: Number of rounds on mixed structures.
    """
    run = str(folder / "run")
    return {
        "mixed": _run_in_process("measure_mixed", run, repeats),
        "giant": _run_in_process("measure_giant", run, atoms),
    }


def _run_in_process(task: str, run: str, number: int) -> dict[str, Any]:
    """Call a function of this module in a process of its own and return what it prints.

    Args:
        task: The name of the function.
        run: Its first argument, the checkpoint.
        number: Its second argument.
    """
    code = f"from benchmarks.speed import end_to_end; end_to_end.{task}({run!r}, {number})"
    finished = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def make_mixed_structures() -> list[Atoms]:
    """Make demonstration crystals, about half of them repeated to supercells."""
    rng, cells = np.random.default_rng(0), list(demonstration_set(300, 100, 100, progress=False))
    chosen = [cells[k] for k in rng.integers(len(cells), size=STRUCTURES)]
    return [atoms.repeat(tuple(rng.integers(1, 3, 3))) if rng.random() < 0.5 else atoms for atoms in chosen]


def measure_mixed(run: str, repeats: int) -> None:
    """Time `predict` from Atoms to tensors beside the network alone on the same graphs, and print JSON."""
    predictor, structures = load(run), make_mixed_structures()
    networks = NetworksInCpp(predictor.config, [predictor.weights], predictor.dtype)
    batches = networks.stage([predictor.prepare(atoms)[0] for atoms in structures])
    seconds = time_in_turn(
        {
            "predict": lambda: predictor.predict(structures),
            "network": lambda: [run_network(networks.tapes[0], graphs) for _, graphs in batches],
        },
        repeats,
    )
    result = {
        "structures": len(structures),
        "atoms": sum(map(len, structures)),
        "batches": len(batches),
        "seconds": seconds,
        "ratio": seconds["predict"]["median"] / seconds["network"]["median"],
    }
    print(json.dumps(result))


def measure_giant(run: str, atoms: int) -> None:
    """Predict one large perovskite crystal and print its time and peak memory as JSON."""
    predictor = load(run)
    (cell,) = perovskites(1)
    predictor.predict(cell)
    before = _peak_bytes()
    repeat = max(1, round((atoms / len(cell)) ** (1 / 3)))
    crystal = cell.repeat((repeat, repeat, max(1, round(atoms / len(cell) / repeat**2))))
    started = time.perf_counter()
    predictor.predictions([crystal], progress=True)
    seconds = time.perf_counter() - started
    result = {
        "atoms": len(crystal),
        "parameters": count_parameters(predictor.params),
        "seconds": seconds,
        "peak_GiB": _peak_bytes() / 2**30,
        "peak_GiB_before": before / 2**30,
        "added_kB_per_atom": (_peak_bytes() - before) / 1e3 / len(crystal),
    }
    print(json.dumps(result))


def _peak_bytes() -> int:
    """Return the largest resident size of the process so far; BSD kernels count in bytes, Linux in KiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


if __name__ == "__main__":
    main()
