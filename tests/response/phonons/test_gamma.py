"""Phonons at Gamma against what is known of springs, and through phonopy's files."""

import numpy as np
import pytest
from ase import units
from ase.constraints import FixAtoms
from helpers.examples import examples
from helpers.random_crystals import blocks, diatomic, matrix_of, random_crystal
from hypothesis import given
from hypothesis import strategies as st
from phonopy import Phonopy
from phonopy.file_IO import write_FORCE_CONSTANTS, write_force_constants_to_hdf5, write_FORCE_SETS
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms
from scipy.spatial.transform import Rotation

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.gamma import (
    KILOMETRE_PER_MOL,
    force_constants_by_differences,
    gamma_modes,
    infrared_intensities,
    mode_effective_charges,
    oscillator_strengths,
)
from equivar_jax.response.phonons.gamma_input import read_phonons
from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs, rock_salt
from equivar_jax.response.units import INVERSE_CM

SEEDS = st.integers(0, 10_000)


def reduced_mass(atoms):
    return 1 / np.sum(1 / atoms.get_masses()[:2])


def test_rock_salt():
    """omega² = (2 along + 4 across) / mu, and |Z_m|² = Z² / mu for each of three modes."""
    crystal = rock_salt(cubic=False)
    modes = gamma_modes(crystal, nearest_neighbour_springs(crystal, 8.0, 1.5))
    charges = np.array([1.96, -1.96])[:, None, None] * np.eye(3)
    assert modes.squares == pytest.approx([22.0 / reduced_mass(crystal)] * 3, rel=1e-12)
    assert modes.wavenumbers == pytest.approx(modes.frequencies * INVERSE_CM)
    dipoles = mode_effective_charges(modes, charges)
    assert np.sum(dipoles**2, axis=1) == pytest.approx([1.96**2 / reduced_mass(crystal)] * 3, rel=1e-12)
    assert np.abs(modes.rigid_wavenumbers).max() < 1e-3


def test_supercell_has_the_same_lines_with_four_times_the_intensity():
    primitive, cube = rock_salt(cubic=False), rock_salt(cubic=True)
    found = []
    for crystal in (primitive, cube):
        charges = np.where(crystal.symbols == "O", -2.0, 2.0)[:, None, None] * np.eye(3)
        modes = gamma_modes(crystal, nearest_neighbour_springs(crystal, 8.0, 1.5))
        intensities = infrared_intensities(modes, charges)
        active = intensities > 1e-9
        assert np.ptp(modes.wavenumbers[active]) < 1e-9
        found.append((modes.wavenumbers[active].mean(), intensities.sum()))
    assert found[1][0] == pytest.approx(found[0][0], rel=1e-12)
    assert found[1][1] == pytest.approx(4 * found[0][1], rel=1e-12)


@examples(10)
@given(SEEDS)
def test_eigenvectors_diagonalise_and_are_orthogonal_to_translations(seed):
    atoms, constants, _ = random_crystal(seed)
    modes = gamma_modes(atoms, constants)
    vectors = modes.eigenvectors.reshape(len(modes.squares), -1)
    roots = np.sqrt(np.repeat(atoms.get_masses(), 3))
    dynamical = matrix_of(constants) / np.outer(roots, roots)
    assert np.abs(vectors @ vectors.T - np.eye(6)).max() < 1e-12
    assert np.abs(vectors @ dynamical @ vectors.T - np.diag(modes.squares)).max() < 1e-10
    moved = np.einsum("mib,i->mb", modes.eigenvectors, np.sqrt(atoms.get_masses()))
    assert np.abs(moved).max() < 1e-11


@examples(10)
@given(SEEDS)
def test_strengths_sum_to_the_charges_over_the_masses(seed):
    """The f-sum rule, sum_m S_m = sum_i Z_i Z_i^T / M_i, where translations have no dipole."""
    atoms, constants, charges = random_crystal(seed)
    strengths = oscillator_strengths(gamma_modes(atoms, constants), charges)
    expected = np.einsum("iab,icb,i->ac", charges, charges, 1 / atoms.get_masses())
    assert np.abs(strengths.sum(axis=0) - expected).max() < 1e-12


