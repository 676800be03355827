"""Tensors as derivatives of a polarisation, beside other programs: `python -m benchmarks.speed.polarisation`.

One frame of BaTiO3-300K (135 atoms, 42 neighbours within 5 Å), single precision, the same cores and the same
neighbour list, except that our own prediction finds its neighbours while the clock runs. A training step
computes the tensors of all atoms, the L1 loss, its derivatives by all weights, and a step of the
optimiser.

Every contestant is a process that waits to be asked, so that they run in turn and each has the versions that
it needs. mace-torch and nequip cannot be in one environment (e3nn 0.4.4 and at least 0.6); torch for CPUs is
at https://download.pytorch.org/whl/cpu:

    python -m venv mace && mace/bin/pip install torch==2.13.0 mace-torch==0.3.16
    python -m venv allegro && allegro/bin/pip install torch==2.13.0 nequip==0.19.1 nequip-allegro==0.8.3 \
        "git+https://github.com/mir-group/allegro-pol@7748968"
    python -m benchmarks.speed.polarisation --mace mace/bin/python --allegro-pol allegro/bin/python

Times are in milliseconds an atom: the lowest of several, and the median. "cpu" is the time of all threads.
"""

import argparse
import contextlib
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS, write_result
from benchmarks.real_data.parts import data_folder, divide_set
from benchmarks.speed.first_second.builds import ROOT
from benchmarks.speed.polarisation.contestants import Asked, Contestant, checkout
from benchmarks.speed.polarisation.table import polarisation_table
from equivar_jax.graphs.graph import build_graph
from equivar_jax.io import write_structures
from equivar_jax.structures import born_effective_charges

SET = "BaTiO3-300K"
FRAMES = 5
"""Frames of the run that ours begin; the first of the set is what all are timed on."""
CUTOFF = 5.0
BEFORE = "797caa3"
"""The last commit at which the polarisation form was one of the benchmarks."""
MACE = {"channels": 64, "interactions": 2, "l_max": 2, "correlation": 2}
"""197,440 parameters; MACE's default correlation, 3, costs more."""
ALLEGRO_POL = {"scalars": 128, "channels": 32, "interactions": 2, "l_max": 1}
"""239,744 parameters: its tutorial for BaTiO3 with twice the scalar features."""
WARM_UP_BELOW = 0.5
"""Seconds; what takes less is called once more before it is timed, to bring its data back into the caches."""


def describe_frame(atoms: Atoms) -> dict[str, np.ndarray]:
    """Return a frame with its neighbour list and labels as arrays, for programs without this package."""
    graph = build_graph(atoms, CUTOFF)
    senders, receivers = graph.senders, graph.receivers
    cell = np.asarray(atoms.cell)
    apart = graph.edges["vectors"] - (atoms.positions[senders] - atoms.positions[receivers])
    shifts = np.rint(apart @ np.linalg.inv(cell))
    return {
        "positions": atoms.positions,
        "cell": cell,
        "numbers": atoms.numbers,
        "senders": senders,
        "receivers": receivers,
        "shifts": shifts,
        "tensors": born_effective_charges(atoms),
    }


def list_contestants(options: argparse.Namespace, old: Path | None, frames: Path) -> list[Contestant]:
    """Return the contestants that the options ask for."""
    common = {"threads": options.threads, "cutoff": CUTOFF, "frames": str(frames)}
    found = [
        Contestant(f"equivar_jax, {form}", "ours", {**common, "build": "product", "form": form}, root=ROOT)
        for form in ("direct", "polarisation")
    ]
    if old is not None:
        name = f"equivar_jax, polarisation at {options.old} (XLA, chunked)"
        found.append(Contestant(name, "ours", {**common, "build": "teacher"}, root=old))
    if options.mace is not None:
        found.append(
            Contestant("MACE, derivative of its dipole", "mace_dielectric", {**common, **MACE}, options.mace)
        )
    if options.allegro_pol is not None:
        found.append(
            Contestant("allegro-pol", "allegro_polarisation", {**common, **ALLEGRO_POL}, options.allegro_pol)
        )
    return found


