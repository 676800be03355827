"""Forces of potentials in a field, against what is known about springs and free ions."""

import copy
import pickle

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError, compare_atoms
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.io import read, write
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, BFGSLineSearch
from helpers.crystals import labelled_crystal
from helpers.field_crystals import CHARGE, STIFFNESS, moving_tensors, random_tensors, random_walk, springs

from equivar_jax import load
from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.field import FieldCalculator, list_changes
from equivar_jax.calculators.field_strength import StrongFieldWarning
from equivar_jax.errors import InputError
from equivar_jax.response.phonons.harmonic import HarmonicCrystal, rock_salt
from equivar_jax.structures import born_effective_charges

# Forces.


def test_the_first_index_is_the_field_and_the_second_the_force():
    atoms = Atoms("HHe", positions=[(0, 0, 0), (3, 0, 0)])
    tensors = np.zeros((2, 3, 3))
    tensors[0, 0, 1], tensors[1, 0, 1] = 2.0, -2.0
    atoms.calc = FieldCalculator(LennardJones(epsilon=0.0), lambda _: tensors, [0.1, 0, 0])
    assert atoms.get_forces().tolist() == [[0.0, 0.2, 0.0], [0.0, -0.2, 0.0]]


@pytest.mark.parametrize("base", [EMT, lambda: LennardJones(sigma=2.3, rc=6.0)])
def test_the_field_is_added_to_the_forces_of_any_calculator_and_the_energy_is_its_own(base):
    atoms = bulk("CuAu", "rocksalt", a=5.2, cubic=True)
    atoms.rattle(0.1, seed=0)
    tensors, field = random_tensors(atoms), np.array([0.03, -0.02, 0.05])
    atoms.calc = base()
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.calc = FieldCalculator(base(), lambda _: tensors, field)
    expected = forces + np.array([field @ tensor for tensor in tensors])
    np.testing.assert_allclose(atoms.get_forces(), expected, rtol=0, atol=1e-13)
    assert np.abs(atoms.get_forces().sum(axis=0)).max() < 1e-12
    assert atoms.get_potential_energy() == energy
    np.testing.assert_array_equal(atoms.calc.get_property("born_effective_charges"), tensors)


@pytest.mark.parametrize("charge", [0.0, 2.0])
def test_the_net_force_is_the_net_charge_times_the_field(trained, calcium_titanate, charge):
    calcium_titanate.info["charge"] = charge
    field = np.array([0.01, 0.2, -0.3])
    charges = EquivarCalculator(load(trained.folder))
    calcium_titanate.calc = FieldCalculator(LennardJones(sigma=1.8, rc=4.0), charges, field)
    forces = calcium_titanate.get_forces()
    np.testing.assert_allclose(forces.sum(axis=0), charge * field, rtol=0, atol=1e-9)
    bare = calcium_titanate.calc.base.get_forces(calcium_titanate)
    assert np.abs(forces - bare).max() > 0.05


def test_crystal_and_field_turned_together_turn_the_forces(trained, calcium_titanate):
    model, field = load(trained.folder), np.array([0.01, 0.2, -0.3])

    def forces(atoms, field):
        return FieldCalculator(LennardJones(sigma=1.8, rc=4.0), model.predict, field).get_forces(atoms)

    turned = calcium_titanate.copy()
    turned.rotate(73, (1, 2, -0.5), rotate_cell=True)
    turn = np.linalg.solve(calcium_titanate.cell.array, turned.cell.array).T
    expected = forces(calcium_titanate, field) @ turn.T
    np.testing.assert_allclose(forces(turned, turn @ field), expected, rtol=0, atol=2e-5)


# Springs and free ions.


@pytest.mark.parametrize("field", [(0.2, 0.0, 0.0), (0.05, -0.1, 0.15)])
def test_ions_on_springs_relax_to_where_springs_and_field_balance(field):
    """u = Phi^-1 Z E; for an ion pair with Z = +-q the ions part by q E / stiffness."""
    atoms, base = springs(cubic=False)
    atoms.calc = FieldCalculator(base, base, field)
    BFGS(atoms, logfile=None).run(fmax=1e-9, steps=200)
    moved = atoms.positions - base.rest
    np.testing.assert_allclose(moved[0] - moved[1], CHARGE * np.array(field) / STIFFNESS, atol=1e-9)


