"""A network that gives a polarisation: ASE's dipole, and an energy in a field that is a state function."""

import dataclasses

import numpy as np
import pytest
from ase import units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.md.verlet import VelocityVerlet
from helpers.committees import network
from helpers.field_crystals import heat, random_walk, springs
from helpers.polarised import CONFIG, molecule, predictor

from equivar_jax.calculators import EquivarCalculator, FieldCalculator, make_dipole_function
from equivar_jax.calculators.polarised import dipoles_of_cells
from equivar_jax.errors import InputError

BEC = "born_effective_charges"
FIELD = np.array([0.2, -0.1, 0.3])
STEP = 1e-4

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def model():
    return predictor()


def dipole(model, atoms):
    return EquivarCalculator(model).get_property("dipole", atoms)


def dipole_up_to_a_constant(model, atoms, displacements):
    return dipoles_of_cells(model, [atoms], [displacements])[0]


def test_tensors_are_the_derivatives_of_the_dipole_of_a_molecule(model):
    atoms, calculator = molecule(), EquivarCalculator(model)
    tensors = calculator.get_property(BEC, atoms)
    assert np.abs(tensors[1] - tensors[1].T).max() > 1e-3
    for atom, direction in ((1, 0), (3, 2)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, direction] += sign * STEP
            ends.append(calculator.get_property("dipole", moved))
        assert (ends[0] - ends[1]) / (2 * STEP) == pytest.approx(tensors[atom, :, direction], abs=1e-6)


def test_the_dipole_of_a_molecule_has_no_origin_and_turns_with_it(model):
    atoms = molecule()
    found = dipole(model, atoms)
    assert np.linalg.norm(found) > 1
    turn = -np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]  # perhaps with a mirror
    atoms.positions = atoms.positions @ turn.T + [3.0, -20.0, 7.0]
    assert dipole(model, atoms) == pytest.approx(turn @ found, abs=1e-9)


def test_the_rotation_of_the_molecule_determines_its_dipole_from_the_tensors(model):
    """Turning all atoms by w turns d: `sum_i Z_i (w x r_i) = w x d`. So no constant is left open."""
    atoms, calculator = molecule(), EquivarCalculator(model)
    found, tensors = (calculator.get_property(name, atoms) for name in ("dipole", BEC))
    for axis in np.eye(3):
        made = np.einsum("iab,ib->a", tensors, np.cross(axis, atoms.positions))
        assert made == pytest.approx(np.cross(axis, found), abs=1e-9)


def test_of_a_slab_the_part_across_it_whichever_cell_the_atoms_are_in(model):
    atoms = molecule()
    atoms.set_cell([[5.0, 0, 1.0], [0.5, 5.2, 0], [0, 0, 0]])
    atoms.pbc = [True, True, False]
    found = dipole(model, atoms)
    assert np.abs(atoms.cell.array[:2] @ found).max() < 1e-12
    assert np.linalg.norm(found) > 0.1
    atoms.positions[2] += atoms.cell[0] - 2 * atoms.cell[1]
    assert dipole(model, atoms) == pytest.approx(found, abs=1e-9)


def test_the_dipole_alone_and_with_the_tensors_is_the_same_and_kept(model, monkeypatch):
    atoms, calculator = molecule(), EquivarCalculator(model)
    atoms.calc = calculator
    first = atoms.get_dipole_moment()
    atoms.calc.get_property(BEC, atoms)
    monkeypatch.setattr(calculator, "calculate", None)
    np.testing.assert_array_equal(atoms.get_dipole_moment(), first)


def test_of_a_committee_the_mean(model):
    atoms, committee = molecule(), predictor(members=2)
    each = [dipole(committee.member(k), atoms) for k in range(2)]
    assert np.abs(each[0] - each[1]).max() > 1e-2
    assert dipole(committee, atoms) == pytest.approx(np.mean(each, axis=0), abs=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pbc": True}, "a crystal has a value only up to a constant and quanta"),
        ({"charge": 1}, "a net charge of 1 e"),
        ({"form": "direct"}, "train a model with --model.form polarisation"),
        ({"envelope": False}, "train a model with --model.envelope True"),
    ],
)
def test_a_dipole_without_a_value_is_refused_with_the_reason(model, change, message):
    atoms = molecule()
    atoms.set_cell([8.0] * 3)
    atoms.pbc = change.pop("pbc", False)
    if "charge" in change:
        atoms.info.update(change)
        change = {}
    given = predictor(config=dataclasses.replace(CONFIG, **change))
    with pytest.raises(PropertyNotImplementedError, match=message):
        EquivarCalculator(given, allow_unseen=True).get_property("dipole", atoms)


def test_a_network_without_polarisation_is_asked_in_vain():
    atoms, direct = molecule(), network(0, elements=(8, 12))
    with pytest.raises(InputError, match="derivatives of no polarisation"):
        dipoles_of_cells(direct, [atoms], [atoms.positions])
    assert make_dipole_function(direct) is None
    assert make_dipole_function(direct.predict) is None
    assert make_dipole_function(lambda atoms: direct.predict(atoms)) is None


