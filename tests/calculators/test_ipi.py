"""The driver of i-PI: what it makes of i-PI's configurations, and what it refuses."""

import json
import socket
import time

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.lj import LennardJones
from helpers.checkpoints import saved
from helpers.ipi import IPI, make_driver, network, pair
from helpers.potentials import Bond

from equivar_jax.calculators.ipi import (
    TurnedCellWarning,
    format_extras,
    needed_threshold,
    serve,
)
from equivar_jax.calculators.ipi_socket import Configuration, Link
from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.ipi import main

pytest.importorskip("ipi")


@pytest.fixture(scope="module")
def model():
    return network()


@pytest.fixture
def ipi(tmp_path):
    return lambda atoms, **settings: IPI(tmp_path, atoms, **settings)


def test_another_number_of_atoms_is_refused_on_both_sides(ipi, model):
    atoms = pair()
    run = ipi(atoms.repeat((2, 1, 1)))
    with run.running():
        with pytest.raises(InputError, match=r"structure MgO: it has 2 atoms, but i-PI sends 4"):
            serve(make_driver(model, atoms), run.connect())
        deadline = time.monotonic() + 30
        while "WANT 2 ATOMS" not in run.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "Unexpected getforce reply: b'WANT 2 ATOMS'" in run.log.read_text()
        assert run.process.poll() is None  # it waits for another


@pytest.mark.parametrize(
    ("symbols", "complaint"), [("OMg", "its atoms are MgO, in this order"), ("Qq", "no formula")]
)
def test_other_symbols_are_refused_on_both_sides(ipi, model, symbols, complaint):
    """Where i-PI's input says which they are."""
    run = ipi(pair(), ffsocket=f"<parameters> {{symbols: {symbols}}} </parameters>")
    with run.running():
        with pytest.raises(InputError, match=complaint):
            serve(make_driver(model, pair()), run.connect())
        deadline = time.monotonic() + 30
        while "WANT MgO" not in run.log.read_text() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert "WANT MgO" in run.log.read_text()


def test_batches_of_structures_are_refused(ipi, model):
    run = ipi(pair(), ffsocket="<batch_size> 2 </batch_size>")
    with run.running(), pytest.raises(InputError, match="2 structures at a time; set <batch_size> 1"):
        serve(make_driver(model, pair()), run.connect())


def test_shared_memory_is_refused(ipi, model):
    run = ipi(pair(), mode="shm")
    with run.running(), pytest.raises(InputError, match="share memory; set mode='unix' in <ffsocket>"):
        serve(make_driver(model, pair()), run.connect())


def test_short_names_of_shared_memory_are_refused_without_waiting_for_more():
    """They begin with the number of i-PI's process, so that their length is chance."""
    here, there = socket.socketpair()
    with here, there:
        here.settimeout(20)
        names = [f"ipi_shm_595_8_{kind}".encode() for kind in ("pos", "h", "ih", "pot", "force", "vir")]
        parts = [np.int32(len(name)).tobytes() + name for name in names]
        there.sendall(np.int32(2).tobytes() + b"".join(parts))
        assert sum(map(len, parts)) < 18 * 8
        with pytest.raises(InputError, match="structures: i-PI wants to share memory"):
            Link(here, "structures").receive_configuration()


def test_a_crystal_that_i_pi_turned_is_told(model):
    """Its tensors are turned with it, the field is not."""
    standard, turned = pair(), pair()
    turned.rotate(40, (1, 2, 3), rotate_cell=True)
    ours = make_driver(model, turned)
    with pytest.warns(TurnedCellWarning, match="a field has the directions of i-PI's cell"):
        answer = ours.answer(
            Configuration(standard.cell.array.T / units.Bohr, standard.positions / units.Bohr)
        )
    found = np.reshape(json.loads(answer.extras)["BEC"], (2, 3, 3)).transpose(0, 2, 1)
    np.testing.assert_allclose(found, model.predict(standard), atol=1e-8)


def test_a_neutral_cell_needs_no_other_threshold():
    assert needed_threshold(pair()) is None
    assert needed_threshold(pair(charge=-2.0)) == pytest.approx(0.505)


