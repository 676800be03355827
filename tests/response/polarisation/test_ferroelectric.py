"""Model BaTiO3, against its formulas."""

import itertools

import numpy as np
import pytest
from ase.calculators.fd import calculate_numerical_forces

from equivar_jax.errors import InputError
from equivar_jax.response.polarisation.ferroelectric import SoftModeCrystal, barium_titanate, switching_path
from equivar_jax.response.units import MICROCOULOMB_PER_CM2

REPEATS = [(1, 1, 1), (2, 1, 3)]


def rattled(repeat, scale=0.08, seed=0):
    reference = barium_titanate(repeat)
    crystal = SoftModeCrystal(reference)
    atoms = reference.copy()
    atoms.rattle(scale, seed=seed)
    atoms.calc = crystal
    return atoms, crystal


def test_the_reference_is_cubic_barium_titanate():
    atoms = barium_titanate((2, 1, 1))
    assert atoms.get_chemical_formula() == "Ba2O6Ti2"
    assert atoms.cell.lengths().tolist() == [8.0, 4.0, 4.0]


@pytest.mark.parametrize("repeat", REPEATS)
def test_forces_are_the_gradient_of_the_energy(repeat):
    atoms, _ = rattled(repeat)
    numerical = calculate_numerical_forces(atoms, eps=1e-5)
    assert np.abs(atoms.get_forces() - numerical).max() < 1e-6
    assert np.abs(atoms.get_forces()).max() > 0.5


@pytest.mark.parametrize("repeat", REPEATS)
def test_translation_changes_nothing(repeat):
    atoms, _ = rattled(repeat)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    atoms.translate([0.7, -1.3, 11.0])
    assert atoms.get_potential_energy() == pytest.approx(energy, abs=1e-10)
    assert np.abs(atoms.get_forces() - forces).max() < 1e-10
    assert np.abs(forces.sum(axis=0)).max() < 1e-10


def cubic_group():
    for signs in itertools.product((1, -1), repeat=3):
        for order in itertools.permutations(range(3)):
            yield np.eye(3)[list(order)] * np.array(signs)[:, None]


def test_the_cubic_group_leaves_the_energy_and_turns_the_forces():
    atoms, crystal = rattled((2, 2, 2))
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    moved = atoms.positions - crystal.rest
    length = atoms.cell.lengths()[0]
    seen = 0
    for operation in cubic_group():
        turned = crystal.rest @ operation.T
        offsets = turned[:, None] - crystal.rest[None]
        offsets -= length * np.round(offsets / length)
        image = np.argmin(np.linalg.norm(offsets, axis=2), axis=1)
        other = atoms.copy()
        other.calc = crystal
        other.positions[image] = crystal.rest[image] + moved @ operation.T
        assert other.get_potential_energy() == pytest.approx(energy, abs=1e-10)
        assert np.abs(other.get_forces()[image] - forces @ operation.T).max() < 1e-10
        seen += 1
    assert seen == 48


@pytest.mark.parametrize("repeat", REPEATS)
def test_a_homogeneous_displacement_has_landaus_energy(repeat):
    """E/cell = W (x^4 - 2 x²), and no force but along the mode."""
    reference = barium_titanate(repeat)
    crystal = SoftModeCrystal(reference, well_depth=0.03, anisotropy=0.2)
    cells = len(reference) // 5
    for x, atoms in zip(np.linspace(-1, 1, 11), switching_path(crystal, reference, 11), strict=True):
        atoms.calc = crystal
        assert atoms.get_potential_energy() / cells == pytest.approx(0.03 * (x**4 - 2 * x**2), abs=1e-12)
        assert np.allclose(crystal.modes(atoms), [0, 0, x * crystal.amplitude], atol=1e-12)
        # In the stationary field nothing moves.
        field = crystal.landau_field(np.array([x]) * crystal.spontaneous_polarisation)[0]
        assert np.abs(atoms.get_forces() + field * crystal.charges[:, 2]).max() < 1e-12


@pytest.mark.parametrize("repeat", REPEATS)
def test_the_polar_crystal_is_stable(repeat):
    """Second derivatives at P_s are positive but for the three translations; along the mode 8 W / s0²."""
    reference = barium_titanate(repeat)
    crystal = SoftModeCrystal(reference)
    atoms = switching_path(crystal, reference, 3)[-1]
    atoms.calc = crystal
    step, columns = 1e-5, []
    for k in range(3 * len(atoms)):
        forces = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.calc = crystal
            moved.positions.flat[k] += sign * step
            forces.append(moved.get_forces().ravel())
        columns.append((forces[1] - forces[0]) / (2 * step))
    eigenvalues = np.linalg.eigvalsh(np.array(columns + np.transpose(columns)) / 2)
    assert np.abs(eigenvalues[:3]).max() < 1e-5
    assert eigenvalues[3] > 1.0
    curvature = 8 * crystal.well_depth / crystal.amplitude**2
    assert np.abs(eigenvalues - curvature).min() < 1e-4


def test_spontaneous_polarisation_is_that_of_barium_titanate():
    """26 µC/cm² at room temperature (Merz, Phys. Rev. 91, 513 (1953)), from Z and displacements."""
    reference = barium_titanate((1, 2, 1))
    crystal = SoftModeCrystal(reference)
    polar = switching_path(crystal, reference, 3)[-1]
    moved = polar.positions - reference.positions
    polarisation = np.einsum("iab,ib->a", crystal.charges, moved) / reference.get_volume()
    assert polarisation * MICROCOULOMB_PER_CM2 == pytest.approx([0, 0, 26.0], abs=1e-9)
    assert np.abs(crystal.charges.sum(axis=0)).max() < 1e-12


def test_the_coercive_field_is_the_turning_point_of_landaus_curve():
    crystal = SoftModeCrystal(barium_titanate())
    x = np.linspace(-1, 1, 200001) * crystal.spontaneous_polarisation
    assert crystal.landau_field(x).max() == pytest.approx(crystal.coercive_field(), rel=1e-8)
    assert crystal.coercive_field(crystal.charges / 4) == pytest.approx(4 * crystal.coercive_field())


def test_what_cannot_be_a_ferroelectric_is_refused():
    with pytest.raises(InputError, match="anisotropy above twice"):
        SoftModeCrystal(barium_titanate(), anisotropy=0.03)
    crystal = SoftModeCrystal(barium_titanate())
    with pytest.raises(InputError, match="do not act on the soft mode"):
        crystal.coercive_field(np.zeros((5, 3, 3)))
