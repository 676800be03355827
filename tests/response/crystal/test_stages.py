"""Relaxation, supercells and displacements of crystals of springs, whose answers are known."""

import numpy as np
import pytest
from ase.build import bulk
from ase.io import read
from helpers.counting import CountingSprings, NoStress, ferroelectric
from helpers.random_crystals import random_crystal
from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

from equivar_jax.errors import InputError
from equivar_jax.response.crystal import Settings, displaced, make_forces, relax, supercell_matrix
from equivar_jax.response.crystal.example import LATTICE_CONSTANT, PairSprings, stretched_magnesia
from equivar_jax.response.crystal.forces import compute_force_constants
from equivar_jax.response.crystal.modes import PER_THZ, unstable_modes
from equivar_jax.response.crystal.relaxation import space_group, symmetrised
from equivar_jax.response.crystal.stages import displaced_along, open_run
from equivar_jax.response.crystal.supercell import shortest_vector
from equivar_jax.response.phonons.gamma import force_constants_by_differences
from equivar_jax.response.phonons.gamma_input import force_constants_at_gamma
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of
from equivar_jax.response.polarisation.ferroelectric import barium_titanate
from equivar_jax.response.units import INVERSE_CM

SMALL = Settings(shortest=5.0)


@pytest.fixture
def primitive():
    return rock_salt("MgO", LATTICE_CONSTANT, cubic=False)


def test_springs_have_the_forces_and_the_stress_of_their_energy():
    atoms = rock_salt("MgO", 4.3)
    atoms.rattle(0.05, seed=1)
    atoms.calc = PairSprings(quartic=1.0)
    numeric = np.empty((len(atoms), 3))
    for i in range(len(atoms)):
        for a in range(3):
            energies = []
            for step in (1e-4, -1e-4):
                moved = atoms.copy()
                moved.calc = PairSprings(quartic=1.0)
                moved.positions[i, a] += step
                energies.append(moved.get_potential_energy())
            numeric[i, a] = (energies[1] - energies[0]) / 2e-4
    assert np.abs(atoms.get_forces() - numeric).max() < 1e-6
    strained = []
    for step in (1e-5, -1e-5):
        moved = atoms.copy()
        moved.calc = PairSprings(quartic=1.0)
        moved.set_cell(atoms.cell.array @ (np.eye(3) + step * np.diag([1, 0, 0])), scale_atoms=True)
        strained.append(moved.get_potential_energy())
    assert atoms.get_stress()[0] == pytest.approx(
        (strained[0] - strained[1]) / 2e-5 / atoms.get_volume(), rel=1e-4
    )


def test_relaxation_finds_the_lattice_constant_and_says_how_far_it_went():
    found = relax(stretched_magnesia(), PairSprings())
    assert found.converged
    assert found.lengths == pytest.approx((LATTICE_CONSTANT,) * 3, abs=1e-4)
    assert found.volume_change == pytest.approx(100 * (1.01**-3 - 1), abs=1e-2)
    assert space_group(found.atoms) == ("Fm-3m", 225)
    assert "volume -2.9" in found.describe()


def test_a_fixed_cell_stays():
    found = relax(stretched_magnesia(), PairSprings(), cell=False)
    assert found.lengths == pytest.approx((1.01 * LATTICE_CONSTANT,) * 3, abs=1e-12)


def test_rounded_positions_get_the_symmetry_they_mean():
    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.38)
    atoms.set_scaled_positions(atoms.get_scaled_positions().round(4))
    found = symmetrised(atoms)
    assert phonon_of(found).symmetry.dataset.number == 186
    assert np.abs(found.positions - atoms.positions).max() < 1e-3
    assert found.cell.lengths() == pytest.approx(atoms.cell.lengths(), abs=1e-6)


def test_without_a_stress_the_cell_cannot_be_relaxed():
    with pytest.raises(InputError, match=r"no stress .*--fixed-cell"):
        relax(stretched_magnesia(), NoStress())
    assert relax(stretched_magnesia(), NoStress(), cell=False).converged


