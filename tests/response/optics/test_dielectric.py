"""The dielectric tensor of crystals of springs, whose answer is known."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.examples import examples
from helpers.random_crystals import matrix_of, random_crystal
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.errors import InputError
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.optics.permittivity import (
    active_lines,
    ionic_contributions,
    longitudinal_modes,
    matching_wavenumbers,
    permittivity,
    reflectivity,
    static_permittivity,
)
from equivar_jax.response.phonons.gamma import gamma_modes, mode_effective_charges
from equivar_jax.response.phonons.gamma_input import example_phonons
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.units import INVERSE_CM, VACUUM_PERMITTIVITY

SEEDS = st.integers(0, 10_000)
EPSILON_INF = np.array([[3.0, 0.1, 0.0], [0.1, 4.0, 0.2], [0.0, 0.2, 5.0]])


@pytest.fixture
def magnesia():
    """Rock salt of two atoms: modes, charges, volume, and omega² mu."""
    crystal = rock_salt(cubic=False)
    modes = gamma_modes(crystal, nearest_neighbour_springs(crystal, 2.4, 0.22))
    return modes, np.array([1.96, -1.96])[:, None, None] * np.eye(3), crystal.get_volume(), 2 * 2.4 + 4 * 0.22


def sample(seed):
    """A crystal without symmetry."""
    atoms, constants, charges = random_crystal(seed)
    return gamma_modes(atoms, constants), charges, atoms.get_volume(), constants


@pytest.mark.parametrize("cubic", [True, False])
def test_rock_salt(cubic):
    """eps_0 - eps_inf = n Z² e² / (epsilon_0 V mu omega²), n formula units in V."""
    crystal = rock_salt(cubic=cubic)
    modes = gamma_modes(crystal, nearest_neighbour_springs(crystal, 2.4, 0.22))
    charges = np.where(crystal.symbols == "O", -1.96, 1.96)[:, None, None] * np.eye(3)
    volume = crystal.get_volume()
    expected = len(crystal) / 2 * 1.96**2 / (VACUUM_PERMITTIVITY * volume * 5.68)
    found = static_permittivity(modes, charges, volume, 3.0 * np.eye(3))
    assert np.abs(found - (3.0 + expected) * np.eye(3)).max() < 1e-8


@examples(20)
@given(SEEDS)
def test_sum_over_modes_is_the_pseudo_inverse_of_the_force_constants(seed):
    """Z Phi^+ Z^T / (V epsilon_0), in which no mass occurs."""
    modes, charges, volume, constants = sample(seed)
    Z = charges.transpose(1, 0, 2).reshape(3, -1)
    expected = Z @ np.linalg.pinv(matrix_of(constants), rcond=1e-10) @ Z.T / (volume * VACUUM_PERMITTIVITY)
    found = ionic_contributions(modes, charges, volume).sum(axis=0)
    assert np.abs(found - expected).max() < 1e-8 * np.abs(expected).max()
    assert np.linalg.eigvalsh(found).min() > 0


def test_longitudinal_frequency_of_rock_salt(magnesia):
    """omega_LO² = omega_TO² + Z² e² / (epsilon_0 eps_inf V mu), once; the two transverse modes stay."""
    modes, charges, volume, _ = magnesia
    direction = np.array([1.0, 2.0, -0.5])
    found = longitudinal_modes(modes, charges, volume, 3.0 * np.eye(3), direction)
    mu = 1 / np.sum(1 / modes.masses)
    expected = modes.squares[0] + 1.96**2 / (VACUUM_PERMITTIVITY * 3.0 * volume * mu)
    assert found.squares == pytest.approx([modes.squares[0], modes.squares[0], expected], rel=1e-10)
    lines = active_lines(found, charges, direction)
    assert lines == pytest.approx([np.sqrt(expected) * INVERSE_CM], rel=1e-10)


@examples(20)
@given(SEEDS)
def test_lyddane_sachs_teller(seed):
    """q.eps_0.q / q.eps_inf.q = product (omega_LO / omega_TO)² along any direction (Cochran and Cowley)."""
    modes, charges, volume, _ = sample(seed)
    q = np.random.default_rng(seed).normal(size=3)
    static = static_permittivity(modes, charges, volume, EPSILON_INF)
    along = longitudinal_modes(modes, charges, volume, EPSILON_INF, q)
    ratio = np.prod(along.squares / modes.squares)
    assert (q @ static @ q) / (q @ EPSILON_INF @ q) == pytest.approx(ratio, rel=1e-9)


@examples(10)
@given(SEEDS)
def test_longitudinal_lines_are_the_zeros_of_the_dielectric_function(seed):
    modes, charges, volume, _ = sample(seed)
    q = np.array([0.3, -0.5, 0.8])
    lines = active_lines(longitudinal_modes(modes, charges, volume, EPSILON_INF, q), charges, q)
    function = permittivity(modes, charges, volume, EPSILON_INF, lines, linewidth=0.0)
    scale = np.abs(np.einsum("a,mab,b->m", q, ionic_contributions(modes, charges, volume), q)).sum()
    slope = np.abs(permittivity(modes, charges, volume, EPSILON_INF, lines * 1.001, linewidth=0.0)).max()
    assert np.abs(np.einsum("a,fab,b->f", q, function, q)).max() < 1e-6 * (scale + slope)


def test_a_line_is_followed_across_modes_that_it_does_not_mix_with(magnesia):
    """With less screening LO along z is above, not among, the other modes, which stay where they are."""
    modes, charges, volume, _ = magnesia
    axis = np.array([0.0, 0.0, 1.0])
    strong, weak = (longitudinal_modes(modes, charges, volume, eps * np.eye(3), axis) for eps in (3.0, 30.0))
    # Another order, as if the strong one had crossed the others.
    order = [2, 0, 1]
    turned = dataclasses.replace(
        strong, squares=strong.squares[order], eigenvectors=strong.eigenvectors[order]
    )
    np.testing.assert_allclose(matching_wavenumbers(turned, weak), weak.wavenumbers[order], rtol=1e-10)
    np.testing.assert_allclose(matching_wavenumbers(strong, strong), strong.wavenumbers, rtol=1e-12)


def test_longitudinal_modes_stay_orthonormal(magnesia):
    modes, charges, volume, _ = magnesia
    found = longitudinal_modes(modes, charges, volume, 3.0 * np.eye(3), np.array([0.0, 0.0, 2.0]))
    vectors = found.eigenvectors.reshape(3, -1)
    assert np.abs(vectors @ vectors.T - np.eye(3)).max() < 1e-12
    assert np.abs(mode_effective_charges(found, charges)[:2, 2]).max() < 1e-12


def test_dielectric_function(magnesia):
    """Static at frequency zero, eps_inf far above, absorbing at the line as far as its width allows."""
    modes, charges, volume, _ = magnesia
    line = modes.wavenumbers[0]
    found = permittivity(modes, charges, volume, 3.0 * np.eye(3), np.array([0.0, line, 1e6]), linewidth=8.0)
    static = static_permittivity(modes, charges, volume, 3.0 * np.eye(3))
    assert np.abs(found[0] - static).max() < 1e-12
    peak = (static[0, 0] - 3.0) * line / 8.0
    assert found[1, 0, 0] == pytest.approx(3.0 + 1j * peak, rel=1e-9)
    assert np.abs(found[2] - 3.0 * np.eye(3)).max() < 1e-5


def test_reflectivity():
    """1/9 of glass-like eps = 4; all light where eps is negative; none of vacuum."""
    assert reflectivity(np.array([4.0, -3.0, 1.0]) + 0j) == pytest.approx([1 / 9, 1.0, 0.0])


def test_unstable_crystal_is_refused(magnesia):
    _, charges, volume, _ = magnesia
    crystal = rock_salt(cubic=False)
    unstable = gamma_modes(crystal, -nearest_neighbour_springs(crystal, 2.4, 0.22))
    with pytest.raises(InputError, match=r"softest mode has 400\.\di cm"):
        static_permittivity(unstable, charges, volume, np.eye(3))


# The command


def test_example(tmp_path, capsys):
    picture = tmp_path / "dielectric.png"
    response(["dielectric", "--example", "-o", str(picture)])
    report = json.loads((tmp_path / "dielectric.json").read_text())
    phonons = example_phonons()
    Z = phonons.charges.transpose(1, 0, 2).reshape(3, -1)
    expected = Z @ np.linalg.pinv(matrix_of(phonons.force_constants), rcond=1e-10) @ Z.T
    expected /= phonons.atoms.get_volume() * VACUUM_PERMITTIVITY
    assert np.array(report["epsilon_ionic"]) == pytest.approx(expected, abs=1e-8)
    assert np.array(report["epsilon_0"]) == pytest.approx(expected + 3.0 * np.eye(3), abs=1e-8)
    assert len(report["modes"]) == 21
    assert picture.stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert "LO along z: " in printed
    assert f"written: {tmp_path / 'dielectric.json'}" in printed


def test_given_electronic_tensor(tmp_path):
    for words, expected in (
        (["2"], 2 * np.eye(3)),
        (["2", "3", "4"], np.diag([2.0, 3.0, 4.0])),
        (["3", "4", "5", "0.2", "0", "0.1"], EPSILON_INF),
        (list("210131014"), np.array([[2.0, 1, 0], [1, 3, 1], [0, 1, 4]])),
    ):
        response(["dielectric", "--example", "-o", str(tmp_path / "a.png"), "--epsilon-inf", *words])
        assert np.array_equal(json.loads((tmp_path / "a.json").read_text())["epsilon_inf"], expected)


def test_refused(complaint, tmp_path):
    def refuse(*words):
        return complaint(response, "dielectric", "-o", tmp_path / "a.png", *words)

    assert "name phonopy_params.yaml, or try --example" in refuse()
    assert "no such file" in refuse(tmp_path / "missing.yaml")
    assert "give 1, 3 (diagonal), 6" in refuse("--example", "--epsilon-inf", "1", "2")
    assert "has an eigenvalue -2, below 1" in refuse("--example", "--epsilon-inf", "-2")
    assert "--linewidth 0.0" in refuse("--example", "--linewidth", "0")
    assert "no picture format" in complaint(response, "dielectric", "--example", "-o", tmp_path / "a.docx")
