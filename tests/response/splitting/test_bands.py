"""LO-TO splitting through phonopy, against the analytic splitting of crystals of springs and charges."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st
from phonopy.physical_units import get_calculator_physical_units
from scipy.spatial.transform import Rotation

from equivar_jax.errors import InputError
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of
from equivar_jax.response.splitting.bands import band_path, band_structure, describe_gamma, plot_bands
from equivar_jax.response.splitting.born_example import dipole_force_constants, sodium_chloride
from equivar_jax.response.splitting.born_gamma import mode_splitting, strongest_polar
from equivar_jax.response.units import TERAHERTZ, VACUUM_PERMITTIVITY

ALONG, ACROSS = 3.0, 0.4  # eV/Å²
METHODS = pytest.mark.parametrize("method", ["gonze", "wang"])


def springs_and_charges(atoms, tensors, epsilon, repeat=2, method="gonze", dipoles=False):
    """phonopy's object of a primitive cell with springs, and with dipoles in its force constants or not."""
    phonon = phonon_of(atoms, (repeat,) * 3, "P")
    factor = get_calculator_physical_units(None).nac_factor
    phonon.nac_params = {
        "born": tensors,
        "dielectric": np.asarray(epsilon),
        "factor": factor,
        "method": method,
    }
    constants = nearest_neighbour_springs(atoms_of(phonon.supercell), ALONG, ACROSS)
    phonon.force_constants = constants + dipole_force_constants(phonon) if dipoles else constants
    return phonon


def opposite(tensor):
    """Tensors of a cation and an anion."""
    return np.array([1.0, -1.0])[:, None, None] * np.asarray(tensor)


def tetragonal():
    """Caesium chloride, stretched along z: eight bonds along (1, 1, 1.2), and two atoms."""
    return Atoms("CsCl", cell=[4.0, 4.0, 4.8], scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5)], pbc=True)


def low_symmetry():
    """Three atoms in a triclinic cell; tensors far from symmetric that add up to zero."""
    rng = np.random.default_rng(3)
    cell = [[3.6, 0.2, 0.0], [0.4, 4.1, 0.3], [-0.3, 0.5, 4.6]]
    places = [(0.02, 0.05, 0.1), (0.5, 0.45, 0.4), (0.2, 0.6, 0.8)]
    atoms = Atoms("MgOTi", cell=cell, scaled_positions=places, pbc=True)
    tensors = np.array([2.0, -3.0, 1.0])[:, None, None] * np.eye(3) + rng.normal(scale=0.6, size=(3, 3, 3))
    epsilon = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])
    return atoms, tensors - tensors.mean(axis=0), epsilon


def reduced_mass(phonon):
    return 1 / np.sum(1 / phonon.primitive.masses)


def analytic(atoms, masses, tensors, epsilon, direction):
    """Frequencies at Gamma in THz by the formula, from force constants of the cell itself."""
    size = 3 * len(atoms)
    charges = np.einsum("a,iab->ib", direction, tensors).ravel()
    field = np.outer(charges, charges) / (direction @ epsilon @ direction)
    springs = nearest_neighbour_springs(atoms, ALONG, ACROSS).transpose(0, 2, 1, 3).reshape(size, size)
    roots = np.repeat(np.sqrt(masses), 3)
    matrix = (springs + field / (VACUUM_PERMITTIVITY * atoms.get_volume())) / np.outer(roots, roots)
    squares = np.linalg.eigvalsh(matrix)
    return np.sort(np.sign(squares) * np.sqrt(np.abs(squares))) * TERAHERTZ


@METHODS
@pytest.mark.parametrize("direction", [(1, 0, 0), (1, 1, 1), (0.3, -0.5, 0.8)])
def test_splitting_of_rock_salt(method, direction):
    """omega_TO² = (2 along + 4 across) / mu, omega_LO² = omega_TO² + Z² e² / (eps0 eps_inf V mu): derived."""
    charge, epsilon = 1.95, 3.0
    phonon = springs_and_charges(
        rock_salt("MgO", cubic=False), opposite(charge * np.eye(3)), epsilon * np.eye(3), method=method
    )
    mass = reduced_mass(phonon)
    to = (2 * ALONG + 4 * ACROSS) / mass
    lo = to + charge**2 / (VACUUM_PERMITTIVITY * epsilon * phonon.primitive.volume * mass)
    polar = strongest_polar(mode_splitting(phonon, direction))
    assert polar.transverse == pytest.approx(np.sqrt(to) * TERAHERTZ, rel=1e-6)
    assert polar.longitudinal == pytest.approx(np.sqrt(lo) * TERAHERTZ, rel=1e-6)


