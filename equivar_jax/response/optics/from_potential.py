"""Infrared spectra from dynamics with a potential, with error bars, at several temperatures."""

import argparse
import json
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.potentials import check_potential, load_potential
from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.io.files import open_for_writing
from equivar_jax.progress import ProgressBar
from equivar_jax.response.optics.dipole import dipole_rates
from equivar_jax.response.optics.infrared_picture import Curve
from equivar_jax.response.optics.spectra import (
    DipoleRates,
    absorption,
    lag_window,
    molar_absorption,
    power_spectrum,
)
from equivar_jax.response.optics.trajectory import (
    STEPS_PER_FRAME,
    Protocol,
    default_timestep,
    repeat_to_length,
    run_trajectory,
    warn_of_unsound_dynamics,
)
from equivar_jax.structures import BEC, source

DEFAULT_TEMPERATURE = 300.0
"""In K."""


def spectra_with_potential(atoms: Atoms, options: argparse.Namespace) -> tuple[list[Curve], dict[str, Any]]:
    """Make trajectories at each temperature, and compute their mean spectrum with its standard error.

    Each trajectory at constant energy is as long as the lag window of the resolution. The charges are those
    of `--checkpoint`, else of the potential itself, if it has them, else of the weights of the package. The
    temperature in the spectrum is that of the thermostat: trajectories that begin in the canonical ensemble
    have its mean, while their own temperatures fluctuate.

    Args:
        atoms: One structure.
        options: The command line of `equivar response infrared`.

    Returns:
        A curve for each temperature, and the numbers of all trajectories, for a JSON file.

    Raises:
        InputError: An option cannot be used, or potential, network or trajectory file fail.
    """
    temperatures = _check(options)
    larger = repeat_to_length(atoms, options.supercell)
    cells = larger.info.pop("supercell")
    calculator = load_potential(options.potential)
    check_potential(calculator, larger, options.potential)
    charges = _charges_of(calculator, options)
    timestep = default_timestep(atoms) if options.timestep is None else options.timestep
    interval = timestep * STEPS_PER_FRAME
    frames = max(2, len(lag_window(options.window, options.resolution, interval * units.fs)))
    equilibration = math.ceil(1e3 * options.equilibration / interval)
    print(
        f"{source(atoms)}: {' x '.join(map(str, cells))} cells, {len(larger)} atoms; at each temperature "
        f"{options.trajectories} trajectories of {1e-3 * frames * interval:.2f} ps after "
        f"{1e-3 * equilibration * interval:.2f} ps with a thermostat"
    )
    protocols = [
        [
            Protocol(options.potential, temperature, timestep, equilibration, options.seed, number)
            for number in range(1, options.trajectories + 1)
        ]
        for temperature in temperatures
    ]
    total = len(temperatures) * options.trajectories * (equilibration + frames)
    with ProgressBar(total=total, desc="molecular dynamics", unit="frame") as bar:
        trajectories = [
            [
                run_trajectory(larger, calculator, one, frames, _file_of(options.output, one), bar.update)
                for one in row
            ]
            for row in protocols
        ]
    curves, rows = [], []
    for protocol, made in zip(protocols, trajectories, strict=True):
        curve, row = _mean_spectrum(made, protocol, charges, options)
        curves.append(curve)
        rows.append(row)
    numbers = {
        "structure": source(atoms),
        "potential": options.potential,
        "supercell": cells,
        "atoms": len(larger),
        "timestep_fs": timestep,
        "between_frames_fs": interval,
        "equilibration_fs": equilibration * interval,
        "trajectory_fs": frames * interval,
        "resolution_per_cm": options.resolution,
        "window": options.window,
        "correction": options.correction,
        "seed": options.seed,
        "spectra": rows,
    }
    return curves, numbers


def absorption_of(
    rates: DipoleRates, frames: Sequence[Atoms], temperature: float, options: argparse.Namespace
) -> tuple[Float[np.ndarray, " frequencies"], Float[np.ndarray, " frequencies"]]:
    """Compute the spectrum of a trajectory, per volume of a crystal or per mole of molecules.

    Args:
        rates: Rates of the dipole.
        frames: The trajectory.
        temperature: Temperature in K.
        options: The command line, with resolution, window and correction.

    Returns:
        Wavenumbers in cm⁻¹, and the absorption in cm⁻¹ for a crystal, else in km/mol per cm⁻¹.
    """
    spectrum = power_spectrum(rates, options.resolution, options.window)
    if is_crystal(frames[0], options):
        volume = float(np.mean([atoms.get_volume() for atoms in frames]))
        return spectrum.wavenumbers, absorption(spectrum, volume, temperature, options.correction)
    return spectrum.wavenumbers, molar_absorption(spectrum, temperature, options.correction)


