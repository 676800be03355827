"""Energy, work of the field, and what is conserved."""

import itertools

import numpy as np
import pytest
from ase import units
from ase.calculators.lj import LennardJones
from ase.md.nose_hoover_chain import NoseHooverChainNVT
from ase.md.verlet import VelocityVerlet
from helpers.examples import slow
from helpers.field_crystals import (
    heat,
    moving_tensors,
    moving_tensors_of_cell,
    random_tensors,
    random_walk,
    springs,
)

from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.response.phonons.harmonic import rock_salt


def drift(atoms, base, field, steps, dt=1.0, tensors=None, **options):
    """Largest change of E_base + E_kin - W along a run, in eV an atom, and the largest |W| an atom."""
    calculator = FieldCalculator(base, tensors or base, field, **options)
    atoms.calc = calculator
    heat(atoms)
    dynamics = VelocityVerlet(atoms, dt * units.fs)
    if callable(field):
        calculator.follow(dynamics)
    totals, works = [], []

    def record():
        totals.append(atoms.get_potential_energy() + atoms.get_kinetic_energy() - calculator.work)
        works.append(calculator.work)

    dynamics.attach(record)
    dynamics.run(steps)
    return np.ptp(totals) / len(atoms), np.abs(works).max() / len(atoms)


@pytest.mark.slow  # a thousand steps
@pytest.mark.parametrize(
    ("field", "tensors", "options"),
    [
        slow([0.1, -0.1, 0.2], None, {}),
        slow([0.1, -0.1, 0.2], moving_tensors, {}),
        ([0.1, -0.1, 0.2], moving_tensors, {"every": 5}),
        (lambda t: [0, 0, 0.2 * np.sin(0.03 * t)], moving_tensors, {}),
    ],
    ids=["constant charges", "changing charges", "charges every fifth step", "alternating field"],
)
def test_energy_less_the_work_of_the_field_is_conserved_over_a_thousand_steps(field, tensors, options):
    changed, work = drift(*springs(tensors=random_tensors(rock_salt())), field, 1000, 1.0, tensors, **options)
    assert changed < 1e-4
    assert work > 20 * changed


def test_the_error_of_the_conserved_energy_is_of_second_order():
    coarse, _ = drift(*springs(), [0.1, 0, 0.2], 100, 1.0, moving_tensors)
    fine, _ = drift(*springs(), [0.1, 0, 0.2], 200, 0.5, moving_tensors)
    assert 3.5 < coarse / fine < 4.5


def test_the_work_on_constant_charges_depends_on_the_ends_of_the_path_only():
    """W = sum_i E Z_i u_i, whichever way the atoms went, and the free energy is less by it."""
    atoms, base = springs(tensors=random_tensors(rock_salt()))
    field = np.array([0.1, -0.1, 0.2])
    atoms.calc = FieldCalculator(base, base, field)
    energies = []
    for _ in random_walk(atoms, 30):
        energies.append(atoms.get_potential_energy(force_consistent=True))
    start = base.rest + np.random.default_rng(0).normal(scale=0.02, size=atoms.positions.shape)
    expected = np.einsum("a,iab,ib->", field, base.charges, atoms.positions - start)
    assert abs(expected) > 0.01
    assert atoms.calc.work == pytest.approx(expected, abs=1e-13)
    assert energies[-1] == pytest.approx(base.get_potential_energy(atoms) - expected, abs=1e-12)


def test_forces_are_the_gradient_of_the_free_energy():
    """Central differences, with constant charges."""
    atoms, base = springs(tensors=random_tensors(rock_salt()))
    atoms.calc = FieldCalculator(base, base, [0.1, -0.1, 0.2])
    atoms.rattle(0.05, seed=0)
    forces, step = atoms.get_forces(), 1e-4
    for atom, direction in itertools.product((0, 5), range(3)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, direction] += sign * step
            ends.append(atoms.calc.get_potential_energy(moved, force_consistent=True))
        assert -(ends[0] - ends[1]) / (2 * step) == pytest.approx(forces[atom, direction], abs=1e-8)


def test_a_thermostat_conserves_its_energy_in_a_field():
    atoms, base = springs()
    atoms.calc = FieldCalculator(base, moving_tensors, [0.1, -0.1, 0.2])
    heat(atoms)
    dynamics = NoseHooverChainNVT(atoms, 0.5 * units.fs, temperature_K=300, tdamp=100 * units.fs)
    energies = [dynamics.get_conserved_energy()]
    dynamics.attach(lambda: energies.append(dynamics.get_conserved_energy()))
    dynamics.run(300)
    assert np.ptp(energies) / len(atoms) < 1e-4
    assert abs(atoms.calc.work) / len(atoms) > 1e-3


@pytest.mark.parametrize("pbc", [True, (True, False, True)])
def test_atoms_wrapped_into_the_cell_do_no_work(pbc):
    works = []
    for wrap in (False, True):
        atoms = rock_salt(cubic=False)
        atoms.pbc = pbc
        atoms.calc = FieldCalculator(LennardJones(), moving_tensors_of_cell, [0.1, -0.1, 0.2])
        for _ in random_walk(atoms, 50):
            atoms.positions += 0.05
            if wrap:
                atoms.wrap()
            atoms.get_forces()
        works.append(atoms.calc.work)
    assert abs(works[0]) > 1e-3
    assert works[1] == pytest.approx(works[0], abs=1e-12)


@pytest.mark.parametrize("change", ["cell", "charge", "species"])
def test_another_crystal_begins_a_new_path(change):
    atoms, calculator = rock_salt(), FieldCalculator(LennardJones(), moving_tensors, [0.1, 0, 0], every=100)
    for _ in random_walk(atoms, 3):
        calculator.get_forces(atoms)
    assert calculator.work != 0
    if change == "cell":
        atoms.set_cell(atoms.cell * 1.01, scale_atoms=True)
    elif change == "charge":
        atoms.info["charge"] = 1
    else:
        atoms = atoms[:4]
    found = calculator.get_property("born_effective_charges", atoms)
    assert calculator.work == 0
    np.testing.assert_array_equal(found, moving_tensors(atoms))
