"""Spectra of motion whose spectrum is known."""

import numpy as np
import pytest
from ase import units
from helpers.examples import examples
from helpers.random_crystals import TEMPERATURE, diatomic, integral, random_crystal, rates_of, thermal
from hypothesis import assume, given
from hypothesis import strategies as st

from equivar_jax.errors import InputError
from equivar_jax.response.optics.permittivity import ionic_contributions, permittivity
from equivar_jax.response.optics.spectra import (
    DipoleRates,
    absorption,
    autocorrelation,
    ionic_susceptibility,
    line_absorption,
    molar_absorption,
    power_spectrum,
    quantum_correction,
)
from equivar_jax.response.phonons.gamma import (
    gamma_modes,
    infrared_intensities,
    oscillator_strengths,
)
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.units import INVERSE_CM, VACUUM_PERMITTIVITY

# Correlations and windows


def test_autocorrelation_is_the_mean_over_pairs():
    signal = np.random.default_rng(0).normal(size=(23, 3))
    found = autocorrelation(signal, 23)
    for lag in range(23):
        pairs = np.einsum("ta,tb->ab", signal[: 23 - lag], signal[lag:]) / (23 - lag)
        assert np.abs(found[lag] - pairs).max() < 1e-13


@pytest.mark.parametrize("window", ["gaussian", "hann"])
def test_a_sharp_line_gets_the_width_that_was_asked_for(window):
    line, times = 500.0 / INVERSE_CM, np.arange(40_000) * 2.0 * units.fs
    rates = DipoleRates(np.cos(line * times)[:, None] * np.eye(3)[0], 2.0 * units.fs)
    spectrum = power_spectrum(rates, 12.0, window)
    height = spectrum.values[:, 0, 0] / spectrum.values[:, 0, 0].max()
    assert spectrum.wavenumbers[np.argmax(height)] == pytest.approx(500.0, abs=1.2)
    above = np.flatnonzero(height > 0.5)
    sides = [
        np.interp(0.5, height[[above[0] - 1, above[0]]], spectrum.wavenumbers[[above[0] - 1, above[0]]]),
        np.interp(0.5, height[[above[-1] + 1, above[-1]]], spectrum.wavenumbers[[above[-1] + 1, above[-1]]]),
    ]
    assert sides[1] - sides[0] == pytest.approx(12.0, rel=0.01)


@examples(10)
@given(st.integers(0, 10_000), st.sampled_from(["gaussian", "hann"]))
def test_sum_rule_of_any_motion(seed, window):
    """int_0^inf d omega omega chi'' = pi <J_a J_b> / (2 k T V epsilon_0), exactly."""
    values = np.random.default_rng(seed).normal(size=(3000, 3)) @ np.array(
        [[1, 0.5, 0], [0, 2, 0], [0, 0, 3]]
    )
    spectrum = power_spectrum(DipoleRates(values, 2.0 * units.fs), 40.0, window)
    omega = spectrum.wavenumbers / INVERSE_CM
    # chi'' leaves out the frequency zero, which the integrand has.
    integrand = omega[:, None, None] * ionic_susceptibility(spectrum, 100.0, 350.0)
    prefactor = 2 * units.kB * 350.0 * 100.0 * VACUUM_PERMITTIVITY
    integrand[0] = spectrum.values[0] / prefactor
    expected = np.pi * values.T @ values / len(values) / prefactor
    assert np.abs(np.trapezoid(integrand, omega, axis=0) - expected).max() < 1e-10 * np.abs(expected).max()


# Harmonic crystals


@pytest.mark.parametrize("window", ["gaussian", "hann"])
def test_rock_salt(window):
    """A line at omega² = (2 along + 4 across) / mu, of area pi Z² / (2 V epsilon_0 c mu)."""
    crystal = rock_salt(cubic=False)
    modes = gamma_modes(crystal, nearest_neighbour_springs(crystal, 2.4, 0.22))
    charges = np.array([1.96, -1.96])[:, None, None] * np.eye(3)
    _, velocities = thermal(modes, 40_000, 1.0)
    spectrum = power_spectrum(rates_of(charges, velocities, 1.0), 10.0, window)
    found = absorption(spectrum, crystal.get_volume(), TEMPERATURE)
    mu = 1 / np.sum(1 / crystal.get_masses())
    line = np.sqrt(5.68 / mu)
    assert spectrum.wavenumbers[np.argmax(found)] == pytest.approx(line * INVERSE_CM, rel=0.002)
    light = 299792458.0 * units.m / units.second
    strength = np.pi * 1.96**2 / (2 * mu * crystal.get_volume() * VACUUM_PERMITTIVITY * light)
    expected = strength * 1e-2 * units.m * INVERSE_CM  # over wavenumbers, and in 1/cm
    assert integral(spectrum.wavenumbers, found) == pytest.approx(expected, rel=0.005)