@examples(10)
@given(SEEDS)
def test_rotated_crystal(seed):
    """Lines stay, strengths turn with both indices. A transposed charge would fail."""
    atoms, constants, charges = random_crystal(seed)
    R = Rotation.random(random_state=seed).as_matrix()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ R.T, scale_atoms=True)
    modes = gamma_modes(atoms, constants)
    turned_modes = gamma_modes(turned, np.einsum("ac,bd,ijcd->ijab", R, R, constants))
    turned_charges = np.einsum("ac,bd,icd->iab", R, R, charges)
    assert turned_modes.squares == pytest.approx(modes.squares, rel=1e-10)
    expected = np.einsum("ac,bd,mcd->mab", R, R, oscillator_strengths(modes, charges))
    assert np.abs(oscillator_strengths(turned_modes, turned_charges) - expected).max() < 1e-9


def test_order_of_atoms_does_not_matter():
    atoms, constants, charges = random_crystal(1)
    order = [2, 0, 1]
    modes = gamma_modes(atoms, constants)
    permuted = gamma_modes(atoms[order], constants[np.ix_(order, order)])
    assert permuted.squares == pytest.approx(modes.squares, rel=1e-10)
    expected = infrared_intensities(modes, charges)
    assert infrared_intensities(permuted, charges[order]) == pytest.approx(expected, rel=1e-9)


def test_acoustic_modes_are_told_by_their_motion_not_by_their_frequency():
    """Force constants with a broken sum rule: translations lie above the softest vibration."""
    crystal = rock_salt(cubic=False)
    soft = nearest_neighbour_springs(crystal, 0.05, 0.01)
    on_site = np.zeros_like(soft)
    on_site[[0, 1], [0, 1]] = np.diag([0.5] * 3)
    modes = gamma_modes(crystal, soft + on_site)
    exact = gamma_modes(crystal, soft)
    masses = crystal.get_masses()
    # The optical pattern moves against each other; the on-site spring adds to both ions.
    pattern = np.array([1 / masses[0], 1 / masses[1]])
    added = 0.5 * np.sum(pattern**2) / np.sum(masses * pattern**2)
    assert modes.squares == pytest.approx(exact.squares + added, rel=1e-10)
    assert modes.rigid == pytest.approx([1.0 / masses.sum()] * 3, rel=1e-10)


def test_molecule():
    """One vibration, omega² = k / mu, of intensity N_A q² / (12 epsilon_0 c² mu); no rotation is left."""
    atoms, constants, charges = diatomic(spring=30.0, charge=0.5)
    modes = gamma_modes(atoms, constants)
    assert modes.squares == pytest.approx([30.0 / reduced_mass(atoms)], rel=1e-12)
    expected = KILOMETRE_PER_MOL * 0.25 / reduced_mass(atoms)
    assert infrared_intensities(modes, charges) == pytest.approx([expected], rel=1e-12)
    assert len(modes.rigid) == 5


def test_kilometres_per_mole():
    """1 (D/Å)²/u is 42.256 km/mol (Kendrick and Burnett, J. Comput. Chem. 37, 1491 (2016))."""
    assert KILOMETRE_PER_MOL * units.Debye**2 == pytest.approx(42.256, rel=1e-5)


def test_force_constants_by_differences():
    atoms, constants, charges = random_crystal(2)
    atoms.calc = HarmonicCrystal(atoms, constants, charges)
    before = atoms.positions.copy()
    assert np.abs(force_constants_by_differences(atoms) - constants).max() < 1e-10
    assert np.array_equal(atoms.positions, before)


def test_constraints_take_no_forces_away():
    """As those of a POSCAR with selective dynamics, for which ASE gives fixed atoms the force zero."""
    atoms, constants, charges = random_crystal(2)
    atoms.calc = HarmonicCrystal(atoms, constants, charges)
    atoms.set_constraint(FixAtoms([0]))
    assert np.abs(force_constants_by_differences(atoms) - constants).max() < 1e-10
    assert len(atoms.constraints) == 1


def test_differences_need_a_calculator():
    with pytest.raises(InputError, match="no calculator for its forces"):
        force_constants_by_differences(rock_salt())


