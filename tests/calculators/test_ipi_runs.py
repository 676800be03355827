"""Runs of i-PI with the driver: forces in a field, energies, restarts, drivers that come and go."""

import json
import re
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from helpers.checkpoints import saved
from helpers.ipi import (
    ATOMIC_FIELD,
    FEMTOSECOND,
    FIELD,
    IPI,
    PULSE,
    ROOT,
    constant_field,
    make_driver,
    network,
    pair,
)
from helpers.potentials import Bond

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.ipi import (
    Driver,
    Served,
    needed_threshold,
    serve,
)
from equivar_jax.calculators.ipi_socket import Configuration
from equivar_jax.io import read_structures, write_structures

pytest.importorskip("ipi")


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture
def ipi(tmp_path):
    return lambda atoms, **settings: IPI(tmp_path, atoms, **settings)


def force_of(tensors):
    """Of the field, in atomic units: `F_ib = sum_a E_a Z[i, a, b]`."""
    return np.einsum("a,iab->ib", ATOMIC_FIELD, tensors)


def test_a_force_in_a_field_is_that_of_theory_in_a_triclinic_cell(ipi, model):
    """With tensors so far from symmetric that transposed ones would give another force."""
    atoms = pair()
    tensors = model.predict(atoms)
    right, wrong = force_of(tensors), force_of(tensors.transpose(0, 2, 1))
    assert np.abs(right - wrong).max() > 0.02 * np.abs(right).max()
    run = ipi(atoms, field=constant_field(FIELD), velocities="", steps=1, timestep=20)
    assert run.run(make_driver(model, atoms)) == [Served(2, is_finished=True)]
    np.testing.assert_allclose(run.frames("field")[0], right, rtol=0, atol=2e-6 * np.abs(right).max())
    np.testing.assert_allclose(run.extras()[0], tensors.transpose(0, 2, 1).reshape(-1, 3), atol=1e-7)
    masses = np.array([24.305, 15.999])[:, None] * units._amu / units._me
    moved = np.diff(run.frames("pos"), axis=0)[0]
    np.testing.assert_allclose(moved, right / masses * (20 * FEMTOSECOND) ** 2 / 2, rtol=0, atol=2e-5)
    assert np.abs(moved).min() > 0.01


def free_port():
    """A port that nobody had a moment ago."""
    with socket.socket() as one:
        one.bind(("localhost", 0))
        return one.getsockname()[1]


def test_a_port_of_tcp_carries_the_same_as_a_unix_socket(ipi, model):
    atoms = pair()
    run = ipi(atoms, port=free_port(), field=constant_field(FIELD), velocities="", steps=1)
    assert "mode='inet'" in (run.folder / "input.xml").read_text()
    assert run.run(make_driver(model, atoms)) == [Served(2, is_finished=True)]
    right = force_of(model.predict(atoms))
    np.testing.assert_allclose(run.frames("field")[0], right, rtol=0, atol=2e-6 * np.abs(right).max())


def test_the_dipole_of_a_run_is_the_polarisation_of_the_network(ipi, model):
    """In e bohr, through all steps, up to the constant of the structure that the driver was given."""
    atoms = pair()
    run = ipi(atoms, field=constant_field(FIELD), steps=6, timestep=2)
    run.run(make_driver(model, atoms))
    frames = [Atoms(atoms.numbers, x * units.Bohr, cell=atoms.cell, pbc=True) for x in run.frames("pos")]
    given = model.polarisation(frames, atoms, images="unwrapped")
    expected = np.array([one.dipole for one in given]) / units.Bohr
    found = run.table()["dipole"]
    assert np.ptp(found, axis=0).min() > 0.05
    np.testing.assert_allclose(found - found[0], expected - expected[0], rtol=0, atol=2e-4)


