"""Charges that act in LAMMPS, against `FieldCalculator` of the same charges and exact answers of springs."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.lj import LennardJones
from helpers.field_crystals import moving_tensors_of_cell, random_tensors
from helpers.lammps_runs import (
    ENERGY,
    FIELD,
    SPECIES,
    by_id,
    fix_output,
    list_ids,
    open_or_skip,
    read_into,
    shuffled_crystal,
    springs,
    warm,
)
from helpers.polarised import predictor

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.calculators.lammps import LammpsField
from equivar_jax.calculators.lammps_structure import field_in_lammps_axes

pytestmark = pytest.mark.usefixtures("float64")


def expected_forces(atoms, charges, field):
    """What `FieldCalculator` adds to the forces."""
    return FieldCalculator(LennardJones(epsilon=0.0), charges, field).get_forces(atoms)


def lammps_atoms(lmp, atoms):
    """The structure in LAMMPS, wrapped as LAMMPS has it, with elements of another."""
    low, high, xy, yz, xz, _, _ = lmp.extract_box()
    sides = np.subtract(high, low)
    cell = [[sides[0], 0, 0], [xy, sides[1], 0], [xz, yz, sides[2]]]
    return Atoms(atoms.numbers, by_id(lmp, "x"), cell=cell, pbc=True)


# Forces.


def test_the_first_index_is_the_field_and_the_second_the_force(lmp, tmp_path):
    atoms = Atoms("MgO", positions=[(1, 1, 1), (4, 1, 1)], cell=[8, 8, 8], pbc=True)
    tensors = np.zeros((2, 3, 3))
    tensors[0, 0, 1], tensors[1, 0, 1] = 2.0, -2.0
    LammpsField(read_into(lmp, atoms, tmp_path), lambda _: tensors, [0.1, 0, 0], SPECIES).command("run 0")
    np.testing.assert_array_equal(by_id(lmp, "f"), [[0.0, 0.2, 0.0], [0.0, -0.2, 0.0]])


@pytest.mark.parametrize("system", ["metal", "real"])
@pytest.mark.parametrize("triclinic", [False, True])
def test_forces_are_those_of_the_field_calculator_turned_to_lammps_axes(lmp, tmp_path, system, triclinic):
    atoms, network = shuffled_crystal(triclinic), predictor()
    field = field_in_lammps_axes(atoms, FIELD)
    read_into(lmp, atoms, tmp_path, system=system)
    born = LammpsField(lmp, EquivarCalculator(network), field, SPECIES)
    born.command("run 0")
    # Rows of `turn` are LAMMPS's components of the axes of the structure.
    turn = np.array([field_in_lammps_axes(atoms, axis) for axis in np.eye(3)])
    expected = expected_forces(atoms, network.predict, FIELD)
    scale = np.abs(expected).max()
    assert scale > 0.05
    found = by_id(lmp, "f") @ turn.T / ENERGY[system]
    # A data file has positions with 17 digits; what is left is the rounding of a turn.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * scale)
    if triclinic:
        assert np.abs(turn - np.eye(3)).max() > 0.1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forces_stay_right_while_lammps_sorts_wraps_and_moves_atoms(lmp, tmp_path, dtype):
    """They are those of the very structure that LAMMPS has, wrapped and in another order."""
    atoms = warm(shuffled_crystal(True), 3000)
    atoms.set_momenta(atoms.get_momenta() + 0.2 * atoms.get_masses()[:, None])  # all go through the cell
    network = predictor(dtype=dtype)
    read_into(lmp, atoms, tmp_path, springs(2.0), sort="sort 1 3.0")
    calculator = EquivarCalculator(network)
    born = LammpsField(lmp, calculator, FIELD, SPECIES)
    orders, images, totals = set(), set(), []
    for _ in range(8):
        born.command("run 5")
        orders.add(tuple(list_ids(lmp)))
        images.add(tuple(by_id(lmp, "image")))
        expected = expected_forces(lammps_atoms(lmp, atoms), network.predict, FIELD)
        with_field = by_id(lmp, "f")
        born.field = [0, 0, 0]
        born.command("run 0")
        difference = with_field - by_id(lmp, "f")
        born.field = FIELD
        tolerance = (1e-10 if dtype is np.float64 else 2e-5) * np.abs(expected).max()
        np.testing.assert_allclose(difference, expected, rtol=0, atol=tolerance)
        totals.append(np.abs(difference.sum(axis=0)).max())
    assert len(orders) > 1
    assert len(images) > 1
    assert max(totals) < 1e-10
    assert calculator.neighbours.searches < 20  # of 50 configurations, though atoms were wrapped


def test_each_atom_has_the_tensor_of_its_own_id_when_ids_have_gaps(lmp, tmp_path):
    atoms = shuffled_crystal()
    read_into(lmp, atoms, tmp_path)
    lmp.commands_string("group gone id 3 7 8\ndelete_atoms group gone compress no")
    left = atoms[[k for k in range(len(atoms)) if k + 1 not in (3, 7, 8)]]
    tensors = random_tensors(left)
    born = LammpsField(lmp, lambda _: tensors, FIELD, SPECIES)
    born.command("run 0")
    np.testing.assert_allclose(by_id(lmp, "f"), np.einsum("a,iab->ib", FIELD, tensors), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(born.born_effective_charges, tensors)


@pytest.mark.parametrize("charge", [0.0, 2.0])
def test_the_net_force_is_the_net_charge_times_the_field(lmp, tmp_path, charge):
    atoms = shuffled_crystal()
    born = LammpsField(read_into(lmp, atoms, tmp_path), predictor().predict, FIELD, SPECIES, charge=charge)
    born.command("run 0")
    np.testing.assert_allclose(by_id(lmp, "f").sum(axis=0), charge * FIELD, rtol=0, atol=1e-12)


def test_a_surface_is_periodic_in_its_plane_only(lmp, tmp_path):
    atoms = shuffled_crystal()
    atoms.center(vacuum=6.0, axis=2)
    read_into(lmp, atoms, tmp_path)
    lmp.command("change_box all boundary p p s")
    born = LammpsField(lmp, predictor().predict, FIELD, SPECIES)
    born.command("run 3")
    atoms.pbc = (True, True, False)
    born.command("run 0")
    slab = lammps_atoms(lmp, atoms)
    slab.pbc = atoms.pbc
    expected = expected_forces(slab, predictor().predict, FIELD)
    np.testing.assert_allclose(by_id(lmp, "f"), expected, rtol=0, atol=1e-10 * np.abs(expected).max())


# Paths.


@pytest.mark.parametrize("system", ["metal", "real"])
def test_atoms_on_tethers_relax_to_where_springs_and_field_balance(lmp, tmp_path, system):
    """u = Z E / k, with the energy -E Z Z E / 2k of the springs and the field together."""
    atoms, stiffness = shuffled_crystal(), 3.0
    tensors = random_tensors(atoms)
    read_into(lmp, atoms, tmp_path, springs(stiffness, system), system)
    born = LammpsField(lmp, lambda _: tensors, FIELD, SPECIES)
    begin = by_id(lmp, "x")
    born.command("minimize 0 1e-9 100 1000")
    forces = np.einsum("a,iab->ib", FIELD, tensors)
    np.testing.assert_allclose(by_id(lmp, "x") - begin, forces / stiffness, rtol=0, atol=1e-9)
    expected = -(forces**2).sum() / 2 / stiffness * ENERGY[system]
    assert lmp.get_thermo("pe") == pytest.approx(expected, rel=1e-9)
    assert born.work == pytest.approx((forces**2).sum() / stiffness, rel=1e-9)


@pytest.mark.parametrize("system", ["metal", "real"])
def test_a_tethered_atom_swings_as_the_harmonic_oscillator_does(lmp, tmp_path, system):
    """x(t) = q E (1 - cos w t) / k: the unit of force, mass and time fit together."""
    atoms = Atoms("MgO", positions=[(1, 1, 1), (4, 1, 1)], cell=[8, 8, 8], pbc=True)
    tensors = np.array([2.0, -2.0])[:, None, None] * np.eye(3)
    read_into(lmp, atoms, tmp_path, springs(5.0, system), system)
    born = LammpsField(lmp, lambda _: tensors, [0, 0, 0.1], SPECIES)
    lmp.command(f"timestep {0.1 * lmp.extract_global('dt')}")
    born.command("run 400")
    omega = np.sqrt(5.0 / atoms.get_masses())
    swing = 1 - np.cos(omega * 40 * units.fs)
    expected = np.array([1, -1]) * 2.0 * 0.1 / 5.0 * swing
    np.testing.assert_allclose(by_id(lmp, "x")[:, 2] - 1, expected, rtol=1e-4)


def test_the_energy_is_conserved_and_a_function_of_the_configuration_where_there_is_a_polarisation(
    lmp, tmp_path
):
    atoms = warm(shuffled_crystal())
    read_into(lmp, atoms, tmp_path, springs(5.0), sort="sort 1 3.0")
    born = LammpsField(lmp, EquivarCalculator(predictor()), FIELD, SPECIES)
    assert born.has_polarisation
    totals, works = [], []
    for _ in range(10):
        born.command("run 10")
        totals.append(lmp.get_thermo("etotal"))
        works.append(born.work)
        scalar, vector = fix_output(lmp)
        assert scalar == pytest.approx(-FIELD @ born.dipole_change, rel=1e-10)
        np.testing.assert_array_equal(vector[:3], born.dipole_change)
        np.testing.assert_array_equal(vector[3:], FIELD)
    assert np.ptp(works) > 0.1
    assert np.ptp(totals) < 5e-4  # 2.7e-4 eV; without a field 2.9e-4


def test_the_dipole_follows_atoms_out_of_the_cell(lmp, tmp_path):
    """With fixed charges it is the sum of Z u, however often LAMMPS has wrapped the atoms."""
    atoms = shuffled_crystal(True)
    tensors = random_tensors(atoms)
    velocities = np.random.default_rng(3).normal(size=(len(atoms), 3)) * 0.5
    atoms.set_velocities(velocities)
    read_into(lmp, atoms, tmp_path)
    born = LammpsField(lmp, lambda _: tensors, [0, 0, 0], SPECIES)
    born.command("run 0")
    speeds = by_id(lmp, "v") * 1e-3  # Å/fs
    born.command("run 200")
    assert (by_id(lmp, "image") != by_id(lmp, "image")[0]).any()
    expected = np.einsum("iab,ib->a", tensors, speeds * 200)
    assert np.abs(expected).max() > 10
    np.testing.assert_allclose(born.dipole_change, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("system", "unit"), [("metal", 1e-3), ("real", 1.0)])
def test_the_field_is_that_of_the_time_of_each_step_in_fs(lmp, tmp_path, system, unit):
    atoms, times = shuffled_crystal(), []

    def field(time):
        times.append(time)
        return [0, 0, 0.001 * time]

    tensors = random_tensors(atoms)
    born = LammpsField(read_into(lmp, atoms, tmp_path, system=system), lambda _: tensors, field, SPECIES)
    born.command("run 2")
    lmp.command(f"timestep {0.5 * unit}")
    born.command("run 2")
    np.testing.assert_allclose(times, [0, 1, 2, 2, 2.5, 3], atol=1e-12)
    assert fix_output(lmp)[1][5] == pytest.approx(0.003)
    expected = 0.003 * tensors[:, 2] * ENERGY[system]
    np.testing.assert_allclose(by_id(lmp, "f"), expected, rtol=0, atol=1e-12)
    lmp.command("reset_timestep 0")
    times.clear()
    born.command("run 0")
    assert times == [0]


def test_energy_is_conserved_in_a_field_that_changes(lmp, tmp_path):
    """Less the work, to second order in the time step; moving charges, whose work is an integral."""
    spreads = []
    for steps in (40, 80):
        instance = open_or_skip()
        atoms = warm(shuffled_crystal())
        read_into(instance, atoms, tmp_path, springs(5.0))
        instance.command(f"timestep {0.04 / steps}")
        field = lambda t: [0, 0.1 * np.sin(0.2 * t), 0.2 * np.cos(0.1 * t)]  # noqa: E731
        born = LammpsField(instance, moving_tensors_of_cell, field, SPECIES)
        totals = []
        for _ in range(8):
            born.command(f"run {steps // 8}")
            totals.append(instance.get_thermo("etotal"))
        spreads.append(np.ptp(totals))
        assert born.work > 0.05
        instance.close()
    assert spreads[0] < 5e-4
    assert 3.8 < spreads[0] / spreads[1] < 4.2


# Every k-th step.


@pytest.mark.parametrize("extrapolate", [False, True])
def test_charges_are_calculated_at_multiples_of_the_interval(lmp, tmp_path, extrapolate):
    calls = []

    def charges(atoms):
        calls.append(lmp.extract_global("ntimestep"))
        return moving_tensors_of_cell(atoms)

    atoms = warm(shuffled_crystal())
    read_into(lmp, atoms, tmp_path, springs(5.0))
    born = LammpsField(lmp, charges, FIELD, SPECIES, every=4, extrapolate=extrapolate)
    born.command("run 6")
    born.command("run 7")
    assert calls == [0, 4, 8, 12]
    lmp.command("displace_atoms all move 0.1 0 0")
    born.command("run 0")
    assert calls.pop() == 13
    born.command("minimize 0 1e-3 3 30")
    assert len(calls) > 6  # each time


def test_energy_is_conserved_with_held_charges_and_a_line_is_nearer_to_the_true_path(tmp_path):
    ends, totals = {}, {}
    for every, extrapolate in ((1, False), (5, False), (5, True)):
        instance = open_or_skip()
        read_into(instance, warm(shuffled_crystal()), tmp_path, springs(5.0))
        born = LammpsField(
            instance, moving_tensors_of_cell, 3 * FIELD, SPECIES, every=every, extrapolate=extrapolate
        )
        born.command("run 0")
        first = instance.get_thermo("etotal")
        born.command("run 60")
        totals[every, extrapolate] = instance.get_thermo("etotal") - first
        ends[every, extrapolate] = by_id(instance, "x")
        instance.close()
    held, line = (np.abs(ends[5, line] - ends[1, False]).max() for line in (False, True))
    assert 1e-6 < line < held / 2
    assert max(map(abs, totals.values())) < 0.01


@pytest.mark.slow
def test_a_thousand_steps_conserve_the_energy_as_well_as_without_a_field(tmp_path):
    """At 300 K, 1 fs and springs of 5 eV/Å² the error of velocity Verlet is what is left."""
    spreads, drifts = [], []
    for strength in (0.0, 1.0):
        instance = open_or_skip()
        read_into(instance, warm(shuffled_crystal()), tmp_path, springs(5.0), sort="sort 1 3.0")
        born = LammpsField(instance, EquivarCalculator(predictor()), strength * FIELD, SPECIES)
        totals = []
        for _ in range(200):
            born.command("run 5")
            totals.append(instance.get_thermo("etotal"))
        spreads.append(np.ptp(totals))
        drifts.append(abs(np.mean(totals[:50]) - np.mean(totals[-50:])))
        instance.close()
    assert spreads[1] < 1.5 * spreads[0] < 1e-3
    assert max(drifts) < 5e-5