def measure(
    contestants: Sequence[Contestant], frame: Path, atoms: int, repeats: int, folder: Path
) -> list[dict[str, Any]]:
    """Start all contestants one after another, and time them in turn.

    Returns:
        A row for each; one that cannot run has the reason in "absent".
    """
    rows: list[dict[str, Any]] = []
    running: list[tuple[Asked, dict[str, Any]]] = []
    with contextlib.ExitStack() as stack:
        for number, contestant in enumerate(contestants):
            asked = Asked(contestant, frame, folder / f"{number}.log")
            stack.callback(asked.close)
            row: dict[str, Any] = {"contestant": contestant.name, "settings": _tell(contestant.settings)}
            rows.append(row)
            try:
                row.update(asked.ready())
            except RuntimeError as error:
                row["absent"] = str(error).splitlines()[-1].removeprefix(f"{contestant.name}: ")
                print(error, flush=True)
            else:
                running.append((asked, row))
        for kind in ("training", "inference"):
            times = time_in_turn([asked for asked, _ in running], kind, repeats)
            for _, row in running:
                row[kind] = summarise(times[row["contestant"]], atoms)
        for asked, row in running:
            step = asked.ask("memory")["step_bytes"]
            row["step_kB_per_atom"] = None if step is None else step / 1e3 / atoms
            program = row.pop("program_bytes", None)
            row["program_kB_per_atom"] = None if program is None else program / 1e3 / atoms
            row["first_training_step_seconds"] = row.pop("first_training")
            row["first_inference_seconds"] = row.pop("first_inference")
    return rows


def _tell(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings without what differs from run to run."""
    return {name: value for name, value in settings.items() if name != "frames"}


def time_in_turn(running: Sequence[Asked], kind: str, repeats: int) -> dict[str, list[dict[str, float]]]:
    """Ask all for a call, and again, in turn.

    Returns:
        Seconds "wall" and "cpu" of every call, by name.
    """
    times: dict[str, list[dict[str, float]]] = {asked.name: [] for asked in running}
    for _ in range(repeats):
        for asked in running:
            took = asked.ask(kind)
            times[asked.name].append(asked.ask(kind) if took["wall"] < WARM_UP_BELOW else took)
    return times


def summarise(times: Sequence[Mapping[str, float]], atoms: int) -> dict[str, dict[str, float]]:
    """Return lowest and median of each clock in milliseconds an atom."""
    return {
        clock: {
            "minimum": 1e3 / atoms * min(each[clock] for each in times),
            "median": 1e3 / atoms * statistics.median(each[clock] for each in times),
        }
        for clock in ("wall", "cpu")
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.polarisation", description=__doc__)
    parser.add_argument("--mace", metavar="PYTHON", help="an interpreter that has mace-torch")
    parser.add_argument("--allegro-pol", metavar="PYTHON", help="an interpreter that has allegro-pol")
    parser.add_argument("--old", default=BEFORE, metavar="COMMIT", help="an older build, or `none`")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--output", type=Path, default=RESULTS / "polarisation.json")
    options = parser.parse_args(arguments)
    structures = divide_set(SET, data_folder())[0][:FRAMES]
    with tempfile.TemporaryDirectory(prefix="polarisation-") as name, contextlib.ExitStack() as stack:
        folder = Path(name).resolve()
        frame = describe_frame(structures[0])
        np.savez(folder / "frame.npz", allow_pickle=False, **frame)
        write_structures(folder / "frames.extxyz", structures)
        old = None
        if options.old != "none":
            old = stack.enter_context(checkout(options.old, folder / "sources"))
        contestants = list_contestants(options, old, folder / "frames.extxyz")
        rows = measure(contestants, folder / "frame.npz", len(structures[0]), options.repeats, folder)
    result = {
        **describe_machine(),
        "unit": "ms/atom",
        "frame": {"set": SET, "atoms": len(structures[0]), "edges": len(frame["senders"])},
        "repeats": options.repeats,
        "results": rows,
    }
    write_result(options.output, result)
    print(polarisation_table(rows))


if __name__ == "__main__":
    main()
