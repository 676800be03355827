"""Nothing that is said of degenerate modes depends on which vectors the eigensolver chose."""

import dataclasses

import numpy as np
import pytest
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ortho_group, unitary_group

from equivar_jax.response.optics import infrared
from equivar_jax.response.optics.permittivity import active_lines, ionic_contributions, longitudinal_modes
from equivar_jax.response.phonons.gamma import (
    gamma_modes,
    infrared_intensities,
    mode_effective_charges,
    oscillator_strengths,
    principal_modes,
)
from equivar_jax.response.phonons.gamma_input import example_phonons
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.phonons.levels import find_levels, fixed_basis, principal_dipoles
from equivar_jax.response.units import VACUUM_PERMITTIVITY

SEEDS = st.integers(0, 10_000)


@pytest.fixture(scope="module", params=["tetragonal", "cubic"])
def crystal(request):
    """Atoms, modes and charges with degenerate levels: pairs and silent modes among them, or triples."""
    phonons = example_phonons()
    if request.param == "tetragonal":
        return phonons.atoms, gamma_modes(phonons.atoms, phonons.force_constants), phonons.charges
    atoms = rock_salt("MgO")
    return atoms, gamma_modes(atoms, nearest_neighbour_springs(atoms, 2.4, 0.22)), phonons.charges


def turned(modes, seed):
    """The same modes as another eigensolver might give them: every level turned, signs as well."""
    rng = np.random.default_rng(seed)
    vectors = modes.eigenvectors.copy()
    for level in find_levels(modes.squares):
        size = level.stop - level.start
        mix = ortho_group.rvs(size, random_state=rng) if size > 1 else rng.choice([[[1.0]], [[-1.0]]])
        vectors[level] = np.tensordot(mix, vectors[level], 1)
    return dataclasses.replace(modes, eigenvectors=vectors)


def noise(charges, size, seed):
    """Random tensors of that size which sum to zero."""
    tensors = size * np.random.default_rng(seed).normal(size=charges.shape)
    return tensors - tensors.mean(axis=0)


def test_levels_of_the_crystals(crystal):
    atoms, modes, _ = crystal
    sizes = [level.stop - level.start for level in find_levels(modes.squares)]
    assert sum(sizes) == 3 * len(atoms) - 3
    assert max(sizes) >= 2
    assert find_levels(np.zeros(0)) == [slice(0, 0)]


@examples(20)
@given(seed=SEEDS)
def test_what_is_said_of_single_modes(crystal, seed):
    atoms, modes, charges = crystal
    other = turned(modes, seed)
    assert np.abs(other.eigenvectors - modes.eigenvectors).max() > 0.1
    for number in (mode_effective_charges, infrared_intensities, oscillator_strengths):
        assert np.abs(number(other, charges) - number(modes, charges)).max() < 1e-9
    volume, epsilon = atoms.get_volume(), 3.0 * np.eye(3)
    one, two = (ionic_contributions(each, charges, volume) for each in (modes, other))
    assert np.abs(one - two).max() < 1e-9
    one, two = (principal_modes(each, charges).eigenvectors for each in (modes, other))
    assert np.abs(one - two).max() < 1e-7
    for direction in (np.eye(3)[0], np.array([1.0, 2.0, -0.5])):
        assert active_lines(other, charges, direction) == pytest.approx(
            active_lines(modes, charges, direction), rel=1e-9
        )
        with_field = [
            longitudinal_modes(each, charges, volume, epsilon, direction) for each in (modes, other)
        ]
        lines = [active_lines(each, charges, direction) for each in with_field]
        assert lines[0] == pytest.approx(lines[1], rel=1e-9)
        assert len(lines[0]) == len(active_lines(modes, charges, direction))


