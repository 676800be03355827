"""i-PI as a process of its own, and its drivers in threads of the tests or as processes, too."""

import contextlib
import dataclasses
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.io import read

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.ipi import Driver, serve
from equivar_jax.calculators.ipi_socket import connect
from helpers import polarised

ROOT = Path(__file__).parents[2]
FEMTOSECOND = 41.341373
"""In atomic units, as i-PI has it."""
FIELD = np.array([0.1, 0.2, -0.3])
"""In V/Å."""
ATOMIC_FIELD = FIELD * units.Bohr / units.Ha
CELL = [[2.7, 0, 0], [0.7, 2.5, 0], [0.3, -0.6, 2.6]]
"""Triclinic, and so small that tensors are far from symmetric."""
PULSE = """<amp units='v/ang'> [0, 0.2, 0.5] </amp> <freq> 0.01 </freq> <phase> 0.3 </phase>
        <peak units='femtosecond'> 2 </peak> <sigma units='femtosecond'> 1.5 </sigma>"""
COLUMNS = "step, time, conserved, potential, kinetic_md, Efield, dipole, interaction_energy"
INPUT = """\
<simulation verbosity='low'>
  <output prefix='run'>
    <properties stride='1' filename='out'> [ {columns} ] </properties>
    <trajectory stride='1' filename='pos'> positions </trajectory>
    <trajectory stride='1' filename='field'> Eforces </trajectory>
    <trajectory stride='1' filename='extra' extra_type='BEC'> extras </trajectory>
    <checkpoint stride='{checkpoint}' filename='chk' overwrite='False'/>
  </output>
  <total_steps> {steps} </total_steps>
  <prng> <seed> 1 </seed> </prng>
  <ffsocket name='driver' mode='{mode}'>
    <address> {name} </address> {ffsocket}
  </ffsocket> {others}
  <system>
    <initialize nbeads='{beads}'>
      <file mode='xyz'> init.xyz </file> {velocities}
    </initialize>
    <forces> <force forcefield='driver'/> {forces} </forces>
    <ensemble> <temperature units='kelvin'> 300 </temperature> </ensemble>
    <motion mode='driven_dynamics'>
      <fixcom> {fixcom} </fixcom>
      <driven_dynamics mode='eda-nve'>
        <timestep units='femtosecond'> {timestep} </timestep>
        <efield> {field} </efield>
        <bec mode='driver'/> {dynamics}
      </driven_dynamics>
    </motion>
  </system>
</simulation>
"""
DEFAULTS = {
    "columns": COLUMNS,
    "checkpoint": 1000,
    "steps": 3,
    "mode": "unix",
    "others": "",
    "forces": "",
    "ffsocket": "",
    "beads": 1,
    "velocities": "<velocities mode='thermal' units='kelvin'> 300 </velocities>",
    "fixcom": True,
    "timestep": 0.5,
    "field": "",
    "dynamics": "",
}


def constant_field(field):
    """The text of a constant field in V/Å."""
    return f"<amp units='v/ang'> [ {', '.join(map(str, field))} ] </amp>"


class IPI:
    """i-PI in a folder; its socket has the name of the folder, or is a port of this machine.

    Args:
        folder: Empty.
        atoms: Start; its cell has a along x and b in the plane of x and y, as i-PI wants it.
        port: Number of a port; None for a Unix socket.
        settings: Of `INPUT`.
    """

    def __init__(self, folder, atoms, port=None, **settings):
        self.folder, self.atoms, self.port = folder, atoms, port
        self.name = f"{folder.name}-{os.getpid()}" if port is None else "localhost"
        if port is not None:
            settings = {"mode": "inet", "ffsocket": f"<port> {port} </port>", **settings}
        self.log = folder / "log"
        numbers = " ".join(f"{x:.12f}" for x in atoms.cell.array.T.ravel())
        lines = [str(len(atoms)), f"# CELL{{H}}: {numbers} cell{{angstrom}} positions{{angstrom}}"]
        rows = zip(atoms.symbols, atoms.positions, strict=True)
        lines += [f"{symbol} " + " ".join(f"{x:.12f}" for x in row) for symbol, row in rows]
        (folder / "init.xyz").write_text("\n".join(lines) + "\n")
        (folder / "input.xml").write_text(INPUT.format(name=self.name, **{**DEFAULTS, **settings}))
        self.process = None
        self.drivers = []

    @contextlib.contextmanager
    def running(self, input_file="input.xml"):
        """Run i-PI; it and drivers that are processes are killed if they still run in the end."""
        command = [str(Path(sys.executable).with_name("i-pi")), input_file]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}  # its log is read while it runs
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield self
        finally:
            for process in (self.process, *self.drivers):
                if process.poll() is None:
                    process.kill()
                process.wait()
            Path(f"/tmp/ipi_{self.name}").unlink(missing_ok=True)

    def run(self, *drivers, input_file="input.xml"):
        """Run i-PI with drivers in threads of this process to the end; return what each thread returned."""
        found = [None] * len(drivers)

        def work(number):
            try:
                found[number] = serve(drivers[number], self.connect())
            except Exception as error:
                found[number] = error

        threads = [threading.Thread(target=work, args=(k,)) for k in range(len(drivers))]
        with self.running(input_file):
            for thread in threads:
                thread.start()
            self.process.wait(timeout=300)
        for thread in threads:
            thread.join(timeout=60)
        assert self.process.returncode == 0, self.log.read_text()
        return found

    def connect(self):
        """Connect a driver."""
        return connect(self.name, self.port, wait=60.0)

    def start_driver(self, structure, *words):
        """Start `equivar ipi` as a process."""
        command = [
            sys.executable,
            "-m",
            "equivar_jax",
            "ipi",
            str(structure),
            "--unix",
            "--address",
            self.name,
        ]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        with (self.folder / "driver.log").open("a") as log:
            process = subprocess.Popen(
                [*command, *map(str, words)],
                cwd=self.folder,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.drivers.append(process)
        return process

    def table(self, prefix="run"):
        """Properties by name, (steps, ...)."""
        path = self.folder / f"{prefix}.out"
        numbers = np.atleast_2d(np.loadtxt(path))
        starts = {"Efield": 5, "dipole": 8, "interaction_energy": 11}
        names = ("step", "time", "conserved", "potential", "kinetic_md")
        found = {name: numbers[:, k] for k, name in enumerate(names)}
        return found | {
            name: numbers[:, k] if name == "interaction_energy" else numbers[:, k : k + 3]
            for name, k in starts.items()
        }

    def frames(self, what, bead=0):
        """A trajectory in atomic units, (steps, atoms, 3)."""
        (path,) = self.folder.glob(f"run.{what}_*{bead}.xyz")
        return np.array([frame.positions for frame in read(path, ":", format="xyz")])

    def extras(self, bead=0):
        """Extras BEC, (steps, 3 atoms, 3)."""
        (path,) = self.folder.glob(f"run.extra_*{bead}*")
        return np.loadtxt(path).reshape(-1, 3 * len(self.atoms), 3)


def pair(**info):
    """Two ions in the triclinic cell."""
    atoms = Atoms("MgO", positions=[[0, 0, 0], [1.7, 0.3, 0.2]], cell=CELL, pbc=True)
    atoms.info.update(info)
    return atoms


def network():
    """A network in the form of a polarisation, in double precision."""
    return polarised.predictor(config=dataclasses.replace(polarised.CONFIG, kernel="auto"))


def make_driver(model, atoms, potential=None):
    """A driver with a calculator of its own."""
    return Driver(atoms, EquivarCalculator(model), potential)