def test_lyddane_sachs_teller_of_the_example():
    """omega_LO²/omega_TO² = eps_static/eps_inf (Lyddane, Sachs and Teller, Phys. Rev. 59, 673 (1941)).

    The static constant, 5.90, is that of Ashcroft and Mermin's table, eps_inf that of phonopy's example.
    """
    polar = strongest_polar(mode_splitting(sodium_chloride(), (0, 0, 1)))
    assert (polar.longitudinal / polar.transverse) ** 2 == pytest.approx(5.90 / 2.43533967, rel=1e-6)


@METHODS
@pytest.mark.parametrize("axis", [0, 2])
def test_splitting_of_a_uniaxial_crystal_along_its_axes(method, axis):
    """Eight bonds n with stiffness sum_n (along n_a² + across (1 - n_a²)) along axis a: derived."""
    charges, epsilon = np.array([1.2, 1.2, 1.9]), np.array([2.5, 2.5, 3.4])
    phonon = springs_and_charges(
        tetragonal(), opposite(np.diag(charges)), np.diag(epsilon), repeat=3, method=method
    )
    bond = np.array([1, 1, 1.2]) / np.sqrt(1 + 1 + 1.44)
    stiffness = 8 * (ALONG * bond**2 + ACROSS * (1 - bond**2))
    field = charges**2 / (VACUUM_PERMITTIVITY * epsilon * phonon.primitive.volume)
    expected = stiffness.copy()
    expected[axis] += field[axis]
    expected = np.sort(np.sqrt(expected / reduced_mass(phonon))) * TERAHERTZ
    found = mode_splitting(phonon, np.eye(3)[axis])
    np.testing.assert_allclose(found.frequencies[3:], expected, rtol=1e-6)
    assert strongest_polar(found).longitudinal == pytest.approx(
        np.sqrt((stiffness + field)[axis] / reduced_mass(phonon)) * TERAHERTZ, rel=1e-6
    )


@METHODS
def test_the_field_index_meets_the_wave_vector_in_a_crystal_without_symmetry(method):
    atoms, tensors, epsilon = low_symmetry()
    phonon = springs_and_charges(atoms, tensors, epsilon, repeat=1, method=method)
    direction = np.array([0.3, -0.5, 0.8])
    masses = phonon.primitive.masses
    found = mode_splitting(phonon, direction).frequencies[3:]
    np.testing.assert_allclose(
        found, analytic(atoms, masses, tensors, epsilon, direction)[3:], rtol=1e-6, atol=1e-5
    )
    transposed = analytic(atoms, masses, tensors.transpose(0, 2, 1), epsilon, direction)[3:]
    assert np.abs(found - transposed).max() > 0.1


def test_polarity_is_that_of_the_oscillating_dipole():
    """In rock salt the polar modes have Z/sqrt(mu), one of them along the wave vector: derived."""
    phonon = springs_and_charges(rock_salt(cubic=False), opposite(1.95 * np.eye(3)), 3.0 * np.eye(3))
    found = mode_splitting(phonon, np.array([1.0, 2.0, 0.0]))
    strength = 1.95 / np.sqrt(reduced_mass(phonon))
    np.testing.assert_allclose(found.longitudinal[-1], strength, rtol=1e-9)
    np.testing.assert_allclose(found.transverse[3:5], strength, rtol=1e-9)
    assert max(found.longitudinal[:5].max(), found.transverse[5], found.transverse[:3].max()) < 1e-7


@examples(10)
@given(seed=st.integers(0, 2**32 - 1))
def test_modes_turn_with_the_crystal(seed):
    rotation = Rotation.random(rng=seed).as_matrix()
    atoms, tensors, epsilon = low_symmetry()
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    direction = np.array([0.3, -0.5, 0.8])
    one = mode_splitting(springs_and_charges(atoms, tensors, epsilon, repeat=1), direction)
    other = mode_splitting(
        springs_and_charges(
            turned, rotation @ tensors @ rotation.T, rotation @ epsilon @ rotation.T, repeat=1
        ),
        rotation @ direction,
    )
    np.testing.assert_allclose(one.frequencies[3:], other.frequencies[3:], atol=1e-6)
    np.testing.assert_allclose(one.longitudinal[3:], other.longitudinal[3:], atol=1e-6)


