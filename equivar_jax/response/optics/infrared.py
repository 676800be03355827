"""Infrared spectrum of a crystal or molecule: from molecular dynamics, from phonons at Gamma, or both.

A trajectory includes the anharmonicity of the dynamics. Phonons give lines, which are drawn with the
resolution of the spectrum of the trajectory. For a crystal the spectrum is the absorption coefficient times
the refractive index; for a structure that is not periodic in all directions, and for a molecule in a box with
--molecule, it is the molar absorption.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from jaxtyping import Float
from matplotlib.figure import Figure

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges
from equivar_jax.errors import InputError
from equivar_jax.figures import COLOURS, STYLE, check_picture, save_figure
from equivar_jax.io import read_structures
from equivar_jax.io.files import open_for_writing
from equivar_jax.prediction.loading import load
from equivar_jax.response.optics.dipole import dipole_rates
from equivar_jax.response.optics.motion import mean_temperature, warn_of_other_temperature
from equivar_jax.response.optics.spectra import (
    absorption,
    line_absorption,
    molar_absorption,
    molar_line_absorption,
    power_spectrum,
)
from equivar_jax.response.phonons.gamma import (
    gamma_modes,
    infrared_intensities,
    oscillator_strengths,
    principal_modes,
)
from equivar_jax.response.phonons.gamma_input import Phonons, example_phonons, phonons_of
from equivar_jax.response.phonons.harmonic import HarmonicCrystal
from equivar_jax.response.phonons.propagation import Members, members_of
from equivar_jax.response.phonons.surroundings import is_molecule_in_box, molecule_in_box, warn_of_vacuum
from equivar_jax.structures import labels_of, source, with_born_effective_charges

# For the model crystal: temperature in K, fs between frames, steps between frames, number of frames.
_EXAMPLE_TEMPERATURE, _EXAMPLE_TIMESTEP, _EXAMPLE_STEPS, _EXAMPLE_FRAMES = 300.0, 4.0, 4, 5000
# A picture ends at the highest line times this.
_MARGIN = 1.3
# Number of points on the width of a line of the phonon spectrum.
_POINTS_ACROSS_LINE = 10
# Styles of the first curve and of the second, which is drawn over it.
_STYLES: tuple[dict[str, Any], ...] = (
    {"linewidth": 2.4, "alpha": 0.6},
    {"linewidth": 1.2, "linestyle": "--"},
)
# Lines weaker than this share of the strongest are not marked.
_VISIBLE = 1e-3


class Curve(NamedTuple):
    """A spectrum with its name in the legend."""

    name: str
    wavenumbers: Float[np.ndarray, " frequencies"]
    """Wavenumbers in cm⁻¹."""
    values: Float[np.ndarray, " frequencies"]
    """Absorption in cm⁻¹ for a crystal, else in km/mol per cm⁻¹."""
    deviations: Float[np.ndarray, " frequencies"] | None = None
    """Their standard deviations, where a committee gives the charges for phonons."""


def run(options: argparse.Namespace) -> None:
    """Print the lines, write the spectra as CSV, and draw them."""
    if not (options.example or options.trajectory or options.phonons):
        raise InputError("no trajectory and no --phonons; name one of them, or try --example")
    check_picture(options.output)
    predictor = load(options.checkpoint) if options.checkpoint and not options.example else None
    phonons = phonons_of(options, predictor) if options.example or options.phonons else None
    curves, lines, periodic = [], np.zeros(0), not options.molecule
    if options.example:
        options.timestep = _EXAMPLE_TIMESTEP
        curves.append(_trajectory_spectrum(example_trajectory(example_phonons()), labels_of, options))
    elif options.trajectory:
        frames = _read_trajectory(options)
        periodic = bool(frames[0].pbc.all()) and not options.molecule
        charges = labels_of if predictor is None else EquivarCalculator(predictor)
        curves.append(_trajectory_spectrum(frames, charges, options))
    if phonons is not None:
        if not (periodic or options.molecule):
            raise InputError(
                f"{options.trajectory}: not a crystal, unlike {options.phonons}, so that their spectra "
                "have different units; give only one of them, or --molecule if both are one in a box"
            )
        members = members_of(predictor, phonons.atoms)
        curve, lines = _phonon_spectrum(phonons, options, members)
        curves.append(curve)
    table = options.output.with_suffix(".csv")
    plot_spectra(curves, lines, options.output, periodic)
    _write(table, curves, periodic)
    print(f"written: {table}, {options.output}")


def example_trajectory(phonons: Phonons) -> list[Atoms]:
    """Run molecular dynamics of the crystal of springs at 300 K.

    A harmonic crystal does not exchange energy between its modes, so each mode starts with its classical
    thermal energy k T and a random phase. Of degenerate modes the principal ones are taken: their dipoles are
    orthogonal, so that they do not interfere in the spectrum, whatever vectors the eigensolver chose.
    """
    atoms = phonons.atoms.copy()
    modes = principal_modes(gamma_modes(atoms, phonons.force_constants), phonons.charges)
    amplitudes = np.sqrt(2 * units.kB * _EXAMPLE_TEMPERATURE) / modes.frequencies
    phases = np.random.default_rng(0).uniform(0, 2 * np.pi, len(amplitudes))
    patterns = modes.eigenvectors / np.sqrt(modes.masses)[:, None]
    atoms.positions += np.tensordot(amplitudes * np.cos(phases), patterns, 1)
    atoms.set_velocities(np.tensordot(-modes.frequencies * amplitudes * np.sin(phases), patterns, 1))
    atoms.calc = HarmonicCrystal(phonons.atoms, phonons.force_constants, phonons.charges)
    dynamics = VelocityVerlet(atoms, _EXAMPLE_TIMESTEP / _EXAMPLE_STEPS * units.fs)
    frames = []
    for _ in range(_EXAMPLE_FRAMES):
        frames.append(with_born_effective_charges(atoms, phonons.charges))
        dynamics.run(_EXAMPLE_STEPS)
    return frames


def plot_spectra(
    curves: Sequence[Curve], lines: Float[np.ndarray, " modes"], path: Path, periodic: bool = True
) -> None:
    """Draw spectra over each other, with a mark at each line.

    Args:
        curves: The spectra.
        lines: Wavenumbers of the phonons that absorb, in cm⁻¹.
        path: File of the picture; the suffix chooses the format.
        periodic: Whether the spectra are those of a crystal, in cm⁻¹.

    Raises:
        InputError: The picture cannot be written.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        axes = figure.add_subplot()
        top = max(float(curve.values.max()) for curve in curves)
        exponent = math.floor(math.log10(top)) if top > 0 else 0
        top *= 10.0**-exponent
        for curve, colour, style in zip(curves, COLOURS, _STYLES, strict=False):
            values = curve.values * 10.0**-exponent
            axes.plot(curve.wavenumbers, values, color=colour, label=curve.name, **style)
        if len(lines):
            low = np.full_like(lines, -0.06 * top)
            axes.vlines(lines, low, 0.5 * low, color=COLOURS[-1], linewidth=1.0, label="phonon frequencies")
        axes.set_xlim(0, min(_find_end(curves, lines), max(float(curve.wavenumbers[-1]) for curve in curves)))
        axes.set_ylim(-0.08 * top, 1.08 * top)
        axes.set_xlabel("Wavenumber (cm$^{-1}$)")
        axes.set_ylabel(
            rf"Absorption $\alpha n$ (10$^{{{exponent}}}$ cm$^{{-1}}$)"
            if periodic
            else rf"Molar absorption (10$^{{{exponent}}}$ km mol$^{{-1}}$ cm)"
        )
        axes.legend(loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
        save_figure(figure, path)


def _find_end(curves: Sequence[Curve], lines: Float[np.ndarray, " modes"]) -> float:
    """Find the wavenumber in cm⁻¹ beyond which nothing can be seen, with a margin."""
    visible = [float(c.wavenumbers[np.abs(c.values) >= 0.01 * np.abs(c.values).max()][-1]) for c in curves]
    return _MARGIN * max([*visible, *lines])


def _read_trajectory(options: argparse.Namespace) -> list[Atoms]:
    """Read the frames of the file that the options name, and check that there is a time step."""
    if options.timestep is None:
        raise InputError("--timestep is missing; give the time between frames in fs")
    return read_structures(options.trajectory)


def _trajectory_spectrum(frames: Sequence[Atoms], charges: Charges, options: argparse.Namespace) -> Curve:
    """Compute the spectrum of a trajectory; print its length, temperature and range."""
    rates = dipole_rates(frames, options.timestep, charges, options.every)
    temperature = mean_temperature(frames) if options.temperature is None else options.temperature
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"a temperature of {temperature} K; give a positive one")
    spectrum = power_spectrum(rates, options.resolution, options.window)
    if rates.averaged:
        warn_of_other_temperature(frames, options.timestep, temperature)
    if frames[0].pbc.all() and not options.molecule:
        volume = float(np.mean([atoms.get_volume() for atoms in frames]))
        values = absorption(spectrum, volume, temperature, options.correction)
    else:
        values = molar_absorption(spectrum, temperature, options.correction)
    print(
        f"{len(frames)} frames, {options.timestep:g} fs apart, at {temperature:.1f} K: a spectrum to "
        f"{spectrum.wavenumbers[-1]:.0f} cm^-1"
    )
    return Curve("molecular dynamics", spectrum.wavenumbers, values)