@examples(8)
@given(st.integers(0, 10_000))
def test_crystal_without_symmetry(seed):
    """Every line in its place, with its strength: no point is off by 2 % of the highest."""
    atoms, constants, charges = random_crystal(seed)
    modes = gamma_modes(atoms, constants)
    # Modes that the trajectory cannot tell apart beat, and would have to be averaged over their phases.
    assume(np.diff(modes.wavenumbers).min() > 3.0)
    _, velocities = thermal(modes, 100_000, 1.0, seed)
    spectrum = power_spectrum(rates_of(charges, velocities, 1.0), 15.0)
    volume = atoms.get_volume()
    found = absorption(spectrum, volume, TEMPERATURE)
    strengths = oscillator_strengths(modes, charges)
    expected = line_absorption(spectrum.wavenumbers, modes.wavenumbers, strengths, volume, 15.0)
    assert np.abs(found - expected).max() < 0.02 * expected.max()
    ratio = integral(spectrum.wavenumbers, found) / integral(spectrum.wavenumbers, expected)
    assert ratio == pytest.approx(1.0, abs=0.02)


def test_static_tensor_from_the_fluctuations():
    """(2 / pi) int_0^inf d omega chi'' / omega is the ionic dielectric tensor (Kramers and Kronig)."""
    atoms, constants, charges = random_crystal(5)
    modes = gamma_modes(atoms, constants)
    _, velocities = thermal(modes, 200_000, 1.0)
    spectrum = power_spectrum(rates_of(charges, velocities, 1.0), 10.0)
    susceptibility = ionic_susceptibility(spectrum, atoms.get_volume(), TEMPERATURE)
    omega = spectrum.wavenumbers / INVERSE_CM
    # Below the lines the tail of the window is divided by omega², which means nothing.
    seen = spectrum.wavenumbers > 0.5 * modes.wavenumbers[0]
    found = 2 / np.pi * np.trapezoid(susceptibility[seen] / omega[seen, None, None], omega[seen], axis=0)
    expected = ionic_contributions(modes, charges, atoms.get_volume()).sum(axis=0)
    assert np.abs(found - expected).max() < 0.02 * np.abs(expected).max()


def test_lines_are_the_narrow_limit_of_the_dielectric_function():
    """alpha n = omega Im eps / c has the same integral, whatever the shape of the line."""
    atoms, constants, charges = random_crystal(6)
    modes, volume = gamma_modes(atoms, constants), atoms.get_volume()
    wavenumbers = np.arange(0.0, 60_000.0, 0.25)
    function = permittivity(modes, charges, volume, np.eye(3), wavenumbers, linewidth=4.0)
    # 2 pi omega Im eps / c, both in 1/cm
    lorentzian = 2 * np.pi * wavenumbers * np.einsum("faa->f", function.imag) / 3
    strengths = oscillator_strengths(modes, charges)
    gaussian = line_absorption(wavenumbers[:16_000], modes.wavenumbers, strengths, volume, 4.0)
    assert integral(wavenumbers, lorentzian) == pytest.approx(
        integral(wavenumbers[:16_000], gaussian), rel=0.002
    )


def test_molecule():
    """The integral of the molar absorption is N_A q² / (12 epsilon_0 c² mu), as of the normal mode."""
    atoms, constants, charges = diatomic(spring=30.0, charge=0.5)
    modes = gamma_modes(atoms, constants)
    _, velocities = thermal(modes, 40_000, 0.5)
    spectrum = power_spectrum(rates_of(charges, velocities, 0.5), 10.0)
    found = integral(spectrum.wavenumbers, molar_absorption(spectrum, TEMPERATURE))
    assert found == pytest.approx(infrared_intensities(modes, charges).sum(), rel=0.005)


def test_quantum_correction():
    """x / (1 - exp(-x)): 1 for slow motion; its mean over both signs of x is (x/2) coth(x/2), of <Q²>."""
    x = 1000.0 * 1.4387768775 / TEMPERATURE  # hc/k is 1.4387768775 cm K (CODATA)
    factor = quantum_correction(np.array([0.0, 1e-6, 1000.0]), TEMPERATURE)
    assert factor[:2] == pytest.approx([1.0, 1.0])
    assert factor[2] * (1 + np.exp(-x)) / 2 == pytest.approx(x / 2 / np.tanh(x / 2), rel=1e-6)
    values = np.random.default_rng(0).normal(size=(3000, 3))
    spectrum = power_spectrum(DipoleRates(values, 2.0 * units.fs), 40.0)
    corrected, plain = (absorption(spectrum, 50.0, TEMPERATURE, how) for how in ("harmonic", "none"))
    assert corrected / plain == pytest.approx(quantum_correction(spectrum.wavenumbers, TEMPERATURE))


def test_too_fine_a_resolution_is_refused():
    rates = DipoleRates(np.zeros((100, 3)), 1.0 * units.fs)
    with pytest.raises(InputError, match=r"needs a trajectory of \d+ fs, this one has 100 fs; .* 501 cm"):
        power_spectrum(rates, 10.0)
    with pytest.raises(InputError, match="give a positive one"):
        power_spectrum(rates, 0.0)