def test_force_constants_with_dipoles_give_the_same_bands_from_any_supercell():
    """Springs do not reach beyond the supercell, and phonopy knows the dipoles: interpolation is exact."""
    wave_vectors = [[0.13, 0.22, 0.31], [0.25, 0.0, 0.25], [0.02, 0.0, 0.02]]
    crystal = rock_salt(cubic=False), opposite(1.95 * np.eye(3)), 3.0 * np.eye(3)

    def bands(repeat, dipoles):
        phonon = springs_and_charges(*crystal, repeat=repeat, dipoles=dipoles)
        return phonon.run_qpoints(wave_vectors).frequencies

    np.testing.assert_allclose(bands(2, True), bands(3, True), atol=1e-6)
    # Without them phonopy takes off what is not there, and the supercell shows.
    assert np.abs(bands(2, False) - bands(3, False)).max() > 0.1


def test_segments_meet_gamma_in_their_own_direction():
    phonon = springs_and_charges(
        tetragonal(), opposite(np.diag([1.2, 1.2, 1.9])), np.diag([2.5, 2.5, 3.4]), repeat=3
    )
    path = band_path(phonon)
    bands = band_structure(phonon, path)
    reciprocal = np.linalg.inv(phonon.primitive.cell)
    highest = set()
    for points, ends, frequencies in zip(path.points, path.ends, bands.frequencies, strict=True):
        for end, here, there in ((ends[0], 0, -1), (ends[1], -1, 0)):
            if end == "G":
                np.testing.assert_array_equal(points[here], 0.0)
                expected = mode_splitting(phonon, reciprocal @ points[there]).frequencies
                np.testing.assert_allclose(frequencies[here][3:], expected[3:], atol=1e-9)
                highest.add(round(float(expected[-1]), 3))
    assert len(highest) > 1
    bare = band_structure(phonon, path, splitting=False)
    assert all(f[0][-1] < max(highest) - 0.1 for f in bare.frequencies)


def test_special_points_are_those_of_the_crystal_whatever_its_lattice_vectors():
    atoms = bulk("GaN", "wurtzite", a=3.19, c=5.19, u=0.377)
    other = atoms.copy()
    other.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ atoms.cell.array)  # 60 degrees, not 120
    lengths = []
    for crystal in (atoms, other):
        path = band_path(phonon_of(crystal, primitive="P"))
        reciprocal = np.linalg.inv(crystal.cell.array)
        points = {
            ends[1]: reciprocal @ points[-1] for points, ends in zip(path.points, path.ends, strict=True)
        }
        lengths.append({name: np.linalg.norm(point) for name, point in points.items()})
    assert lengths[0] == pytest.approx(lengths[1], abs=1e-6)
    assert lengths[0]["K"] == pytest.approx(2 / 3 / 3.19, abs=1e-6)


def test_the_picture_and_its_numbers(tmp_path):
    phonon = sodium_chloride()
    plot_bands(phonon, tmp_path / "bands.png")
    assert (tmp_path / "bands.png").stat().st_size > 20_000
    lines = describe_gamma(phonon)
    assert [line.partition(":")[0] for line in lines] == ["Gamma to X", "Gamma to K", "Gamma to L"]
    assert all("LO 7.541 THz (251.5 1/cm), TO 4.845 THz (161.6 1/cm)" in line for line in lines)


def test_a_crystal_without_charges_has_no_polar_mode(tmp_path):
    phonon = springs_and_charges(rock_salt(cubic=False), np.zeros((2, 3, 3)), np.eye(3))
    assert strongest_polar(mode_splitting(phonon, np.array([1.0, 0.0, 0.0]))) is None
    assert describe_gamma(phonon)[0] == "Gamma to X: no polar mode"
    plot_bands(phonon, tmp_path / "bands.pdf")
    assert (tmp_path / "bands.pdf").is_file()


@pytest.mark.parametrize("spoil", ["force_constants", "nac_params", "direction"])
def test_what_is_missing_is_said(spoil):
    phonon, direction = sodium_chloride(), np.array([1.0, 0.0, 0.0])
    if spoil == "direction":
        direction = np.zeros(3)
    elif spoil == "nac_params":
        phonon.nac_params = None
    else:
        phonon = phonon_of(rock_salt())
    with pytest.raises(InputError, match={"nac_params": "NAC"}.get(spoil, spoil.replace("_", " "))):
        mode_splitting(phonon, direction)
