"""Charges in LAMMPS: cost of a step, and error of charges of every k-th step.

    python -m benchmarks.speed.engines_lammps

The cost is that of MgO with the ions of `docs/engines/lammps/pulse.py`, charges in every step, beside the
sum of what is in it: the same steps without a field, and the network alone on the same configurations. All
run in this process in turn. The error is that of the charges that act, beside those of the network at each
step, over a trajectory of MgO. The result is the key `lammps` of `benchmarks/results/engines.json`.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data

from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS, write_result
from equivar_jax.calculators import EquivarCalculator, LammpsField, open_lammps
from equivar_jax.calculators.sparse import SparseCharges
from equivar_jax.prediction.loading import load
from equivar_jax.structures import BEC

FIELD = (0.0, 0.0, 0.01)
LATTICE_CONSTANT = 4.2117
"""Of the potential, in Å."""
INTERVALS = (2, 5, 10, 20)


def start_crystal(repeat: Sequence[int], temperature: float) -> Any:
    """Start LAMMPS with MgO of formal charges at a temperature in K, and time steps of 1 fs."""
    atoms = bulk("MgO", "rocksalt", a=LATTICE_CONSTANT, cubic=True).repeat(tuple(repeat))
    atoms.set_initial_charges(np.where(atoms.symbols == "Mg", 2.0, -2.0))
    lmp = open_lammps()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "MgO.data"
        write_lammps_data(path, atoms, specorder=["Mg", "O"], masses=True, atom_style="charge")
        lmp.commands_string(f"units metal\natom_style charge\nread_data {path}")
    longest = min(8.0, 0.49 * float(atoms.cell.lengths().min()))
    lmp.commands_string(
        f"pair_style buck/coul/long {longest}\npair_coeff 1 1 0.0 1.0 0.0\npair_coeff 1 2 821.6 0.3242 0.0\n"
        "pair_coeff 2 2 22764.0 0.149 27.88\nkspace_style pppm 1e-4\n"
        f"velocity all create {2 * temperature} 12345\nfix nve all nve\ntimestep 0.001"
    )
    return lmp


def measure_step(repeat: Sequence[int], steps: int, rounds: int) -> dict[str, Any]:
    """Time steps with charges, the same without, and the network alone, in turn.

    Returns:
        Medians in s a step, by the clock on the wall and by that of the processor, and their ratios.
    """
    lmp, bare = start_crystal(repeat, 300), start_crystal(repeat, 300)
    model = load(member=0)
    acting, alone = EquivarCalculator(model), EquivarCalculator(model)
    frames: list[Atoms] = []

    def charges(atoms: Atoms) -> np.ndarray:
        frames.append(atoms)
        return acting.get_property(BEC, atoms)

    born = LammpsField(lmp, charges, FIELD, ["Mg", "O"])
    calls: dict[str, Callable[[], Any]] = {
        "together": lambda: born.command(f"run {steps}"),
        "potential": lambda: bare.command(f"run {steps}"),
        "network": lambda: [alone.get_property(BEC, atoms) for atoms in frames],
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        frames.clear()
        for name, call in calls.items():
            wall, processor = time.perf_counter(), time.process_time()
            call()
            if turn:
                spent = time.perf_counter() - wall, time.process_time() - processor
                times[name].append((spent[0] / (steps + 1), spent[1] / (steps + 1)))
    result: dict[str, Any] = {"atoms": lmp.get_natoms(), "steps": steps, "rounds": rounds}
    for index, clock in enumerate(("wall", "processor")):
        medians = {name: statistics.median(each[index] for each in times[name]) for name in calls}
        apart = medians["potential"] + medians["network"]
        result[clock] = {**medians, "ratio": medians["together"] / apart}
    return result


def measure_intervals(repeat: Sequence[int], temperature: float, steps: int) -> dict[str, Any]:
    """Compare charges of every k-th step, held and along a line, with those of each step of a trajectory."""
    lmp = start_crystal(repeat, temperature)
    born = LammpsField(lmp, EquivarCalculator(load(member=0)), FIELD, ["Mg", "O"])
    born.command("run 200")
    true = []
    for _ in range(steps):
        born.command("run 1 post no")
        true.append(born.born_effective_charges)
    rows = []
    for every in INTERVALS:
        for extrapolate in (False, True):
            found = _with_interval(true, every, extrapolate)
            errors = np.abs(found - true)[2 * every :]
            forces = np.einsum("a,siab->sib", FIELD, found - true)[2 * every :]
            largest = np.abs(np.einsum("a,siab->sib", FIELD, np.array(true))).max()
            rows.append(
                {
                    "every": every,
                    "extrapolate": extrapolate,
                    "mean_e": float(errors.mean()),
                    "max_e": float(errors.max()),
                    "force_share": float(np.sqrt((forces**2).mean()) / largest),
                }
            )
    mean = np.mean(true, axis=0)
    return {
        "atoms": lmp.get_natoms(),
        "temperature_K": temperature,
        "steps_of_1_fs": steps,
        "fluctuation_e": float(np.abs(np.array(true) - mean).mean()),
        "rows": rows,
    }


def _with_interval(true: Sequence[np.ndarray], every: int, extrapolate: bool) -> np.ndarray:
    """Return the charges that would act, from those of each step."""
    step, nothing = 0, Atoms()
    charges = SparseCharges(lambda _: true[step], every, extrapolate)
    found = []
    for step in range(len(true)):
        found.append(charges.at(step, nothing))
    return np.array(found)


def main() -> None:
    """Measure both, print them, and put them into the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, nargs=3, default=(8, 8, 10), help="cells of eight atoms")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trajectory", type=int, default=300, help="steps of the trajectory of 64 atoms")
    parser.add_argument("--output", type=Path, default=RESULTS / "engines.json")
    options = parser.parse_args()
    cost = measure_step(options.repeat, options.steps, options.rounds)
    print(f"{cost['atoms']} atoms: {cost['wall']}, {cost['processor']}")
    intervals = [measure_intervals((2, 2, 2), kelvin, options.trajectory) for kelvin in (300.0, 1000.0)]
    for found in intervals:
        for row in found["rows"]:
            print(found["temperature_K"], row)
    known = json.loads(options.output.read_text()) if options.output.is_file() else {}
    result = {**describe_machine(), "step": cost, "intervals": intervals}
    write_result(options.output, {**known, "lammps": result})


if __name__ == "__main__":
    main()