def test_turned_modes_are_modes(crystal):
    """Orthonormal, with the dipoles that are printed, and the strength of each level as before."""
    _, modes, charges = crystal
    found = principal_modes(turned(modes, 0), charges)
    vectors = found.eigenvectors.reshape(len(found.squares), -1)
    assert np.abs(vectors @ vectors.T - np.eye(len(vectors))).max() < 1e-9
    dipoles = np.einsum("iab,mib->ma", charges, found.eigenvectors / np.sqrt(found.masses)[:, None])
    assert np.abs(dipoles - mode_effective_charges(modes, charges)).max() < 1e-6
    old = np.einsum("iab,mib->ma", charges, modes.eigenvectors / np.sqrt(modes.masses)[:, None])
    for level in find_levels(modes.squares):
        strength = dipoles[level].T @ dipoles[level]
        assert np.abs(strength - old[level].T @ old[level]).max() < 1e-6
        assert (
            np.abs(dipoles[level] @ dipoles[level].T - np.diag(np.sum(dipoles[level] ** 2, axis=1))).max()
            < 1e-6
        )


@pytest.mark.parametrize("size", [1e-2, 1e-3, 1e-4, 1e-5])
def test_weak_modes_of_charges_that_break_the_symmetry(crystal, size):
    """Their modes stay orthonormal, so that none looks like a strong one: no LO line is made up."""
    atoms, modes, charges = crystal
    broken = charges + noise(charges, size, 1)
    found = principal_modes(modes, broken)
    vectors = found.eigenvectors.reshape(len(found.squares), -1)
    assert np.abs(vectors @ vectors.T - np.eye(len(vectors))).max() < 1e-9
    dipoles = np.einsum("iab,mib->ma", broken, modes.eigenvectors / np.sqrt(modes.masses)[:, None])
    direction, volume = np.array([1.0, 2.0, -0.5]), atoms.get_volume()
    factor = volume * VACUUM_PERMITTIVITY * 3.0 * (direction @ direction)
    along = dipoles @ direction
    squares, mixing = np.linalg.eigh(np.diag(modes.squares) + np.outer(along, along) / factor)
    with_field = longitudinal_modes(modes, broken, volume, 3.0 * np.eye(3), direction)
    assert with_field.squares == pytest.approx(squares, rel=1e-9)
    strengths = np.sum(mode_effective_charges(with_field, broken) ** 2, axis=1)
    expected = np.sum((mixing.T @ dipoles) ** 2, axis=1)
    for level in find_levels(squares):
        assert strengths[level].sum() == pytest.approx(expected[level].sum(), abs=1e-11 * expected.sum())


@pytest.mark.parametrize("seed", range(3))
def test_rounded_charges(crystal, seed):
    """Charges in single precision have the symmetry of the crystal up to rounding, which may not decide."""
    _, modes, charges = crystal
    found = mode_effective_charges(modes, charges + noise(charges, 1e-5, seed))
    assert np.abs(found - mode_effective_charges(modes, charges)).max() < 1e-4


@examples(20)
@given(seed=SEEDS)
def test_complex_vectors_too(seed):
    """A Hermitian eigensolver may mix a level by any unitary matrix, as phonopy's does."""
    rng = np.random.default_rng(seed)
    squares, dipoles = np.array([1.0, 1.0, 1.0, 2.0]), rng.normal(size=(4, 3))
    mixed = dipoles.astype(complex)
    mixed[:3] = unitary_group.rvs(3, random_state=rng) @ mixed[:3]
    mixed[3] *= np.exp(1j * rng.uniform(0, 2 * np.pi))
    assert np.abs(principal_dipoles(squares, mixed) - principal_dipoles(squares, dipoles)).max() < 1e-9


@examples(20)
@given(seed=SEEDS)
def test_a_fixed_basis_is_one(seed):
    rng = np.random.default_rng(seed)
    rank = int(rng.integers(0, 7))
    rows = ortho_group.rvs(6, random_state=rng)[:rank]
    basis = fixed_basis(rows.T @ rows, rank)
    assert np.abs(basis.T @ basis - rows.T @ rows).max() < 1e-9


@pytest.mark.parametrize("seed", range(3))
def test_the_example_moves_in_the_same_way(monkeypatch, seed):
    monkeypatch.setattr(infrared, "_EXAMPLE_FRAMES", 3)
    phonons = example_phonons()
    expected = infrared.example_trajectory(phonons)
    monkeypatch.setattr(infrared, "gamma_modes", lambda *words: turned(gamma_modes(*words), seed))
    for one, two in zip(infrared.example_trajectory(phonons), expected, strict=True):
        assert np.abs(one.positions - two.positions).max() < 1e-7
        assert np.abs(one.get_velocities() - two.get_velocities()).max() < 1e-7