NPT = """<motion mode='dynamics'> <dynamics mode='npt'>
        <timestep units='femtosecond'> 0.3 </timestep>
        <thermostat mode='langevin'> <tau units='femtosecond'> 200 </tau> </thermostat>
        <barostat mode='isotropic'> <tau units='femtosecond'> 30 </tau>
          <thermostat mode='langevin'> <tau units='femtosecond'> 200 </tau> </thermostat>
        </barostat>
      </dynamics> </motion>"""


def test_at_constant_pressure_charges_are_those_of_the_cell_of_each_step(ipi, model):
    """And i-PI's conserved quantity is one, so that the virial fits the energy."""
    atoms = bulk("MgO", "rocksalt", a=3.7, cubic=True)
    columns = "step, time, conserved, potential, volume, pressure_md"
    run = ipi(atoms, columns=columns, steps=48)
    text = (run.folder / "input.xml").read_text()
    text = "\n".join(line for line in text.splitlines() if "Eforces" not in line)
    begin, end = text.index("<motion"), text.index("</motion>") + len("</motion>")
    text = text[:begin] + NPT + text[end:]
    text = text.replace("</temperature>", "</temperature> <pressure units='gigapascal'> 1 </pressure>")
    (run.folder / "input.xml").write_text(text)
    run.run(make_driver(model, atoms, LennardJones(sigma=1.6, epsilon=0.1, rc=4.0, smooth=True)))
    _, _, conserved, potential, volume, pressure = np.loadtxt(run.folder / "run.out").T
    assert np.ptp(volume) > 0.01 * volume[0]
    assert np.isfinite(pressure).all()
    assert np.ptp(conserved) < 0.03 * np.ptp(potential)
    (path,) = run.folder.glob("run.pos_*0.xyz")
    cells = re.findall(r"CELL\(abcABC\):\s+(\S+)", path.read_text())
    assert np.ptp(np.array(cells, float)) > 0.02
    for side, positions, extra in zip(cells[::8], run.frames("pos")[::8], run.extras()[::8], strict=True):
        size = float(side) * units.Bohr
        there = Atoms(atoms.numbers, positions * units.Bohr, cell=[size] * 3, pbc=True)
        expected = model.predict(there).transpose(0, 2, 1).reshape(-1, 3)
        np.testing.assert_allclose(extra, expected, rtol=0, atol=1e-4)


def test_a_force_in_a_field_is_the_derivative_of_the_energy_in_it(ipi, model):
    """Of -E V P, by finite differences of the dipole that i-PI prints: the finite-field way."""
    atoms, step = pair(), 1e-3
    run = ipi(atoms, field=constant_field(FIELD), velocities="", steps=1)
    run.run(make_driver(model, atoms))
    ours = make_driver(model, atoms)

    def energy(index, direction, sign):
        positions = atoms.positions / units.Bohr
        positions[index, direction] += sign * step
        answer = ours.answer(Configuration(atoms.cell.array.T / units.Bohr, positions))
        return -np.dot(json.loads(answer.extras)["dipole"], ATOMIC_FIELD)

    slopes = [[(energy(i, b, -1) - energy(i, b, 1)) / (2 * step) for b in range(3)] for i in range(2)]
    np.testing.assert_allclose(run.frames("field")[0], slopes, rtol=0, atol=1e-6 * np.abs(slopes).max())


def test_energy_with_that_of_the_dipole_in_a_constant_field_is_conserved(ipi, model):
    """To 0.5 % of what moves between its parts, and four times better with half the time step.

    i-PI's `conserved` has no field in it, and its `interaction_energy` is **plus** E V P.
    """
    spread = []
    for timestep, steps in ((1.0, 30), (0.5, 60)):
        atoms = Atoms("MgO", positions=[[0, 0, 0], [1.7, 0.3, 0.2]], cell=[9, 9, 9])
        run = ipi(atoms, field=constant_field(10 * FIELD), timestep=timestep, steps=steps)
        run.run(make_driver(model, atoms, Bond()))
        found = run.table()
        total = found["conserved"] - found["interaction_energy"]
        np.testing.assert_allclose(
            found["interaction_energy"], found["dipole"] @ (10 * ATOMIC_FIELD), rtol=1e-6
        )
        assert np.ptp(found["interaction_energy"]) > 1e-3
        spread.append(np.ptp(total))
    assert spread[0] < 0.005 * np.ptp(found["interaction_energy"])
    assert spread[1] < 0.27 * spread[0]