def test_refused():
    atoms, constants, _ = random_crystal(3)
    with pytest.raises(InputError, match=r"force constants of shape \(2, 2, 3, 3\), expected"):
        gamma_modes(atoms, constants[:2, :2])
    with pytest.raises(InputError, match="expected finite numbers"):
        gamma_modes(atoms, np.full_like(constants, np.nan))
    with pytest.raises(InputError, match="one atom in the cell has no vibrations"):
        gamma_modes(atoms[:1], constants[:1, :1])


def test_unstable_modes_are_named():
    crystal = rock_salt(cubic=False)
    unstable = gamma_modes(crystal, -nearest_neighbour_springs(crystal, 2.4, 0.22))
    assert unstable.wavenumbers == pytest.approx([-400.0] * 3, abs=1.0)
    with pytest.raises(InputError, match=r"MgO: its softest mode has 400\.\di cm\^-1.*relax the structure"):
        unstable.require_stable("MgO")
    free = gamma_modes(crystal, np.zeros((2, 2, 3, 3)))
    with pytest.raises(InputError, match=r"softest mode has 0\.00 cm\^-1"):
        free.require_stable("MgO")


# phonopy's files


@pytest.fixture
def phonon():
    """Three atoms without symmetry in a supercell that couples neighbouring cells, with NAC parameters."""
    atoms, constants, charges = random_crystal(4)
    cell = PhonopyAtoms(
        symbols=list(atoms.symbols), cell=atoms.cell.array, scaled_positions=atoms.get_scaled_positions()
    )
    phonon = Phonopy(cell, np.diag([2, 1, 1]), primitive_matrix=np.eye(3))
    first = np.asarray(phonon.primitive.p2s_map)
    image = np.setdiff1d(np.arange(6), first)
    split = np.zeros((6, 6, 3, 3))
    # A quarter of each coupling goes to the other image.
    for own, other in ((first, image), (image, first)):
        split[np.ix_(own, own)] = 0.75 * constants
        split[np.ix_(own, other)] = 0.25 * constants
    phonon.force_constants = split
    epsilon = np.array([[3.0, 0.1, 0.0], [0.1, 4.0, 0.2], [0.0, 0.2, 5.0]])
    phonon.nac_params = {"born": charges, "dielectric": epsilon, "factor": 14.399652}
    return phonon, atoms, constants, charges, epsilon


def test_phonopy_file(phonon, tmp_path):
    """What was put in comes out, in the order of the indices, and with the frequencies of phonopy."""
    phonon, atoms, constants, charges, epsilon = phonon
    path = tmp_path / "phonopy_params.yaml"
    phonon.save(path, settings={"force_constants": True})
    found = read_phonons(path)
    assert np.abs(found.force_constants - constants).max() < 1e-9
    assert np.abs(found.charges - charges).max() < 1e-9
    assert np.abs(found.atoms.info["epsilon_inf"] - epsilon).max() < 1e-12
    assert np.abs(found.atoms.positions - atoms.positions).max() < 1e-9
    phonon.nac_params = None
    theirs = phonon.run_qpoints([[0, 0, 0]]).frequencies[0][3:]
    ours = gamma_modes(found.atoms, found.force_constants).wavenumbers
    assert ours == pytest.approx(theirs * 33.356410, rel=1e-5)


def test_charges_of_a_function_come_before_those_of_the_file(phonon, tmp_path):
    phonon, _, _, charges, _ = phonon
    phonon.save(tmp_path / "phonopy_params.yaml", settings={"force_constants": True})
    found = read_phonons(tmp_path / "phonopy_params.yaml", charges=lambda _: 2 * charges)
    assert np.abs(found.charges - 2 * charges).max() < 1e-12


def test_force_constants_in_a_file_of_their_own(phonon, tmp_path):
    phonon, _, constants, _, _ = phonon
    path = tmp_path / "phonopy.yaml"
    phonon.save(path, settings={"force_constants": False})
    with pytest.raises(InputError, match=r"no force constants in it, and none of FORCE_CONSTANTS, .* beside"):
        read_phonons(path)
    write_FORCE_CONSTANTS(phonon.force_constants, filename=tmp_path / "FORCE_CONSTANTS")
    assert np.abs(read_phonons(path).force_constants - constants).max() < 1e-9
    (tmp_path / "FORCE_CONSTANTS").rename(tmp_path / "elsewhere")
    found = read_phonons(path, tmp_path / "elsewhere")
    assert np.abs(found.force_constants - constants).max() < 1e-9