def test_tensors_without_symmetry_relax_to_the_inverse_of_the_force_constants():
    tensors, field = random_tensors(rock_salt()), np.array([0.05, -0.1, 0.15])
    atoms, base = springs(tensors=tensors)
    atoms.calc = FieldCalculator(base, base, field)
    BFGSLineSearch(atoms, logfile=None).run(fmax=1e-9, steps=400)
    constants = base.force_constants.transpose(0, 2, 1, 3).reshape(24, 24)
    forces = np.einsum("a,iab->ib", field, tensors).ravel()
    expected = (np.linalg.pinv(constants, rcond=1e-9) @ forces).reshape(8, 3)
    moved = atoms.positions - base.rest
    np.testing.assert_allclose(moved - moved.mean(axis=0), expected - expected.mean(axis=0), atol=1e-8)


def test_a_free_ion_falls_as_the_faraday_constant_says():
    """e/u is 96485.33212 C/g (CODATA 2018): 10 fs at 1 V/Å move 1 u and 1 e by 0.4824266606 Å."""
    atoms = Atoms("H", masses=[1.0])
    atoms.calc = FieldCalculator(LennardJones(), lambda _: np.eye(3)[None], [0, 0, 1.0])
    VelocityVerlet(atoms, 0.5 * units.fs).run(20)
    assert atoms.positions[0, 2] == pytest.approx(0.5 * 96485.33212e3 * 1e10 * (10e-15) ** 2 * 1e10, rel=1e-8)


def test_free_ions_drift_apart_with_constant_acceleration():
    """x(t) = Z E t² / 2m, which velocity Verlet follows exactly."""
    atoms, base = springs(cubic=False)
    base.force_constants = np.zeros((2, 2, 3, 3))
    atoms.calc = FieldCalculator(base, base, [0, 0.1, 0.02])
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    dynamics.run(200)
    forces = np.einsum("a,iab->ib", atoms.calc.field, base.charges)
    expected = forces * dynamics.get_time() ** 2 / 2 / atoms.get_masses()[:, None]
    np.testing.assert_allclose(atoms.positions - base.rest, expected, rtol=1e-10, atol=1e-10)


def test_a_reversed_field_reverses_every_displacement():
    ends = []
    for sign in (1, -1):
        atoms, base = springs(tensors=random_tensors(rock_salt()))
        atoms.calc = FieldCalculator(base, base, sign * np.array([0.1, 0.2, -0.05]))
        VelocityVerlet(atoms, 1.0 * units.fs).run(100)
        ends.append(atoms.positions - base.rest)
    assert np.abs(ends[0]).max() > 0.01
    np.testing.assert_allclose(ends[0], -ends[1], rtol=0, atol=1e-12)


def driven(dt, time=100.0):
    """Distance of an ion pair from rest after some fs in the field 0.1 sin(0.04 t / fs) V/Å, and error."""
    atoms, base = springs(cubic=False)
    atoms.calc = FieldCalculator(base, base, lambda t: [0, 0, 0.1 * np.sin(0.04 * t)])
    dynamics = VelocityVerlet(atoms, dt * units.fs)
    atoms.calc.follow(dynamics)
    dynamics.run(round(time / dt))
    moved = (atoms.positions - base.rest)[:, 2]
    mu = 1 / np.sum(1 / atoms.get_masses())
    own, drive = np.sqrt(STIFFNESS / mu), 0.04 / units.fs
    t = time * units.fs
    amplitude = CHARGE * 0.1 / mu / (own**2 - drive**2)
    expected = amplitude * (np.sin(drive * t) - drive / own * np.sin(own * t))
    return expected, moved[0] - moved[1] - expected


def test_a_driven_ion_pair_follows_the_analytic_path_with_an_error_of_second_order():
    """A field taken a step too early or late, or held from the start of each step, has one of first order."""
    expected, coarse = driven(1.0)
    _, fine = driven(0.5)
    assert abs(fine) < 1e-3 * abs(expected)
    assert 3.8 < coarse / fine < 4.2


# When tensors and fields are taken.


@pytest.mark.parametrize("every", [1, 3])
def test_charges_are_calculated_for_every_kth_configuration_and_kept_in_between(every):
    calls = []

    def tensors(atoms):
        calls.append(atoms.positions.copy())
        return moving_tensors(atoms)

    atoms = rock_salt()
    calculator = FieldCalculator(LennardJones(), tensors, [0.1, 0, 0], every=every)
    for k, _ in enumerate(random_walk(atoms, 7)):
        for name in ("forces", "energy", "born_effective_charges"):
            calculator.get_property(name, atoms)
        calculator.field = [0.1, 0.01 * k, 0]
        calculator.get_forces(atoms)
        assert len(calls) == k // every + 1
        latest = atoms.copy()
        latest.positions = calls[-1]
        found = calculator.get_property("born_effective_charges", atoms)
        np.testing.assert_array_equal(found, moving_tensors(latest))