def test_a_restart_goes_on_in_the_middle_of_a_pulse(ipi, model):
    """Its time is in i-PI's RESTART: positions and fields are those of a run without a break."""
    atoms = pair()
    run = ipi(atoms, field=PULSE, steps=8, checkpoint=3)
    run.run(make_driver(model, atoms))
    whole, field = run.frames("pos"), run.table()["Efield"]
    assert np.ptp(field, axis=0).max() > 1e-3
    checkpoint = run.folder / "run.chk_1"
    (run.folder / "again.xml").write_text(checkpoint.read_text())
    for path in run.folder.glob("run.*"):
        path.unlink()
    run.run(make_driver(model, atoms), input_file="again.xml")
    found, again = run.frames("pos"), run.table()
    first = int(again["step"][0])
    assert 0 < first < 8
    np.testing.assert_allclose(found[-1], whole[-1], rtol=0, atol=1e-7)
    np.testing.assert_allclose(again["Efield"], field[-len(again["Efield"]) :], rtol=0, atol=1e-9)


class Dying(Driver):
    """A driver that is gone after a number of answers."""

    left = 3

    def answer(self, given):
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError
        return super().answer(given)


def test_a_driver_that_dies_and_its_successor_lose_nothing(ipi, model, tmp_path):
    atoms = pair()
    found = []
    for ours in (Driver, Dying):
        folder = tmp_path / ours.__name__
        folder.mkdir()
        run = IPI(folder, atoms, field=PULSE, steps=6)
        with run.running():
            if ours is Dying:
                with pytest.raises(ZeroDivisionError):
                    serve(Dying(atoms, EquivarCalculator(model)), run.connect())
            end = serve(make_driver(model, atoms), run.connect())
            assert run.process.wait(timeout=60) == 0
        found.append(run.frames("pos"))
        assert end == Served(7 if ours is Driver else 4, is_finished=True)
    np.testing.assert_array_equal(*found)


@pytest.mark.slow
def test_a_driver_that_is_killed_and_started_again_loses_nothing(ipi, model, tmp_path):
    """As processes, with the command line."""
    atoms = pair()
    model.predict(atoms)  # brings the compiled kernel into the cache, for which i-PI would wait otherwise
    checkpoint = saved(model, tmp_path / "network")
    write_structures(tmp_path / "pair.extxyz", atoms)
    structure, words = tmp_path / "pair.extxyz", ("--checkpoint", checkpoint)

    def positions(folder, kill):
        """Those of all steps; None if i-PI stays waiting after the kill, as it may."""
        folder.mkdir()
        run = IPI(folder, atoms, field=PULSE, steps=120)
        with run.running():
            process = run.start_driver(structure, *words)
            if kill:
                table = folder / "run.out"
                while not table.exists() or len(table.read_text().splitlines()) < 50:
                    assert process.poll() is None, (folder / "driver.log").read_text()
                    time.sleep(0.01)
                process.kill()
                process.wait()
                assert run.process.poll() is None
                process = run.start_driver(structure, *words)
            try:
                assert run.process.wait(timeout=60 if kill else 300) == 0
            except subprocess.TimeoutExpired:
                assert kill
                return None
            assert process.wait(timeout=60) == 0
        assert "i-PI has finished" in (folder / "driver.log").read_text()
        return run.frames("pos")

    trials = (positions(tmp_path / f"kill-{trial}", kill=True) for trial in range(4))
    found = [positions(tmp_path / "whole", kill=False), next(found for found in trials if found is not None)]
    np.testing.assert_array_equal(*found)


