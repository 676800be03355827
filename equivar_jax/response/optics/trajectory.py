"""Molecular dynamics with a potential, for spectra: thermostat, then constant energy, in files that continue.

Each trajectory begins with random velocities of its own, so that trajectories are independent and their
spectra have a standard error. Langevin dynamics brings it to the temperature; then velocity Verlet runs
without a thermostat, which would broaden the lines. The volume is that of the structure. A frame is made of
the one before and of the seed alone: a run that is interrupted goes on from its files, bit for bit.
"""

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from jaxtyping import Float

from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.response.earlier_frames import read_earlier_frames
from equivar_jax.response.optics.motion import mean_temperature
from equivar_jax.structures import check_structure, source

STEPS_PER_FRAME = 4
"""Steps of the dynamics from one frame to the next: 4 fs resolve lines up to 4,000 cm⁻¹."""
LEAST_VECTOR = 10.0
"""Length in Å that the vectors of a supercell have at least, unless it is given."""
FRICTION = 1e-2 / units.fs
"""Of the thermostat: what it has not made is forgotten after 0.1 ps."""
LARGEST_DRIFT = 1e-3
"""Change of the total energy over a trajectory, in eV per atom, beyond which a warning is given."""

_PROTOCOL = "protocol"
# Of a temperature, in standard deviations that the thermostat allows.
_UNLIKELY = 5.0


class DynamicsWarning(UserWarning):
    """Warns that a trajectory does not conserve its energy, or has not the temperature it should have."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a trajectory is made."""

    potential: str
    """Name of the potential."""
    temperature: float
    """Temperature in K."""
    timestep: float
    """Time step in fs."""
    equilibration: int
    """Number of frames with the thermostat."""
    seed: int
    """Of velocities and thermostat."""
    number: int
    """Number of the trajectory, which has random numbers of its own."""

    @property
    def interval(self) -> float:
        """Time between frames in fs."""
        return self.timestep * STEPS_PER_FRAME

    def random(self, frame: int) -> np.random.Generator:
        """Make the random numbers that lead from a frame to the next; -1 stands for the first velocities."""
        return np.random.default_rng([self.seed, self.number, round(1e3 * self.temperature), frame + 1])


def repeat_to_length(atoms: Atoms, given: Sequence[int] | None = None) -> Atoms:
    """Repeat a structure along its periodic directions.

    Args:
        atoms: The structure. Constraints of it are left out.
        given: Number of cells, one for all periodic axes or three; by default the least for which no lattice
            vector is shorter than `LEAST_VECTOR`.

    Raises:
        InputError: The numbers cannot be used, or `check_structure` refuses the structure.
    """
    check_structure(atoms)
    if given is None:
        counts = [
            int(np.ceil(LEAST_VECTOR / length - 1e-6)) if periodic else 1
            for length, periodic in zip(atoms.cell.lengths(), atoms.pbc, strict=True)
        ]
    else:
        counts = list(given) * 3 if len(given) == 1 else list(given)
        if len(counts) != 3 or min(counts) < 1:
            raise InputError(
                f"--supercell {' '.join(map(str, given))}: give one or three numbers of at least 1"
            )
        if len(given) == 1:
            counts = [count if periodic else 1 for count, periodic in zip(counts, atoms.pbc, strict=True)]
        if any(count > 1 and not periodic for count, periodic in zip(counts, atoms.pbc, strict=True)):
            raise InputError(
                f"{source(atoms)}: --supercell {' '.join(map(str, given))} repeats it along an axis that is "
                "not periodic; give 1 there"
            )
    plain = atoms.copy()
    plain.set_constraint()
    plain.calc = None
    larger = plain.repeat(counts)
    larger.info["supercell"] = counts
    return larger


def default_timestep(atoms: Atoms) -> float:
    """Return the time step in fs: 0.5 with hydrogen, whose stretching takes 9 fs, else 1."""
    return 0.5 if (atoms.numbers == 1).any() else 1.0


def run_trajectory(
    atoms: Atoms,
    calculator: BaseCalculator,
    protocol: Protocol,
    frames: int,
    path: Path,
    tick: Callable[[int], Any] = lambda _: None,
) -> list[Atoms]:
    """Make a trajectory at constant energy, or what is missing of it in its file.

    Args:
        atoms: The structure to begin with, without velocities.
        calculator: The potential.
        protocol: How it is made.
        frames: Number of frames at constant energy.
        path: File that ends in .traj, to which each frame is added as soon as it is made: those with the
            thermostat, then the others. Of a file that is there already the frames are taken, if they were
            made in this way.
        tick: Called with the number of frames that are done, at first with what was in the file.

    Returns:
        The frames at constant energy, `protocol.interval` apart, with velocities, and with the potential
        energy in their results. The momenta of each sum to zero.

    Raises:
        InputError: The file is another trajectory or cannot be written, or the dynamics goes to infinity.
    """
    first = _first_frame(atoms, protocol)
    total = protocol.equilibration + frames
    done = _read(path, first)
    tick(min(len(done), total))
    if len(done) < total:
        moving = (done[-1] if done else first).copy()
        moving.calc = calculator
        with (
            input_error_unless_writable(path, "--output"),
            Trajectory(str(path), "a" if done else "w") as written,
        ):
            for number in range(len(done), total):
                if number > 0:
                    _advance(moving, protocol, number - 1)
                frame = moving.copy()
                frame.info = dict(first.info) if number == 0 else {}
                frame.calc = None
                energy = float(moving.get_potential_energy())
                if not (np.isfinite(energy) and np.isfinite(frame.positions).all()):
                    raise InputError(
                        f"{path}: the dynamics goes to infinity at frame {number}; give a smaller --timestep "
                        f"than {protocol.timestep:g}, relax the structure, or choose another potential"
                    )
                written.write(frame, energy=energy)
                tick(1)
        done = _read(path, first)
    return done[protocol.equilibration : total]


