"""A step of dynamics in a field with charges at every step, by engines: `python -m benchmarks.speed.engines`.

The same crystal, network and potential, once in one process (velocity Verlet of ASE, `FieldCalculator`), and
once through each engine. The potential is springs, which cost next to nothing, so that what an engine adds is
seen at its largest beside the network. The result is the key `i-pi` of `benchmarks/results/engines.json`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.io import write
from ase.md.verlet import VelocityVerlet
from matscipy.neighbours import neighbour_list

from benchmarks.common.machine import describe_machine
from benchmarks.common.timing import RESULTS, write_result
from equivar_jax.calculators import EquivarCalculator, FieldCalculator
from equivar_jax.calculators.ipi import Driver, serve
from equivar_jax.calculators.ipi_socket import Answer, Configuration, connect
from equivar_jax.prediction import Predictor, load
from equivar_jax.response.phonons.model_potential import ModelPotential
from equivar_jax.uncertainty.domain import without_domain_warnings

MEMBER = 0
"""Of the weights of the package."""
CELLS = 10
"""Five atoms each, along each axis."""
FIELD = (0.0, 0.0, 0.02)
"""In V/Å."""
TIMESTEP = 0.5
"""In fs."""
TEMPERATURE = 300.0
"""In K, of the velocities at the start."""
NOT_COUNTED = 2
"""First steps, in which libraries are loaded and neighbours are sought."""


class Springs(ModelPotential):
    """Springs between neighbours of a structure, `E = k/2 sum over pairs (r - r0)²`, in milliseconds."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE has it)
    stiffness = 3.0
    """In eV/Å²."""
    reach = 3.0
    """In Å."""

    def __init__(self, structure: Atoms):
        super().__init__()
        self.i, self.j, self.lengths, shifts = neighbour_list("ijdS", structure, self.reach)
        self.offsets = shifts @ structure.cell.array

    def compute(self, atoms: Atoms) -> dict[str, Any]:
        """Compute energy in eV and forces in eV/Å."""
        positions = atoms.positions
        vectors = positions[self.j] - positions[self.i] + self.offsets
        lengths = np.linalg.norm(vectors, axis=1)
        longer = lengths - self.lengths
        pulls = (self.stiffness * longer / lengths)[:, None] * vectors
        count = len(positions)
        forces = np.stack([np.bincount(self.i, pulls[:, axis], count) for axis in range(3)], axis=1)
        return {"energy": 0.25 * self.stiffness * float(longer @ longer), "forces": forces}


class Moment(NamedTuple):
    """A moment between two steps."""

    wall: float
    """Clock in seconds."""
    processor: float
    """Seconds that the processors have spent for the engine and the network so far."""


class Case(NamedTuple):
    """What every engine is given."""

    atoms: Atoms
    """With velocities."""
    network: Predictor
    steps: int
    folder: Path
    """Empty, for files of the engine."""


def in_one_process(case: Case) -> list[Moment]:
    """Run ASE's velocity Verlet, all in one process; return the moments of its steps."""
    atoms = case.atoms.copy()
    atoms.calc = FieldCalculator(Springs(atoms), EquivarCalculator(case.network), FIELD)
    moments: list[Moment] = []
    dynamics = VelocityVerlet(atoms, TIMESTEP * units.fs)
    dynamics.attach(lambda: moments.append(Moment(time.perf_counter(), time.process_time())))
    dynamics.run(case.steps)
    return moments


IPI_INPUT = """<simulation verbosity='quiet'>
  <output prefix='run'><properties stride='10' filename='out'> [ step, conserved ] </properties></output>
  <total_steps> {steps} </total_steps>
  <ffsocket name='driver' mode='unix'><address> {name} </address></ffsocket>
  <system>
    <initialize nbeads='1'>
      <file mode='ase'> start.extxyz </file>
      <velocities mode='thermal' units='kelvin'> {temperature} </velocities>
    </initialize>
    <forces><force forcefield='driver'/></forces>
    <ensemble><temperature units='kelvin'> {temperature} </temperature></ensemble>
    <motion mode='driven_dynamics'>
      <driven_dynamics mode='eda-nve'>
        <timestep units='femtosecond'> {timestep} </timestep>
        <efield><amp units='v/ang'> [ {field} ] </amp></efield>
        <bec mode='driver'/>
      </driven_dynamics>
    </motion>
  </system>
</simulation>
"""


