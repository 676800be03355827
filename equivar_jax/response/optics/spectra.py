"""Power spectrum of the rate of change of a dipole, and the infrared absorption by linear response."""

import dataclasses
import math

import numpy as np
import scipy.fft
from ase import units
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.response.options import Correction, Window
from equivar_jax.response.phonons.gamma import SPEED_OF_LIGHT
from equivar_jax.response.units import INVERSE_CM, VACUUM_PERMITTIVITY

PER_CM = 1e-2 * units.m
"""Converts an inverse length from 1/Å to 1/cm."""

_MOLAR = units.mol / (1e3 * units.m) / PER_CM**2
"""Turns an absorption coefficient in cm⁻¹ of one molecule in 1 Å³ into km/mol per cm⁻¹."""

# In standard deviations: where a Gaussian is taken for zero, and its full width at half maximum.
_CUT, _FULL_WIDTH = 4.0, 2 * math.sqrt(2 * math.log(2))
# Smallest number of frequencies on the width of a line.
_POINTS_ACROSS_LINE = 10


@dataclasses.dataclass(frozen=True)
class DipoleRates:
    """The rate of change of the dipole of a cell at equally spaced times."""

    values: Float[np.ndarray, "steps 3"]
    """`J(t) = sum_i Z_i(t) v_i(t)` in e Å per ASE's unit of time, Å sqrt(u/eV)."""
    timestep: float
    """Time between values in ASE's unit of time."""
    averaged: bool = False
    """Whether each value is the mean over its time step (from positions), not the rate at an instant."""


@dataclasses.dataclass(frozen=True)
class PowerSpectrum:
    """Power spectrum of the rate of change of the dipole, with a lag window w.

    `C[a, b](omega) = int dt exp(i omega t) w(t) <J_a(0) J_b(t)>`, with the integral over both signs of t, and
    with the part of the autocorrelation that is even in t.
    """

    wavenumbers: Float[np.ndarray, " frequencies"]
    """Wavenumbers in cm⁻¹, equally spaced from zero to the highest that the time step resolves."""
    values: Float[np.ndarray, "frequencies 3 3"]
    """C in (e Å)² per ASE's unit of time."""


def autocorrelation(signal: Float[np.ndarray, "steps 3"], lags: int) -> Float[np.ndarray, "lags 3 3"]:
    """Compute `<J_a(0) J_b(t)>` at the times 0, 1, ..., `lags` - 1 steps.

    Each value is the mean over all pairs of steps that are t apart. A fast Fourier transform is used, with
    zeros appended to the signal so that its end is not correlated with its beginning.
    """
    steps = len(signal)
    size = scipy.fft.next_fast_len(steps + lags, real=True)
    transform = scipy.fft.rfft(signal, size, axis=0)
    products = transform.conj()[:, :, None] * transform[:, None, :]
    pairs = steps - np.arange(lags)
    return scipy.fft.irfft(products, size, axis=0)[:lags] / pairs[:, None, None]


def lag_window(window: Window, resolution: float, timestep: float) -> Float[np.ndarray, " lags"]:
    """Compute the weights of an autocorrelation at the times 0, 1, ... steps; the first weight is 1.

    Args:
        window: "gaussian" gives every line the shape of a Gaussian, which is positive everywhere. "hann"
            needs two thirds of the time, but its lines go down to -2.7 % of their height beside the maximum.
        resolution: Full width at half maximum in cm⁻¹ that a sharp line gets.
        timestep: Time between steps in ASE's unit of time.
    """
    width = resolution / INVERSE_CM
    if window == "hann":
        # The Fourier transform of cos²(pi t / 2T) is a line of width 2 pi / T.
        length = 2 * math.pi / width
        times = np.arange(0.0, length, timestep)
        return np.cos(math.pi * times / (2 * length)) ** 2
    deviation = _FULL_WIDTH / width
    times = np.arange(0.0, _CUT * deviation, timestep)
    return np.exp(-((times / deviation) ** 2) / 2)