def test_two_drivers_on_one_socket_share_the_beads(ipi, model, tmp_path):
    atoms = pair()
    found = []
    for count in (1, 2):
        folder = tmp_path / str(count)
        folder.mkdir()
        run = IPI(folder, atoms, field=constant_field(FIELD), beads=4, steps=4)
        ends = run.run(*(make_driver(model, atoms) for _ in range(count)))
        assert sum(end.configurations for end in ends) == 4 * 5
        assert all(end.configurations > 0 for end in ends)
        found.append(np.array([run.frames("pos", bead) for bead in range(4)]))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-9)


def test_the_right_symbols_are_taken(ipi, model):
    run = ipi(pair(), ffsocket="<parameters> {symbols: MgO} </parameters>", steps=1)
    assert run.run(make_driver(model, pair())) == [Served(2, is_finished=True)]


def test_alone_it_stands_beside_the_forces_of_another(ipi, model):
    """Springs to the origin, which i-PI itself computes: their energy is the whole potential."""
    atoms, stiffness = pair(), 0.02
    run = ipi(
        atoms,
        field=constant_field(FIELD),
        velocities="",
        steps=1,
        others="<ffdirect name='springs'> <pes> harmonic </pes> "
        f"<parameters> {{k1: {stiffness}}} </parameters> </ffdirect>",
        forces="<force forcefield='springs'/>",
    )
    run.run(make_driver(model, atoms))
    expected = stiffness / 2 * np.sum((atoms.positions / units.Bohr) ** 2)
    assert run.table()["potential"][0] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(run.frames("field")[0], force_of(model.predict(atoms)), rtol=1e-4, atol=1e-7)


def test_i_pi_refuses_a_charged_cell_until_its_threshold_allows_it(ipi, model):
    """Then the net force is Q E."""
    atoms = pair(charge=1.0)
    least = needed_threshold(atoms)
    run = ipi(
        atoms,
        field=constant_field(FIELD),
        velocities="",
        fixcom=False,
        dynamics=f"<asr_threshold> {least} </asr_threshold>",
    )
    run.run(make_driver(model, atoms))
    np.testing.assert_allclose(run.frames("field")[0].sum(axis=0), ATOMIC_FIELD, rtol=1e-5)
    np.testing.assert_allclose(run.frames("field")[0], force_of(model.predict(atoms)), rtol=1e-5)


def test_i_pi_names_its_threshold_for_a_charged_cell(ipi, model):
    atoms = pair(charge=1.0)
    run = ipi(atoms, field=constant_field(FIELD), steps=1)
    with pytest.raises(AssertionError, match="do not satisfy acoustic sum rule"):
        run.run(make_driver(model, atoms))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["constant_field", "pulsed_field", "infrared"])
def test_examples_of_the_page_run(name, tmp_path):
    """With fewer steps, and a socket of another name; their structure, potential and symbols fit together."""
    shutil.copytree(ROOT / "docs" / "engines" / "ipi", tmp_path, dirs_exist_ok=True)
    run = IPI(tmp_path, pair())
    text = (tmp_path / f"{name}.xml").read_text()
    assert f"<address> {name} </address>" in text
    text = text.replace(f"<address> {name} </address>", f"<address> {run.name} </address>")
    (tmp_path / "input.xml").write_text(re.sub(r"<total_steps> \d+", "<total_steps> 20", text))
    with run.running():
        process = run.start_driver("MgO.extxyz", "--potential", "springs:make")
        assert run.process.wait(timeout=300) == 0, run.log.read_text()
        assert process.wait(timeout=60) == 0
    found = np.loadtxt(tmp_path / f"{name}.out")
    assert found[-1, 0] == 20
    assert np.isfinite(found).all()
    assert len(read_structures(tmp_path / f"{name}.pos_0.xyz")) >= 3
    if name != "infrared":
        assert found[:, -1].max() > 0
