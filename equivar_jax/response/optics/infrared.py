"""Infrared spectrum of a crystal or molecule: from molecular dynamics, from phonons at Gamma, or both.

A trajectory includes the anharmonicity of the dynamics; with --potential it is made here. Phonons give lines,
which are drawn with the resolution of the spectrum of the trajectory. For a crystal the spectrum is the
absorption coefficient times the refractive index; for a structure that is not periodic in all directions, and
for a molecule in a box with --molecule, it is the molar absorption.
"""

import argparse
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.md.verlet import VelocityVerlet
from jaxtyping import Float

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges
from equivar_jax.errors import InputError
from equivar_jax.figures import check_picture
from equivar_jax.io import read_structures
from equivar_jax.response.optics.dipole import dipole_rates
from equivar_jax.response.optics.from_potential import (
    absorption_of,
    check_temperature,
    is_crystal,
    read_one_structure,
    spectra_with_potential,
    write_numbers,
)
from equivar_jax.response.optics.infrared_picture import MARGIN, Curve, plot_spectra, write_spectra
from equivar_jax.response.optics.motion import mean_temperature, warn_of_other_temperature
from equivar_jax.response.optics.spectra import line_absorption, molar_line_absorption
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
from equivar_jax.structures import born_effective_charges, labels_of, source, with_born_effective_charges

# For the model crystal: temperature in K, fs between frames, steps between frames, number of frames.
_EXAMPLE_TEMPERATURE, _EXAMPLE_TIMESTEP, _EXAMPLE_STEPS, _EXAMPLE_FRAMES = 300.0, 4.0, 4, 5000
# Number of points on the width of a line of the phonon spectrum.
_POINTS_ACROSS_LINE = 10
# Lines weaker than this share of the strongest are not marked.
_VISIBLE = 1e-3


def run(options: argparse.Namespace) -> None:
    """Print the lines, write the spectra as CSV, and draw them."""
    _check(options)
    check_picture(options.output)
    phonons, model = phonons_of(options) if options.example or options.phonons else (None, None)
    curves, lines, periodic = [], np.zeros(0), not options.molecule
    written = [options.output.with_suffix(".csv"), options.output]
    if options.example:
        options.timestep = _EXAMPLE_TIMESTEP
        curves.append(_trajectory_spectrum(example_trajectory(example_phonons()), labels_of, options))
    elif options.potential:
        structure = read_one_structure(options.trajectory)
        periodic = is_crystal(structure, options)
        curves, numbers = spectra_with_potential(structure, options)
        written.append(write_numbers(numbers, options.output))
    elif options.trajectory:
        frames = _read_trajectory(options)
        periodic = is_crystal(frames[0], options)
        curves.append(_trajectory_spectrum(frames, _charges_of(frames, options), options))
    if phonons is not None:
        if not (periodic or options.molecule):
            raise InputError(
                f"{options.trajectory}: not a crystal, unlike {options.phonons}, so that their spectra "
                "have different units; give only one of them, or --molecule if both are one in a box"
            )
        members = members_of(model, phonons.atoms)
        curve, lines = _phonon_spectrum(phonons, options, members)
        curves.append(curve)
    plot_spectra(curves, lines, options.output, periodic)
    write_spectra(written[0], curves, periodic)
    print(f"written: {', '.join(map(str, written))}")


def _check(options: argparse.Namespace) -> None:
    """Refuse options that do not go together."""
    if not (options.example or options.trajectory or options.phonons):
        raise InputError(
            "no trajectory, no structure with --potential, and no --phonons; name one of them, or try "
            "--example"
        )
    if options.potential:
        if options.example or not options.trajectory:
            raise InputError("--potential is for a structure; name one, and leave out --example")
    elif len(options.temperature or []) > 1:
        raise InputError("one trajectory has one temperature; give one, or --potential to make several")
    elif options.supercell:
        raise InputError("--supercell is for dynamics that are made here; give --potential, too")


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


def _read_trajectory(options: argparse.Namespace) -> list[Atoms]:
    """Read the frames of the file that the options name, and check that there is a time step."""
    if options.timestep is None:
        raise InputError(
            "--timestep is missing; give the time between frames in fs (or --potential NAME, which makes "
            "trajectories of one structure)"
        )
    return read_structures(options.trajectory)


def _charges_of(frames: Sequence[Atoms], options: argparse.Namespace) -> Charges:
    """Choose the charges: of the named model, else the labels, else of the weights of the package."""
    if not options.checkpoint and any(born_effective_charges(atoms) is not None for atoms in frames):
        return labels_of
    return EquivarCalculator(options.checkpoint)


def _trajectory_spectrum(frames: Sequence[Atoms], charges: Charges, options: argparse.Namespace) -> Curve:
    """Compute the spectrum of a trajectory; print its length, temperature and range."""
    rates = dipole_rates(frames, options.timestep, charges, options.every)
    temperature = options.temperature[0] if options.temperature else mean_temperature(frames)
    check_temperature(temperature)
    wavenumbers, values = absorption_of(rates, frames, temperature, options)
    if rates.averaged:
        warn_of_other_temperature(frames, options.timestep, temperature)
    print(
        f"{len(frames)} frames, {options.timestep:g} fs apart, at {temperature:.1f} K: a spectrum to "
        f"{wavenumbers[-1]:.0f} cm^-1"
    )
    return Curve("molecular dynamics", wavenumbers, values)


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
        0.0, modes.wavenumbers[-1] * MARGIN + resolution, resolution / _POINTS_ACROSS_LINE
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