def test_energy_forces_and_virial_are_those_of_i_pi_own_driver_of_ase(model, tmp_path):
    """Units, signs and the order of indices of a cell far from a box."""
    from ipi.pes._ase import ASEDriver

    atoms = pair()
    write_structures(tmp_path / "pair.extxyz", atoms)
    theirs = ASEDriver(template=str(tmp_path / "pair.extxyz"))
    theirs.ase_calculator = LennardJones(sigma=1.6, epsilon=0.3, rc=4.0)
    given = Configuration(atoms.cell.array.T / units.Bohr, (atoms.positions + 0.1) / units.Bohr)
    energy, forces, virial, _ = theirs(given.h, given.positions)
    found = make_driver(model, atoms, LennardJones(sigma=1.6, epsilon=0.3, rc=4.0)).answer(given)
    virial = virial.reshape(3, 3)
    assert np.abs(virial[0, 1]) > 1e-4
    # i-PI's units are rounded to eight digits.
    assert found.energy == pytest.approx(float(energy), rel=1e-5)
    np.testing.assert_allclose(found.forces, forces, rtol=1e-5)
    np.testing.assert_allclose(found.virial, virial, rtol=1e-5)


@pytest.mark.parametrize("atoms", [pair(), Atoms("MgO", [[0, 0, 0], [1.7, 0, 0]], cell=[9, 9, 9])])
def test_a_virial_that_is_not_known_is_not_a_number(model, atoms):
    """Of a potential without stress, or of a structure that is not periodic; alone, a driver adds nothing."""
    given = Configuration(np.diag([17.0, 17, 17]), atoms.positions / units.Bohr)
    potential = Bond() if atoms.pbc.all() else LennardJones()
    assert np.isnan(make_driver(model, atoms, potential).answer(given).virial).all()
    alone = make_driver(model, atoms).answer(given)
    assert alone.energy == 0
    assert not alone.forces.any()
    assert not alone.virial.any()


def test_a_molecule_needs_no_cell_but_a_crystal_does(model):
    nowhere = np.diag([np.inf] * 3)
    molecule = Atoms("MgO", [[0, 0, 0], [1.7, 0, 0]])
    found = json.loads(
        make_driver(model, molecule).answer(Configuration(nowhere, molecule.positions / units.Bohr)).extras
    )
    np.testing.assert_allclose(
        found["BEC"], model.predict(molecule).transpose(0, 2, 1).reshape(-1, 3), atol=1e-9
    )
    with pytest.raises(InputError, match="the cell that i-PI sends is infinite"):
        make_driver(model, pair()).answer(Configuration(nowhere, pair().positions / units.Bohr))


@pytest.mark.parametrize("largest", [1e-11, 1.0, 9.99999999999, 12.0])
def test_extras_are_json_with_the_displacement_first(largest):
    tensors = np.random.default_rng(0).uniform(-1, 1, size=(5, 3, 3))
    tensors *= largest / np.abs(tensors).max()
    tensors[1] = 0
    found = json.loads(format_extras(tensors, np.array([1.0, 2.0, 3.0])))
    assert found.keys() == {"BEC", "dipole"}
    np.testing.assert_allclose(
        np.reshape(found["BEC"], (5, 3, 3)), tensors.transpose(0, 2, 1), rtol=0, atol=0.51e-10
    )
    np.testing.assert_allclose(np.array(found["dipole"]) * units.Bohr, [1, 2, 3])
    assert json.loads(format_extras(tensors)).keys() == {"BEC"}


def test_the_program_says_what_it_cannot_use(complaint, tmp_path, model):
    one, two = tmp_path / "one.extxyz", tmp_path / "two.extxyz"
    write_structures(one, pair())
    write_structures(two, [pair(), pair()])
    network = ["--checkpoint", saved(model, tmp_path / "network")]
    assert "a Unix socket has no port" in complaint(main, one, "--unix", "--port", 3)
    assert "--wait -1: give seconds" in complaint(main, one, "--wait=-1")
    assert "2 structures; give a file with exactly one" in complaint(main, two, *network)
    nobody = complaint(main, one, *network, "--unix", "--address", tmp_path.name, "--wait", 0)
    assert f"no i-PI at /tmp/ipi_{tmp_path.name} within 0 s" in nobody
    assert "choose one of" in complaint(main, one, *network, "--potential", "nothing")