def energy_drift(frames: Sequence[Atoms]) -> float:
    """Compute how much the total energy changes over a trajectory, by a straight line, in eV per atom."""
    energies = [atoms.calc.results["energy"] + atoms.get_kinetic_energy() for atoms in frames]
    slope = np.polyfit(np.linspace(0, 1, len(energies)), energies, 1)[0]
    return float(slope) / len(frames[0])


def warn_of_unsound_dynamics(
    trajectories: Sequence[Sequence[Atoms]], protocol: Protocol
) -> tuple[Float[np.ndarray, " trajectories"], Float[np.ndarray, " trajectories"]]:
    """Warn if energy is not conserved, or the mean temperature is not that of the thermostat.

    Args:
        trajectories: Trajectories at constant energy.
        protocol: How one of them was made.

    Returns:
        Temperature in K, and change of the total energy in eV per atom, of each trajectory.
    """
    temperatures = np.array([mean_temperature(frames) for frames in trajectories])
    drifts = np.array([energy_drift(frames) for frames in trajectories])
    worst, wanted = float(np.abs(drifts).max()), protocol.temperature
    if worst > LARGEST_DRIFT:
        warnings.warn(
            f"at {wanted:g} K the energy of a trajectory changes by {1e3 * worst:.1f} meV per atom; give a "
            f"smaller --timestep than {protocol.timestep:g}, or a potential whose forces are derivatives of "
            "its energy",
            DynamicsWarning,
            stacklevel=2,
        )
    allowed = wanted / np.sqrt(3 * len(trajectories[0][0]) * len(trajectories))
    if abs(temperatures.mean() - wanted) > _UNLIKELY * allowed:
        warnings.warn(
            f"the trajectories for {wanted:g} K have {temperatures.mean():.0f} K; give a longer "
            "--equilibration, or a structure nearer to a minimum of the potential",
            DynamicsWarning,
            stacklevel=2,
        )
    return temperatures, drifts


def _first_frame(atoms: Atoms, protocol: Protocol) -> Atoms:
    """Give a structure random velocities; at rest it needs those of twice the temperature."""
    first = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, masses=atoms.get_masses())
    first.info[_PROTOCOL] = dataclasses.asdict(protocol)
    widths = np.sqrt(first.get_masses()[:, None] * units.kB * 2 * protocol.temperature)
    first.set_momenta(widths * protocol.random(-1).standard_normal((len(first), 3)))
    if protocol.equilibration == 0:
        _stop_drift(first)
    return first


def _advance(atoms: Atoms, protocol: Protocol, frame: int) -> None:
    """Run from a frame to the next, with the thermostat or without it."""
    step = protocol.timestep * units.fs
    if frame >= protocol.equilibration:
        VelocityVerlet(atoms, step).run(STEPS_PER_FRAME)
        return
    thermostat = Langevin(
        atoms,
        step,
        temperature_K=protocol.temperature,
        friction=FRICTION,
        fixcm=False,
        rng=protocol.random(frame),
    )
    thermostat.run(STEPS_PER_FRAME)
    if frame + 1 == protocol.equilibration:
        _stop_drift(atoms)


def _stop_drift(atoms: Atoms) -> None:
    """Make the momenta sum to zero; the motion relative to the centre of mass stays."""
    masses, momenta = atoms.get_masses()[:, None], atoms.get_momenta()
    atoms.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())


def _read(path: Path, first: Atoms) -> list[Atoms]:
    """Read the frames of a file that is there, and refuse those of another trajectory."""
    frames = read_earlier_frames(path)
    if not frames:
        return []
    before, now = frames[0].info.get(_PROTOCOL, {}), first.info[_PROTOCOL]
    if different := [name for name in now if before.get(name) != now[name]]:
        name = different[0]
        raise InputError(
            f"{path}: a trajectory with {name} {before.get(name)}, not {now[name]}; remove it, or choose "
            "another --output"
        )
    if len(frames[0]) != len(first) or any(
        not np.array_equal(one, other)
        for one, other in (
            (frames[0].numbers, first.numbers),
            (frames[0].positions, first.positions),
            (frames[0].cell.array, first.cell.array),
            (frames[0].pbc, first.pbc),
        )
    ):
        raise InputError(
            f"{path}: a trajectory of another structure than {source(first)}; remove it, or choose another "
            "--output"
        )
    return frames