def test_a_named_file_comes_before_the_yaml_file_and_force_constants_before_forces(phonon, tmp_path):
    phonon, _, constants, _, _ = phonon
    path, doubled = tmp_path / "phonopy_params.yaml", tmp_path / "doubled.hdf5"
    phonon.save(path, settings={"force_constants": True})
    write_force_constants_to_hdf5(2 * phonon.force_constants, filename=doubled)
    assert np.abs(read_phonons(path, doubled).force_constants - 2 * constants).max() < 1e-9
    with pytest.raises(InputError, match="elsewhere: no such file"):
        read_phonons(path, tmp_path / "elsewhere")
    phonon.save(path, settings={"force_constants": False})
    (tmp_path / "FORCE_SETS").write_text("nonsense")
    with pytest.raises(InputError, match=r"FORCE_SETS: phonopy cannot read it as the forces on the"):
        read_phonons(path)
    doubled.rename(tmp_path / "force_constants.hdf5")
    assert np.abs(read_phonons(path).force_constants - 2 * constants).max() < 1e-9


def test_forces_of_displaced_supercells(phonon, tmp_path):
    phonon, _, constants, _, _ = phonon
    supercell, springs = phonon.supercell, np.array(phonon.force_constants)
    phonon.generate_displacements(distance=0.01, is_plusminus=True)
    phonon.forces = [
        -np.einsum("ijab,jb->ia", springs, displaced.positions - supercell.positions)
        for displaced in phonon.supercells_with_displacements
    ]
    write_FORCE_SETS(phonon.dataset, filename=tmp_path / "FORCE_SETS")
    path = tmp_path / "phonopy.yaml"
    phonon.save(path, settings={"force_constants": False, "force_sets": False, "displacements": False})
    assert np.abs(read_phonons(path).force_constants - constants).max() < 1e-7


def test_units_of_other_programs(phonon, tmp_path):
    """Quantum ESPRESSO's Ry/Bohr² and Bohr: 1 Ry/Bohr² is 48.587 eV/Å² (13.6057 eV, 0.529177 Å)."""
    phonon, atoms, constants, _, _ = phonon
    bohr = get_calculator_physical_units("qe").distance_to_A
    cell = PhonopyAtoms(
        symbols=list(atoms.symbols),
        cell=atoms.cell.array / bohr,
        scaled_positions=atoms.get_scaled_positions(),
    )
    other = Phonopy(cell, np.diag([2, 1, 1]), primitive_matrix=np.eye(3), calculator="qe")
    other.force_constants = phonon.force_constants / 48.5869
    other.nac_params = phonon.nac_params
    other.save(tmp_path / "phonopy_params.yaml", settings={"force_constants": True})
    found = read_phonons(tmp_path / "phonopy_params.yaml")
    assert found.force_constants == pytest.approx(constants, rel=1e-4, abs=1e-4)
    assert found.atoms.get_volume() == pytest.approx(atoms.get_volume(), rel=1e-9)


def test_unusable_phonopy_files(phonon, tmp_path):
    phonon = phonon[0]
    with pytest.raises(InputError, match="no such file"):
        read_phonons(tmp_path / "missing.yaml")
    (tmp_path / "text.yaml").write_text("just words")
    with pytest.raises(InputError, match="no phonopy YAML file"):
        read_phonons(tmp_path / "text.yaml")
    phonon.nac_params = None
    phonon.save(tmp_path / "phonopy_params.yaml", settings={"force_constants": True})
    with pytest.raises(InputError, match="no BORN beside it; name a model"):
        read_phonons(tmp_path / "phonopy_params.yaml")
    (tmp_path / "broken").write_text("6 6\n1 1\n0 0\n")
    with pytest.raises(InputError, match=r"broken: phonopy cannot read it as the force constants"):
        read_phonons(tmp_path / "phonopy_params.yaml", tmp_path / "broken")


def test_blocks_and_matrix_are_inverse():
    matrix = np.arange(81.0).reshape(9, 9)
    assert np.array_equal(matrix_of(blocks(matrix, 3)), matrix)