def power_spectrum(
    rates: DipoleRates, resolution: float = 10.0, window: Window = "gaussian"
) -> PowerSpectrum:
    """Compute the power spectrum of the rate of the dipole by the Wiener-Khinchin theorem.

    If the rates are those at an instant, the trapezoidal sum of the spectrum over frequencies is exactly
    `pi <J_a J_b>`. If they are means over a time step t, each frequency is weakened by the factor
    `sin(omega t / 2) / (omega t / 2)`, which is divided out again.

    Args:
        rates: At least as many values as the window has weights.
        resolution: Full width at half maximum of a sharp line in cm⁻¹.
        window: Kind of lag window; see `lag_window`.

    Raises:
        InputError: The resolution is not positive, or too fine for the length of the trajectory.
    """
    if not (math.isfinite(resolution) and resolution > 0):
        raise InputError(f"a resolution of {resolution} cm^-1; give a positive one")
    weights = lag_window(window, resolution, rates.timestep)
    if len(weights) > len(rates.values):
        possible = resolution * len(weights) / max(len(rates.values), 1)
        length = len(weights) * rates.timestep / units.fs
        raise InputError(
            f"a resolution of {resolution:g} cm^-1 needs a trajectory of {length:.0f} fs, this one has "
            f"{len(rates.values) * rates.timestep / units.fs:.0f} fs; run longer, or ask for "
            f"{math.ceil(possible)} cm^-1"
        )
    correlation = autocorrelation(rates.values, len(weights)) * weights[:, None, None]
    even = (correlation + correlation.transpose(0, 2, 1)) / 2
    fine = 2 * math.pi * _POINTS_ACROSS_LINE / (resolution / INVERSE_CM * rates.timestep)
    size = scipy.fft.next_fast_len(math.ceil(max(2 * len(weights), fine) / 2), real=True) * 2
    padded = np.zeros((size, 3, 3))
    padded[: len(even)] = even
    padded[size - len(even) + 1 :] += even[:0:-1]
    values = scipy.fft.rfft(padded, axis=0).real * rates.timestep
    frequencies = 2 * math.pi * scipy.fft.rfftfreq(size, rates.timestep)
    if rates.averaged:
        values /= np.sinc(frequencies * rates.timestep / (2 * math.pi))[:, None, None] ** 2
    return PowerSpectrum(frequencies * INVERSE_CM, values)


def ionic_susceptibility(
    spectrum: PowerSpectrum, volume: float, temperature: float
) -> Float[np.ndarray, "frequencies 3 3"]:
    """Compute the imaginary part of the ionic susceptibility, which is that of the dielectric tensor.

    `chi''[a, b](omega) = C[a, b](omega) / (2 k T V epsilon_0 omega)`. This follows from the classical
    fluctuation-dissipation theorem (McQuarrie, Statistical Mechanics, ch. 21) with
    `omega² <M M>(omega) = <J J>(omega)`, where M is the dipole of the cell. For any motion the f-sum rule
    holds, `int_0^inf d omega omega chi'' = pi <J_a J_b> / (2 k T V epsilon_0)`.

    Args:
        spectrum: Power spectrum of the rate of the dipole of a cell.
        volume: Volume of that cell in Å³.
        temperature: Temperature in K.

    Returns:
        chi'', dimensionless. At frequency zero, where a steady current would make it infinite, it is 0.
    """
    factor = 1 / (2 * units.kB * temperature * volume * VACUUM_PERMITTIVITY)
    frequencies = (spectrum.wavenumbers / INVERSE_CM)[:, None, None]
    return factor * np.divide(
        spectrum.values, frequencies, where=frequencies > 0, out=np.zeros_like(spectrum.values)
    )


def absorption(
    spectrum: PowerSpectrum, volume: float, temperature: float, correction: Correction = "harmonic"
) -> Float[np.ndarray, " frequencies"]:
    """Compute the absorption coefficient times the refractive index, averaged over directions.

    The coefficient alpha is that of the natural logarithm. In SI units
    `alpha n = omega Im eps(omega) / c = int dt exp(i omega t) <J(0) J(t)> / (6 k T V epsilon_0 c)`, with the
    integral over both signs of t (derived; Thomas et al., PCCP 15, 6608 (2013) review such spectra from
    molecular dynamics).

    In quantum mechanics `alpha n = omega (1 - exp(-x)) C_M(omega) / (6 hbar V epsilon_0 c)` with
    x = hbar omega / (k T) and the quantum autocorrelation C_M of the dipole. The harmonic correction replaces
    C_M by the classical autocorrelation times `x / (1 - exp(-x))`. The factor cancels, so that the equation
    above is both the classical and the corrected one; it is exact for harmonic modes (Ramírez et al., J.
    Chem. Phys. 121, 3973 (2004)). With "none", C_M is replaced by the classical autocorrelation as it is; at
    300 K a line at 200 cm⁻¹ is then too weak by a third.

    Args:
        spectrum: Power spectrum of the rate of the dipole of a cell.
        volume: Volume of that cell in Å³.
        temperature: Temperature in K.
        correction: "harmonic" or "none", as explained above.

    Returns:
        alpha n in cm⁻¹.
    """
    mean = np.einsum("faa->f", spectrum.values) / 3
    factor = PER_CM / (2 * units.kB * temperature * volume * VACUUM_PERMITTIVITY * SPEED_OF_LIGHT)
    if correction == "none":
        return factor * mean / quantum_correction(spectrum.wavenumbers, temperature)
    return factor * mean