def _phonon_spectrum(
    phonons: Phonons, options: argparse.Namespace, members: Members | None
) -> tuple[Curve, Float[np.ndarray, " modes"]]:
    """Compute the spectrum of the phonons and the wavenumbers of those that absorb; print the modes.

    Args:
        phonons: Structure, force constants and charges.
        options: The command line.
        members: What the members of a committee say of the charges, if they are of one.
    """
    resolution, fix = options.resolution, "relax the structure into its minimum"
    if options.molecule:
        phonons = molecule_in_box(phonons)
    elif is_molecule_in_box(phonons.atoms):
        fix += ", or give --molecule, which leaves out the rotations of a molecule in a box"
    else:
        warn_of_vacuum(phonons.atoms, "lines and absorption")
    modes = gamma_modes(phonons.atoms, phonons.force_constants)
    modes.require_stable(source(phonons.atoms), fix)
    intensities = infrared_intensities(modes, phonons.charges)
    print("mode     cm^-1    km/mol of cells")
    uncertain = [""] * len(intensities)
    if members is not None:
        sigmas = members.sigma(lambda charges, _: infrared_intensities(modes, charges))
        uncertain = [f" ± {sigma:.2f}" for sigma in sigmas]
    rows = zip(modes.wavenumbers, intensities, uncertain, strict=True)
    for number, (line, intensity, sigma) in enumerate(rows, start=1):
        print(f"{number:4d} {line:9.2f} {intensity:11.2f}{sigma}")
    if members is not None:
        print(members.describe())
    wavenumbers = np.arange(
        0.0, modes.wavenumbers[-1] * _MARGIN + resolution, resolution / _POINTS_ACROSS_LINE
    )

    def spectrum(charges: Float[np.ndarray, "atoms 3 3"], _: object = None) -> np.ndarray:
        strengths = oscillator_strengths(modes, charges)
        if options.molecule:
            return molar_line_absorption(wavenumbers, modes.wavenumbers, strengths, resolution)
        volume = phonons.atoms.get_volume()
        return line_absorption(wavenumbers, modes.wavenumbers, strengths, volume, resolution)

    values, visible = spectrum(phonons.charges), intensities > _VISIBLE * intensities.max()
    deviations = None if members is None else members.sigma(spectrum)
    return Curve("phonons", wavenumbers, values, deviations), modes.wavenumbers[visible]


def _write(path: Path, curves: Sequence[Curve], periodic: bool) -> None:
    """Write all spectra to one CSV file, with standard deviations where one of them has these."""
    unit = "cm^-1" if periodic else "km/mol cm"
    uncertain = any(curve.deviations is not None for curve in curves)
    with open_for_writing(path) as handle:
        heading = f"source,wavenumber (cm^-1),absorption ({unit})"
        handle.write(heading + f",standard deviation ({unit})" * uncertain + "\n")
        for curve in curves:
            last = [""] * len(curve.values)
            if uncertain:
                known = curve.deviations
                last = [","] * len(last) if known is None else [f",{sigma:.8g}" for sigma in known]
            for wavenumber, value, rest in zip(curve.wavenumbers, curve.values, last, strict=True):
                handle.write(f"{curve.name},{wavenumber:.4f},{value:.8g}{rest}\n")