def test_a_field_that_is_set_anew_acts_at_once():
    atoms, base = springs()
    atoms.calc = FieldCalculator(base, base, [0.1, 0, 0])
    assert atoms.get_forces()[0] == pytest.approx([0.1 * CHARGE, 0, 0])
    atoms.calc.field = [0, 0.2, 0]
    assert atoms.get_forces()[0] == pytest.approx([0, 0.2 * CHARGE, 0])
    atoms.calc.field[2] = 0.3
    assert atoms.get_forces()[0] == pytest.approx([0, 0.2 * CHARGE, 0.3 * CHARGE])


def test_a_field_that_depends_on_time_needs_a_dynamics():
    atoms, base = springs()
    atoms.calc = FieldCalculator(base, base, lambda t: [0, 0, t])
    with pytest.raises(
        InputError, match=r"depends on time, but there is no dynamics; call follow\(dynamics\)"
    ):
        VelocityVerlet(atoms, units.fs).run(1)
    atoms.calc.field = [0, 0, 0]
    with pytest.raises(InputError, match="BFGS has no time; follow a dynamics"):
        atoms.calc.follow(BFGS(atoms, logfile=None))


def langevin(atoms):
    rng = np.random.default_rng(0)
    return Langevin(atoms, units.fs, temperature_K=300, friction=0.01 / units.fs, fixcm=False, rng=rng)


def test_the_field_is_that_of_the_middle_of_each_step_in_one_run_after_another():
    atoms, base = springs()
    times = []

    def field(t):
        times.append(t)
        return [0, 0, 0.01 * t]

    atoms.calc = FieldCalculator(base, base, field)
    dynamics = langevin(atoms)
    atoms.calc.follow(dynamics)
    dynamics.run(3)
    dynamics.run(2)
    assert sorted({round(t, 9) for t in times}) == [0.5, 1.5, 2.5, 3.5, 4.5, 5.5]
    bare = base.get_forces(atoms)
    np.testing.assert_allclose((atoms.get_forces() - bare)[:, 2], 0.055 * base.charges[:, 2, 2], atol=1e-12)


def test_a_time_that_stands_still_while_atoms_move_is_refused():
    atoms, base = springs()
    atoms.calc = FieldCalculator(base, base, lambda t: [0, 0, 0.01 * t])
    first, second = langevin(atoms), langevin(atoms)
    atoms.calc.follow(first)
    first.run(5)
    with pytest.raises(InputError, match="time of the field stands still"):
        second.run(5)
    atoms.calc.follow(second)
    second.run(5)


@pytest.mark.parametrize(
    "change",
    [
        lambda _: None,
        lambda atoms: atoms.translate([0, 0, 1e-6]),
        lambda atoms: atoms.translate([0, 0, 1e-16]),
        lambda atoms: atoms.set_cell([6, 6, 6]),
        lambda atoms: atoms.set_pbc([True, False, True]),
        lambda atoms: atoms.set_atomic_numbers([1] * 8),
        lambda atoms: atoms.set_initial_charges([0.0] * 8),
        lambda atoms: atoms.set_initial_magnetic_moments(np.ones((8, 3))),
        lambda atoms: atoms.extend(Atoms("H")),
    ],
)
@pytest.mark.parametrize("tolerance", [0.0, 1e-15])
def test_changes_are_those_that_ase_finds(change, tolerance):
    before, after = rock_salt(), rock_salt()
    change(after)
    found = list_changes(before, after, tolerance)
    assert sorted(found) == sorted(compare_atoms(before, after, tolerance))
    assert sorted(list_changes(after, before, tolerance)) == sorted(found)
    assert list_changes(None, after) == compare_atoms(None, after)


# What is refused.


def test_there_is_no_stress_and_the_reason_is_given():
    atoms = bulk("Cu")
    atoms.calc = FieldCalculator(EMT(), lambda _: np.zeros((1, 3, 3)), [0, 0, 0.1])
    with pytest.raises(
        PropertyNotImplementedError, match="there is no stress in a field: its piezoelectric part"
    ):
        atoms.get_stress()


@pytest.mark.parametrize("field", [[0, 1], [0, 0, np.nan], np.zeros((1, 3))])
def test_a_field_that_is_not_three_numbers_is_refused(field):
    atoms, base = springs()
    with pytest.raises(InputError, match=r"the field is .*; give three numbers in V/Å"):
        FieldCalculator(base, base, field)
    atoms.calc = FieldCalculator(base, base, lambda _: field)
    dynamics = VelocityVerlet(atoms, units.fs)
    atoms.calc.follow(dynamics)
    with pytest.raises(InputError, match=r"the field at 0.5 fs is .*; give three numbers in V/Å"):
        dynamics.run(1)