class TimedDriver(Driver):
    """Keeps the moment at which each configuration has come."""

    engine: subprocess.Popen[bytes]
    """i-PI."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self.moments: list[Moment] = []

    def answer(self, given: Configuration) -> Answer:
        """Compute the answer to a configuration."""
        processor = time.process_time() + processor_seconds(self.engine.pid)
        self.moments.append(Moment(time.perf_counter(), processor))
        return super().answer(given)


def processor_seconds(process: int) -> float:
    """Return the processor time of another process in seconds, as Linux counts it."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def through_ipi(case: Case) -> list[Moment]:
    """Run i-PI as another process, the driver in this one; return the moments when configurations come."""
    name = case.folder.name
    start = Atoms(case.atoms.symbols, case.atoms.positions, cell=case.atoms.cell, pbc=True)
    write(case.folder / "start.extxyz", start)
    settings = {"steps": case.steps, "name": name, "temperature": TEMPERATURE, "timestep": TIMESTEP}
    text = IPI_INPUT.format(field=", ".join(map(str, FIELD)), **settings)
    (case.folder / "input.xml").write_text(text)
    driver = TimedDriver(case.atoms, EquivarCalculator(case.network), Springs(case.atoms))
    command = [str(Path(sys.executable).with_name("i-pi")), "input.xml"]
    with (case.folder / "log").open("w") as log:
        driver.engine = subprocess.Popen(command, cwd=case.folder, stdout=log, stderr=subprocess.STDOUT)
    try:
        serve(driver, connect(name, None, wait=60.0))
    finally:
        if driver.engine.wait(timeout=60):
            print((case.folder / "log").read_text(), file=sys.stderr)
    return driver.moments


ENGINES: dict[str, Callable[[Case], list[Moment]]] = {
    "one process": in_one_process,
    "i-PI": through_ipi,
}
"""Engines by name; each returns the moments between its steps. The first is what others are compared with."""


def measure(names: Sequence[str], cells: int, steps: int, rounds: int) -> dict[str, Any]:
    """Run the engines in turn, round by round, and compare the medians of their steps.

    Returns:
        For wall clock and processor time: median and quartiles of a step in seconds by engine, and how many
        times that of the first engine the median is.
    """
    atoms = make_crystal(cells)
    network = load(member=MEMBER)
    spent: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            # What the charges are worth does not matter here.
            with tempfile.TemporaryDirectory(prefix="equivar-engines-") as folder, without_domain_warnings():
                moments = ENGINES[name](Case(atoms, network, steps, Path(folder)))
            spent[name].append(np.diff(moments, axis=0)[NOT_COUNTED:])
    result: dict[str, Any] = {
        "atoms": len(atoms),
        "network": f"member {MEMBER} of the weights of the package",
        "steps": rounds * (steps - NOT_COUNTED),
    }
    for column, clock in enumerate(Moment._fields):
        rows = {}
        for name, parts in spent.items():
            lower, median, upper = statistics.quantiles(np.concatenate(parts)[:, column].tolist(), n=4)
            rows[name] = {"median": median, "lower": lower, "upper": upper}
            rows[name]["times_the_first"] = median / rows[names[0]]["median"]
        result[f"{clock}_seconds_per_step"] = rows
    return result


def make_crystal(cells: int) -> Atoms:
    """Make cubic BaTiO3 with thermal displacements and velocities."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    atoms = Atoms("BaTiO3", scaled_positions=places, cell=[4.01] * 3, pbc=True).repeat(cells)
    atoms.rattle(0.05, seed=0)
    spread = np.sqrt(units.kB * TEMPERATURE / atoms.get_masses())
    atoms.set_velocities(np.random.default_rng(0).normal(size=(len(atoms), 3)) * spread[:, None])
    return atoms


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a line for each engine, and write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--cells", type=int, default=CELLS)
    parser.add_argument("--steps", type=int, default=22)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS / "engines.json")
    options = parser.parse_args(arguments)
    machine = {**describe_machine(), "load": os.getloadavg()}  # both as they are now
    result = measure(options.engines, options.cells, options.steps, options.rounds)
    for clock in Moment._fields:
        for name, row in result[f"{clock}_seconds_per_step"].items():
            print(f"{clock:9s} {name:12s} {1e3 * row['median']:.0f} ms, {row['times_the_first']:.3f} times")
    known = json.loads(options.output.read_text()) if options.output.is_file() else {}
    write_result(options.output, {**known, "i-pi": {**machine, **result}})


if __name__ == "__main__":
    main()