def test_an_interrupted_relaxation_goes_on(tmp_path):
    atoms = stretched_magnesia()
    atoms.rattle(0.02, seed=1)  # no symmetry is left, and many steps are needed
    file = tmp_path / "relaxation.traj"
    with pytest.raises(KeyboardInterrupt):
        relax(atoms, CountingSprings(stop=8), trajectory=file)
    done = read(file, index=":")
    found = relax(atoms, PairSprings(), trajectory=file)
    steps = read(file, index=":")
    assert len(done) > 3
    assert steps[len(done)].positions == pytest.approx(done[-1].positions, abs=1e-9)  # not the beginning
    assert found.converged
    assert found.lengths == pytest.approx((LATTICE_CONSTANT,) * 3, abs=1e-2)


@pytest.mark.parametrize(
    "atoms",
    [
        bulk("MgO", "rocksalt", a=4.21),
        bulk("Fe", "bcc", a=2.87),
        bulk("ZnO", "wurtzite", a=3.25, c=5.2),
        bulk("Sn", "bct", a=5.83, c=3.18),
        random_crystal(3)[0],
    ],
    ids=["fcc", "bcc", "hexagonal", "bct", "triclinic"],
)
@pytest.mark.parametrize("shortest", [5.0, 9.0, 14.0])
def test_no_lattice_vector_of_a_supercell_is_too_short_and_no_symmetry_is_lost(atoms, shortest):
    atoms = atoms_of(phonon_of(atoms).primitive)
    matrix = supercell_matrix(atoms, shortest)
    cell = matrix @ atoms.cell.array
    assert shortest_vector(cell) >= shortest * (1 - 1e-5)
    smaller = supercell_matrix(atoms, 0.5 * shortest)
    assert abs(np.linalg.det(smaller)) < abs(np.linalg.det(matrix))
    phonon = phonon_of(atoms, matrix.T, "P")
    assert np.allclose(phonon.supercell.cell, cell)
    # The point group of the supercell, pure translations apart, is that of the crystal.
    rotations = {tuple(rotation.ravel()) for rotation in phonon.symmetry.symmetry_operations["rotations"]}
    ours = phonon_of(atoms, primitive="P").symmetry.symmetry_operations["rotations"]
    assert len(rotations) == len({tuple(rotation.ravel()) for rotation in ours})


def test_a_perovskite_gets_a_supercell_that_holds_the_zone_boundary():
    atoms = barium_titanate()
    assert np.array_equal(supercell_matrix(atoms, 7.5), 2 * np.eye(3))


def test_wave_vectors_are_those_of_the_supercell_one_of_each_star(tmp_path):
    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.38)
    matrix = supercell_matrix(atoms, 6.0)
    phonon = phonon_of(atoms, matrix.T, "P")
    size = len(phonon.supercell)
    rng = np.random.default_rng(0)
    constants = rng.normal(size=(size, size, 3, 3))
    phonon.force_constants = constants + constants.transpose(1, 0, 3, 2)
    phonon.symmetrize_force_constants_by_space_group(show_drift=False)
    found = unstable_modes(phonon)
    cells = round(abs(np.linalg.det(matrix)))
    stars = {tuple(mode.point): mode.star for mode in found}
    assert len(stars) > 3
    assert sum(stars.values()) <= cells
    for point in map(np.array, stars):
        assert np.abs(matrix @ point - np.rint(matrix @ point)).max() < 1e-9
    # Every soft mode at every wave vector of the supercell is counted once, but for the translations.
    everywhere = phonon.run_qpoints(get_commensurate_points(matrix.T)).frequencies * PER_THZ
    counted = sum(mode.degeneracy * mode.star for mode in found)
    assert counted == np.sum(everywhere < -3) - np.sum(
        phonon.run_qpoints([[0, 0, 0]]).frequencies * PER_THZ < -3
    ) + sum(mode.degeneracy for mode in found if mode.is_at_gamma)


def test_force_constants_are_those_of_differences_in_the_cell(primitive, tmp_path):
    phonon = displaced(primitive, supercell_matrix(primitive, 5.0), 0.01)
    compute_force_constants(phonon, PairSprings(), tmp_path)
    found = force_constants_at_gamma(phonon)
    primitive.calc = PairSprings()
    expected = force_constants_by_differences(primitive)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