def test_charges_that_are_none_are_refused():
    with pytest.raises(InputError, match="no born_effective_charges from EMT; give a calculator"):
        FieldCalculator(EMT(), EMT(), [0, 0, 0])
    with pytest.raises(
        InputError, match="charges every 0 configurations are not possible; give every=1 or more"
    ):
        FieldCalculator(EMT(), random_tensors, [0, 0, 0], every=0)


@pytest.mark.parametrize("tensors", [np.zeros((4, 9)), np.zeros((3, 3)), np.full((4, 3, 3), np.nan)])
def test_tensors_of_another_shape_or_none_are_refused(tensors):
    atoms = bulk("Cu", cubic=True)
    complaint = r"structure Cu4: Born effective charge(s of shape .*, expected \(4, 3, 3\)| of atom 0 is not)"
    with pytest.raises(InputError, match=complaint):
        FieldCalculator(EMT(), lambda _: tensors, [0, 0, 0]).get_forces(atoms)


# Strength.


def charged_pair():
    atoms = Atoms("HHe", positions=[(0, 0, 0), (3, 0, 0)])
    tensors = np.array([1.0, -1.0])[:, None, None] * np.eye(3)
    return atoms, lambda _: tensors


def test_a_field_beyond_what_a_crystal_stands_is_warned_of_once():
    """Mostly kV/cm taken for V/Å."""
    atoms, tensors = charged_pair()
    with pytest.warns(StrongFieldWarning, match="of 100 V/Å is 1e\\+07 kV/cm.* 1 V/Å is 1e5 kV/cm"):
        atoms.calc = FieldCalculator(LennardJones(epsilon=0.0), tensors, [0, 60, 80])
    atoms.calc.field = [0, 0, 200.0]  # without another word
    FieldCalculator(LennardJones(epsilon=0.0), tensors, [0, 0.6, 0.8])  # 1 V/Å


def test_a_strong_field_that_changes_with_time_is_warned_of_once():
    atoms, tensors = charged_pair()
    atoms.calc = FieldCalculator(LennardJones(epsilon=0.0), tensors, lambda t: [0, 0, 0.3 * t])
    dynamics = VelocityVerlet(atoms, 1.0 * units.fs)
    atoms.calc.follow(dynamics)
    dynamics.run(2)
    with pytest.warns(StrongFieldWarning) as said:
        dynamics.run(4)
    assert len(said) == 1


# With the rest of ASE.


def test_a_copy_of_a_calculator_and_one_in_another_process_go_on_with_its_path():
    atoms = labelled_crystal()
    tensors = born_effective_charges(atoms)
    atoms.calc = FieldCalculator(
        LennardJones(sigma=1.5, rc=3.0),
        HarmonicCrystal(atoms, np.zeros((3, 3, 3, 3)), tensors),
        [0, 0.2, 0.1],
    )
    expected = atoms.get_forces()
    sent, copied = pickle.loads(pickle.dumps(atoms)), copy.deepcopy(atoms)
    for other in (sent, copied):
        np.testing.assert_array_equal(other.get_forces(), expected)
        other.positions[0, 1] += 0.1
        assert other.get_potential_energy(force_consistent=True) != atoms.get_potential_energy()
        assert other.calc.work == pytest.approx(0.1 * np.array([0, 0.2, 0.1]) @ tensors[0, :, 1])
    assert atoms.calc.work == 0.0


def test_a_structure_is_written_before_its_field_has_a_time(tmp_path):
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.calc = FieldCalculator(LennardJones(), random_tensors, lambda time: [0, 0, 0.01 * time])
    write(tmp_path / "start.traj", atoms)
    found = read(tmp_path / "start.traj")
    assert found.calc is None or not found.calc.results
    with pytest.raises(InputError, match="there is no dynamics"):
        atoms.get_forces()


def test_a_sum_as_base_follows_a_field_that_is_set_anew():
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.rattle(0.05, seed=0)
    terms = [LennardJones(sigma=1.7, rc=4.0), LennardJones(sigma=1.5, rc=4.0)]
    tensors = random_tensors(atoms)
    atoms.calc = FieldCalculator(SumCalculator(terms), lambda _: tensors, [0, 0, 0.01])
    bare = sum(term.get_forces(atoms) for term in terms)
    for field in ([0, 0, 0.01], [0.3, 0, 0.5]):
        atoms.calc.field = field
        expected = bare + np.einsum("a,iab->ib", field, tensors)
        np.testing.assert_allclose(atoms.get_forces(), expected, rtol=0, atol=1e-12)


def test_without_any_structure_it_is_said():
    calculator = FieldCalculator(LennardJones(), random_tensors, [0, 0, 0.01])
    with pytest.raises(InputError, match="no structure to calculate; give the atoms"):
        calculator.get_property("forces")