def is_crystal(atoms: Atoms, options: argparse.Namespace) -> bool:
    """Return whether the spectrum of a structure is given per volume: it is periodic, and no --molecule."""
    return bool(atoms.pbc.all()) and not options.molecule


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is not positive."""
    if not (math.isfinite(temperature) and temperature > 0):
        raise InputError(f"a temperature of {temperature} K; give a positive one")


def read_one_structure(path: str | os.PathLike[str]) -> Atoms:
    """Read a file that holds one structure."""
    structures = read_structures(path)
    if len(structures) != 1:
        raise InputError(
            f"{path}: {len(structures)} structures; with --potential give a file with exactly one"
        )
    return structures[0]


def write_numbers(numbers: dict[str, Any], picture: Path) -> Path:
    """Write the numbers of the trajectories as JSON beside a picture, and return the path."""
    path = picture.with_suffix(".json")
    with open_for_writing(path) as handle:
        handle.write(json.dumps(numbers, indent=1) + "\n")
    return path


def _check(options: argparse.Namespace) -> list[float]:
    """Return the temperatures, and refuse options that cannot be used."""
    temperatures = options.temperature or [DEFAULT_TEMPERATURE]
    for temperature in temperatures:
        check_temperature(temperature)
    if len(set(temperatures)) < len(temperatures):
        raise InputError(f"--temperature {' '.join(f'{t:g}' for t in temperatures)}: give each only once")
    if options.trajectories < 1:
        raise InputError(f"--trajectories {options.trajectories}: give at least 1, and 2 for error bars")
    if not (math.isfinite(options.equilibration) and options.equilibration >= 0):
        raise InputError(f"--equilibration {options.equilibration}: give a time in ps, 0 or more")
    if options.seed < 0:
        raise InputError(f"--seed {options.seed}: give 0 or more")
    for name in ("timestep", "resolution"):
        value = getattr(options, name)
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InputError(f"--{name} {value}: give a positive number")
    return temperatures


def _charges_of(calculator: BaseCalculator, options: argparse.Namespace) -> Charges:
    """Choose the charges: of the named model, else of the potential, else of the weights of the package."""
    if options.checkpoint is None and BEC in calculator.implemented_properties:
        return calculator
    return EquivarCalculator(options.checkpoint)


def _file_of(picture: Path, protocol: Protocol) -> Path:
    """Return the file of a trajectory, beside the picture."""
    return picture.with_name(f"{picture.stem}-{protocol.temperature:g}K-{protocol.number}.traj")


def _mean_spectrum(
    trajectories: Sequence[Sequence[Atoms]],
    protocols: Sequence[Protocol],
    charges: Charges,
    options: argparse.Namespace,
) -> tuple[Curve, dict[str, Any]]:
    """Compute the mean spectrum of the trajectories at one temperature, and its standard error.

    Returns:
        The curve, and the numbers of each trajectory.
    """
    wanted = protocols[0].temperature
    temperatures, drifts = warn_of_unsound_dynamics(trajectories, protocols[0])
    spectra = []
    asked = sum(len(range(0, len(frames) - 1, options.every)) + 1 for frames in trajectories)
    with ProgressBar(total=asked, desc=f"charges at {wanted:g} K", unit="frame") as bar:
        counted = _counted(charges, bar.update)
        for frames in trajectories:
            rates = dipole_rates(frames, protocols[0].interval, counted, options.every)
            wavenumbers, values = absorption_of(rates, frames, wanted, options)
            spectra.append(values)
    error = None
    if len(spectra) > 1:
        error = np.std(spectra, axis=0, ddof=1) / math.sqrt(len(spectra))
    print(
        f"{wanted:g} K: {', '.join(f'{found:.1f}' for found in temperatures)} K at constant energy, which "
        f"changes by {1e3 * np.abs(drifts).max():.2g} meV/atom at most"
    )
    rows = [
        {
            "file": str(_file_of(options.output, protocol)),
            "temperature_K": float(found),
            "drift_meV_per_atom": 1e3 * float(drift),
        }
        for protocol, found, drift in zip(protocols, temperatures, drifts, strict=True)
    ]
    curve = Curve(f"dynamics at {wanted:g} K", wavenumbers, np.mean(spectra, axis=0), error)
    return curve, {"source": curve.name, "temperature_K": wanted, "trajectories": rows}


def _counted(charges: Charges, tick: Callable[[int], Any]) -> Callable[[Atoms], np.ndarray]:
    """Make a function of atoms that returns their charges and counts its calls."""
    tensors_of = make_charge_function(charges)

    def tensors_and_tick(atoms: Atoms) -> np.ndarray:
        tick(1)
        return tensors_of(atoms)

    return tensors_and_tick