def molar_absorption(
    spectrum: PowerSpectrum, temperature: float, correction: Correction = "harmonic"
) -> Float[np.ndarray, " frequencies"]:
    """Compute the molar absorption of a gas of molecules, `N_A V alpha`.

    See `absorption` for alpha. The refractive index n is 1, and the volume of the cell cancels.

    Args:
        spectrum: Power spectrum of the rate of the dipole of the molecule.
        temperature: Temperature in K.
        correction: As for `absorption`.

    Returns:
        Molar absorption in km/mol per cm⁻¹; its integral over wavenumbers is the intensity in km/mol.
    """
    return _MOLAR * absorption(spectrum, 1.0, temperature, correction)


def quantum_correction(
    wavenumbers: Float[np.ndarray, " frequencies"], temperature: float
) -> Float[np.ndarray, " frequencies"]:
    """Compute the ratio of the quantum to the classical autocorrelation of a harmonic oscillator.

    It is `x / (1 - exp(-x))` with x = hbar omega / (k T).

    Args:
        wavenumbers: Wavenumbers in cm⁻¹, not negative.
        temperature: Temperature in K.
    """
    x = wavenumbers * units.invcm / (units.kB * temperature)
    return np.divide(x, -np.expm1(-x), where=x > 0, out=np.ones_like(x))


def line_absorption(
    wavenumbers: Float[np.ndarray, " frequencies"],
    lines: Float[np.ndarray, " modes"],
    strengths: Float[np.ndarray, "modes 3 3"],
    volume: float,
    resolution: float,
) -> Float[np.ndarray, " frequencies"]:
    """Compute the absorption coefficient times the refractive index of harmonic modes, each a Gaussian line.

    `alpha(omega) n(omega) = pi / (6 V epsilon_0 c) sum_m tr(S_m) g(omega - omega_m)`, where g has unit area.
    `absorption` tends to this for a long trajectory of a harmonic crystal.

    Args:
        wavenumbers: Where to compute the absorption, in cm⁻¹.
        lines: Wavenumbers of the modes in cm⁻¹.
        strengths: Oscillator strengths of the modes in e²/u.
        volume: Volume of the cell in Å³.
        resolution: Full width at half maximum of every line in cm⁻¹.

    Returns:
        alpha n in cm⁻¹.
    """
    deviation = resolution / _FULL_WIDTH
    offsets = (wavenumbers[:, None] - lines) / deviation
    shapes = np.exp(-(offsets**2) / 2) / (math.sqrt(2 * math.pi) * deviation) * INVERSE_CM
    factor = PER_CM * math.pi / (6 * volume * VACUUM_PERMITTIVITY * SPEED_OF_LIGHT)
    return factor * shapes @ np.einsum("maa->m", strengths)


def molar_line_absorption(
    wavenumbers: Float[np.ndarray, " frequencies"],
    lines: Float[np.ndarray, " modes"],
    strengths: Float[np.ndarray, "modes 3 3"],
    resolution: float,
) -> Float[np.ndarray, " frequencies"]:
    """Compute the molar absorption of a gas of molecules with harmonic modes, each a Gaussian line.

    Args:
        wavenumbers: As for `line_absorption`.
        lines: As for `line_absorption`.
        strengths: As for `line_absorption`.
        resolution: As for `line_absorption`.

    Returns:
        Molar absorption in km/mol per cm⁻¹; the integral over a line is its `infrared_intensities`.
    """
    return _MOLAR * line_absorption(wavenumbers, lines, strengths, 1.0, resolution)