@pytest.mark.parametrize("how", ["calculator", "method"])
def test_the_energy_in_a_field_is_that_of_the_base_less_field_times_dipole(model, how):
    atoms, base = springs(cubic=False)
    charges = EquivarCalculator(model) if how == "calculator" else model.predict
    calculator = FieldCalculator(base, charges, FIELD)
    assert calculator.has_polarisation
    calculator.get_potential_energy(atoms)
    start = dipole_up_to_a_constant(model, atoms, np.zeros((2, 3)))
    begin = atoms.positions.copy()
    for _ in random_walk(atoms, 4):
        atoms.wrap()
        found = calculator.get_potential_energy(atoms)
    moved = atoms.positions - begin
    moved -= np.round(np.linalg.solve(atoms.cell.array.T, moved.T).T) @ atoms.cell.array
    change = dipole_up_to_a_constant(model, atoms, moved) - start
    assert calculator.dipole_change == pytest.approx(change, abs=1e-9)
    assert abs(FIELD @ change) > 1e-3
    assert found == pytest.approx(base.get_potential_energy(atoms) - FIELD @ change, abs=1e-9)
    assert calculator.work == pytest.approx(FIELD @ change, abs=1e-9)


def test_forces_are_the_gradient_of_the_energy_and_the_way_does_not_matter(model):
    atoms, base = springs(cubic=False)
    calculator = FieldCalculator(base, EquivarCalculator(model), FIELD)
    calculator.get_potential_energy(atoms)
    for _ in random_walk(atoms, 2):
        forces, energy = calculator.get_forces(atoms), calculator.get_potential_energy(atoms)
    for atom, direction in ((0, 1), (1, 2)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, direction] += sign * STEP
            ends.append(calculator.get_potential_energy(moved))
        assert -(ends[0] - ends[1]) / (2 * STEP) == pytest.approx(forces[atom, direction], abs=1e-6)
    assert calculator.get_potential_energy(atoms) == pytest.approx(energy, abs=1e-9)


def test_charges_of_every_other_step_have_their_work_integrated(model):
    atoms, base = springs(cubic=False)
    calculator = FieldCalculator(base, EquivarCalculator(model), FIELD, every=2)
    assert not calculator.has_polarisation
    for _ in random_walk(atoms, 3):
        energy = calculator.get_potential_energy(atoms)
    assert energy == base.get_potential_energy(atoms)
    assert abs(calculator.work) > 1e-4


def test_another_cell_begins_a_new_path(model):
    atoms, base = springs(cubic=False)
    calculator = FieldCalculator(base, EquivarCalculator(model), FIELD)
    for _ in random_walk(atoms, 2):
        calculator.get_potential_energy(atoms)
    assert calculator.dipole_change.any()
    atoms.set_cell(atoms.cell * 1.01)
    assert calculator.get_potential_energy(atoms) == base.get_potential_energy(atoms)
    assert not calculator.dipole_change.any()


class Waves:
    """Tensors and polarisation of independent ions, `mu_i,a = c_i sin(3 x_i,a)`; no network."""

    why_no_polarisation = None
    charges, amplitudes = np.array([2.0, -2.0]), np.array([0.3, -0.5])

    def __call__(self, atoms):
        slopes = 3 * self.amplitudes[:, None] * np.cos(3 * atoms.positions) + self.charges[:, None]
        return slopes[:, :, None] * np.eye(3)

    def cell_dipole(self, atoms, displacements):
        local = self.amplitudes[:, None] * np.sin(3 * atoms.positions)
        return (local + self.charges[:, None] * displacements).sum(axis=0)


@pytest.mark.parametrize(
    "field", [FIELD, lambda t: [0, 0, 0.3 * np.sin(0.03 * t)]], ids=["constant", "alternating"]
)
def test_the_free_energy_is_conserved_in_any_field_and_the_energy_in_a_constant_one(field):
    atoms, base = springs(cubic=False)
    atoms.calc = FieldCalculator(base, Waves(), field)
    assert atoms.calc.has_polarisation
    heat(atoms)
    dynamics = VelocityVerlet(atoms, 0.25 * units.fs)
    atoms.calc.follow(dynamics)
    found = []

    def record():
        free = atoms.get_potential_energy(force_consistent=True)
        found.append([free + atoms.get_kinetic_energy(), atoms.get_total_energy(), atoms.calc.work])

    dynamics.attach(record)
    dynamics.run(400)
    free, total, work = np.ptp(found, axis=0)
    assert work > 0.02
    assert free < 2e-5
    assert (total < 2e-5) == (not callable(field))


@pytest.mark.slow  # five thousand steps
def test_the_energy_in_a_constant_field_does_not_drift_in_ten_picoseconds(model):
    """NVE; heavy ions, so that steps of 2 fs are small."""
    atoms, base = springs(cubic=False)
    atoms.set_masses(50 * atoms.get_masses())
    atoms.calc = FieldCalculator(base, EquivarCalculator(model), FIELD)
    totals, works = [], []
    dynamics = VelocityVerlet(atoms, 2.0 * units.fs)

    def record():
        totals.append(atoms.get_total_energy() / len(atoms))
        works.append(atoms.calc.work / len(atoms))

    dynamics.attach(record)
    dynamics.run(5000)
    assert np.ptp(works) > 1e-3
    assert np.ptp(totals) < 1e-5  # the ripple of velocity Verlet
    drift = np.polyfit(np.linspace(0, 1, len(totals)), totals, 1)[0]
    assert abs(drift) < 1e-6