def test_displacements_are_computed_once_across_an_interruption(primitive, tmp_path):
    atoms = primitive
    atoms.positions[1] += [0.05, 0.02, 0.01]  # several displacements, since no symmetry is left
    matrix = supercell_matrix(atoms, 5.0)
    interrupted, rest = CountingSprings(stop=5), CountingSprings()
    phonon = displaced(atoms, matrix, 0.01)
    with pytest.raises(KeyboardInterrupt):
        compute_force_constants(phonon, interrupted, tmp_path)
    compute_force_constants(phonon, rest, tmp_path)
    assert rest.count == len(phonon.displacements) - 4
    again = CountingSprings()
    compute_force_constants(displaced(atoms, matrix, 0.01), again, tmp_path)
    assert again.count == 0


def test_a_folder_of_another_crystal_is_refused(primitive, tmp_path):
    phonon = displaced(primitive, supercell_matrix(primitive, 5.0), 0.01)
    compute_force_constants(phonon, PairSprings(), tmp_path)
    with pytest.raises(
        InputError, match=r"forces of 16 atoms|forces of 8 atoms|forces of \d+ atoms, expected"
    ):
        compute_force_constants(
            displaced(primitive, supercell_matrix(primitive, 8.0), 0.01), PairSprings(), tmp_path
        )


def test_a_folder_of_another_run_is_refused(primitive, tmp_path):
    open_run(tmp_path / "run", primitive, "a:b", SMALL)
    open_run(tmp_path / "run", primitive.copy(), "a:b", SMALL)
    with pytest.raises(InputError, match="another potential"):
        open_run(tmp_path / "run", primitive, "a:c", SMALL)
    primitive.positions[0, 0] += 0.01
    with pytest.raises(InputError, match="another structure"):
        open_run(tmp_path / "run", primitive, "a:b", SMALL)


def test_a_crystal_displaced_along_a_mode_is_pulled_along_it(tmp_path):
    """At every kind of wave vector: forces are `-M omega² u`, which tells phases and masses."""
    atoms = bulk("ZnO", "wurtzite", a=3.25, c=5.2, u=0.38)
    matrix = supercell_matrix(atoms, 6.0)
    phonon = phonon_of(atoms, matrix.T, "P")
    supercell = atoms_of(phonon.supercell)
    phonon.force_constants = nearest_neighbour_springs(supercell, -1.0, -0.3)
    found = unstable_modes(phonon)
    assert {mode.is_at_gamma for mode in found} == {True, False}
    for mode in found[:12]:
        moved = displaced_along(phonon, mode)
        rest = atoms_of(phonon.primitive).repeat(
            [round(n) for n in moved.cell.lengths() / atoms.cell.lengths()]
        )
        constants = nearest_neighbour_springs(rest, -1.0, -0.3)
        displacement = moved.positions - rest.positions
        forces = -np.einsum("ijab,jb->ia", constants, displacement)
        square = -((mode.wavenumber / INVERSE_CM) ** 2)
        expected = -square * rest.get_masses()[:, None] * displacement
        assert np.abs(forces - expected).max() < 1e-3 * np.abs(expected).max()
        assert np.linalg.norm(displacement, axis=1).max() == pytest.approx(0.15)


def test_an_unstable_crystal_is_followed_downhill(tmp_path):
    """Ions of these springs leave their places along x, then along y and z, each time into a lower state."""
    calculator = ferroelectric()
    atoms = rock_salt("MgO", LATTICE_CONSTANT)
    held = make_forces(atoms, calculator, SMALL, tmp_path / "held")
    (polar,) = [mode for mode in unstable_modes(held.phonon) if mode.is_at_gamma]
    assert polar.degeneracy == 3
    found = make_forces(atoms, calculator, SMALL, tmp_path / "followed", follow=True)
    first = found.followed[0]
    assert (first["from"], first["to"], first["where"]) == ("Fm-3m", "I4mm", "Γ")
    assert all(step["energy_gain_meV_per_atom"] > 0.1 for step in found.followed)
    energies = []
    for forces in (held, found):
        cell = atoms_of(forces.phonon.primitive)
        cell.calc = calculator
        energies.append(cell.get_potential_energy() / len(cell))
    gained = sum(step["energy_gain_meV_per_atom"] for step in found.followed)
    assert 1000 * (energies[0] - energies[1]) == pytest.approx(gained)
    # One bond in each direction is in its double well: -k²/4q for each of the two bonds along x.
    assert first["energy_gain_meV_per_atom"] == pytest.approx(1000 * 0.1**2 / (4 * 2.0), rel=0.1)
