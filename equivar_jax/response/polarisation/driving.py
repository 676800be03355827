"""A crystal driven through a field point by point, in a file that continues.

Every point is made of the one before and of the seed alone: a run that is interrupted goes on from its file,
with the same numbers. At zero temperature the atoms relax in the field of each point; at a temperature
Langevin dynamics leads from point to point, and a point is the mean over its share of the time.
"""

import dataclasses
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.filters import FrechetCellFilter
from ase.io.trajectory import Trajectory
from ase.md.langevin import Langevin
from ase.optimize import FIRE
from jaxtyping import Float

from equivar_jax.calculators.charges import Charges
from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.errors import InputError, input_error_unless_writable
from equivar_jax.response.earlier_frames import read_earlier_frames
from equivar_jax.response.options import WaveForm
from equivar_jax.response.polarisation.follower import MAX_STEP, Follower
from equivar_jax.response.polarisation.moving_cell import MovingCellCalculator, relax_cell
from equivar_jax.response.polarisation.path import Method
from equivar_jax.response.polarisation.protocols import Protocol, sine, steps, triangle
from equivar_jax.structures import source

_DRIVING, _POINT = "driving", "point"


@dataclasses.dataclass(frozen=True)
class Driving:
    """How a crystal is driven: the first quarter leads from no field to the largest, then come cycles."""

    potential: str
    """Name of the potential."""
    charges: str
    """Name of the source of Born charges."""
    wave_form: WaveForm
    amplitude: float
    """Largest field in V/Å."""
    direction: tuple[float, float, float]
    """Of positive fields, of any length."""
    points: int
    """Points in each quarter of a cycle."""
    cycles: int
    """Full cycles after the first quarter."""
    temperature: float
    """In K; at 0 atoms relax in each field."""
    period: float
    """Of the field in fs; not used at 0 K."""
    timestep: float
    """In fs; not used at 0 K."""
    friction: float
    """Of the thermostat in 1/fs; not used at 0 K."""
    largest_force: float
    """When a relaxation ends, in eV/Å; used at 0 K."""
    rattle: float
    """Standard deviation in Å of displacements at the start, which break the symmetry; used at 0 K."""
    seed: int
    repeat: int
    """Number of the run, which has random numbers of its own."""
    cell_moves: bool = False
    """Whether the cell is free in the field."""

    @property
    def total(self) -> int:
        """Points after the first one, which is the start."""
        return self.points * (1 + 4 * self.cycles)

    @property
    def interval(self) -> float:
        """Time between points in fs."""
        return self.period / (4 * self.points)

    @property
    def stride(self) -> int:
        """Time steps from a point to the next."""
        return max(1, round(self.interval / self.timestep))

    @property
    def last_cycle(self) -> slice:
        """The points of the last full cycle, from the largest field to the largest field."""
        return slice(self.total - 4 * self.points, self.total + 1)

    def field(self) -> Protocol:
        """Make the field E in V/Å as a function of the time in fs."""
        if self.wave_form == "sine":
            return sine(self.amplitude, self.period, self.direction)
        straight = triangle(self.amplitude, self.period, self.direction)
        if self.wave_form == "triangle":
            return straight
        ends = self.interval * np.arange(1, self.total + 1)
        unit = np.asarray(self.direction) / np.linalg.norm(self.direction)
        return steps([float(straight(end) @ unit) for end in ends], self.interval, self.direction)

    def random(self, point: int) -> np.random.Generator:
        """Make the random numbers that lead from a point to the next; -1 stands for the start."""
        return np.random.default_rng([self.seed, self.repeat, point + 1])


class Driven(NamedTuple):
    """What came of it, point by point, the start included."""

    field: Float[np.ndarray, "points 3"]
    """E in V/Å: at 0 K that in which the atoms are relaxed, else the mean over the time of the point."""
    polarisation: Float[np.ndarray, "points 3"]
    """P - P(start) in e/Å²; the start is the structure before it was rattled."""
    method: Method


def drive(
    atoms: Atoms,
    potential: BaseCalculator,
    charges: Charges,
    driving: Driving,
    path: Path,
    tick: Callable[[int], Any] = lambda _: None,
) -> Driven:
    """Drive a crystal through the points, or through those that are missing in its file.

    Args:
        atoms: The crystal; a copy of it is moved.
        potential: Calculator of energy and forces without the field, and of the stress if the cell moves.
        charges: Born effective charges of the moving atoms.
        driving: How.
        path: File that ends in .traj, to which each point is added as soon as it is made, with positions,
            field and polarisation.
        tick: Called with the number of points that are done, at first with what was in the file.

    Raises:
        InputError: The file is another run or cannot be written, a relaxation does not end, or the atoms or
            charges cannot be used.
    """
    start = Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc, masses=atoms.get_masses())
    start.info[_DRIVING] = dataclasses.asdict(driving) | {"direction": list(driving.direction)}
    done = _read(path, start)
    tick(len(done))
    with input_error_unless_writable(path, "--output"):
        if len(done) <= driving.total:
            moving = (done[-1] if done else start).copy()
            reached = np.asarray(done[-1].info[_POINT]["reached"]) if done else np.zeros(3)
            with Trajectory(str(path), "a" if done else "w") as written:
                for number in range(len(done), driving.total + 1):
                    # New ones for each point, so that it does not matter where a run was interrupted.
                    kind = MovingCellCalculator if driving.cell_moves else FieldCalculator
                    moving.calc = calculator = kind(potential, charges, np.zeros(3))
                    follower = Follower(moving, calculator, reached, driving.cell_moves)
                    field, mean = _make_point(moving, calculator, follower, driving, number)
                    reached = follower.change
                    moving.info[_POINT] = {
                        "field": field.tolist(),
                        "polarisation": mean.tolist(),
                        "reached": reached.tolist(),
                        "method": follower.method,
                    }
                    frame = moving.copy()
                    frame.calc = None
                    written.write(frame)
                    tick(1)
    done = _read(path, start)[: driving.total + 1]
    rows = [frame.info[_POINT] for frame in done]
    field, polarisation = (np.array([row[name] for row in rows]) for name in ("field", "polarisation"))
    return Driven(field, polarisation, rows[-1]["method"])


def _make_point(
    atoms: Atoms, calculator: FieldCalculator, follower: Follower, driving: Driving, number: int
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Lead the atoms to a point; return its field in V/Å and its polarisation in e/Å²."""
    if number == 0:
        random = driving.random(-1)
        if driving.temperature:
            spread = np.sqrt(atoms.get_masses() * units.kB * driving.temperature)
            atoms.set_momenta(spread[:, None] * random.normal(size=(len(atoms), 3)))
        else:
            atoms.positions += driving.rattle * random.normal(size=(len(atoms), 3))
        return np.zeros(3), follower.advance()
    if driving.temperature:
        return _run_to(atoms, calculator, follower, driving, number)
    # Held fields of the steps begin with the point before; at rest there is no time between them.
    middle = number - 0.5 if driving.wave_form == "steps" else number
    field = driving.field()(middle * driving.interval)
    calculator.field = field
    free = FrechetCellFilter(atoms) if driving.cell_moves else atoms
    relaxation = FIRE(free, logfile=None, maxstep=MAX_STEP)
    relaxation.attach(follower.advance)
    if not relaxation.run(fmax=driving.largest_force, steps=_MOST_STEPS):
        raise InputError(
            f"{source(atoms)}: not relaxed after {_MOST_STEPS} steps at point {number}, in the field "
            f"{np.round(field, 6).tolist()} V/Å; raise --largest-force, or lower --amplitude; charges must "
            "be continuous in the positions (--model.envelope True in training)"
        )
    return field, follower.change


_MOST_STEPS = 2000


def _run_to(
    atoms: Atoms, calculator: FieldCalculator, follower: Follower, driving: Driving, number: int
) -> tuple[Float[np.ndarray, "3"], Float[np.ndarray, "3"]]:
    """Run dynamics to a point; return the means of field in V/Å and polarisation in e/Å² over its time."""
    before, protocol = (number - 1) * driving.stride * driving.timestep, driving.field()
    scale = driving.interval / (driving.stride * driving.timestep)  # a point takes a whole number of steps
    dynamics = Langevin(
        atoms,
        driving.timestep * units.fs,
        temperature_K=driving.temperature,
        friction=driving.friction / units.fs,
        rng=driving.random(number - 1),
        fixcm=False,  # a drift of the whole crystal is no polarisation
    )
    calculator.field = lambda time: protocol(scale * (before + time))
    calculator.follow(dynamics)
    fields, polarisations = [], []

    def record() -> None:
        polarisations.append(follower.advance())
        fields.append(protocol(scale * (before + dynamics.get_time() / units.fs)))

    dynamics.attach(record)
    if driving.cell_moves:
        dynamics.attach(lambda: relax_cell(atoms, dynamics.nsteps, driving.timestep))
    dynamics.run(driving.stride)
    # The first record is the end of the point before.
    mean_field, mean = (np.mean(values[1:], axis=0) for values in (fields, polarisations))
    if not (np.isfinite(mean).all() and np.isfinite(atoms.positions).all()):
        raise InputError(
            f"{source(atoms)}: the dynamics goes to infinity at point {number}; give a smaller --timestep "
            f"than {driving.timestep:g}, or a smaller --amplitude"
        )
    return mean_field, mean


def _read(path: Path, start: Atoms) -> list[Atoms]:
    """Read the points of a file that is there, and refuse those of another run."""
    frames = read_earlier_frames(path)
    if not frames:
        return []
    before, now = frames[0].info.get(_DRIVING, {}), start.info[_DRIVING]
    for name in now:
        # More cycles go on; older files are of fixed cells.
        if before.get(name, False if name == "cell_moves" else None) != now[name] and name != "cycles":
            raise InputError(
                f"{path}: a run with {name} {before.get(name)}, not {now[name]}; remove it, or choose "
                "another --output"
            )
    same = len(frames[0]) == len(start) and np.array_equal(frames[0].numbers, start.numbers)
    moved = math.inf if not same else float(np.abs(frames[0].positions - start.positions).max())
    if moved > 10 * now["rattle"] + 1e-6 or np.abs(frames[0].cell.array - start.cell.array).max() > 1e-8:
        raise InputError(
            f"{path}: a run of another structure than {source(start)}; remove it, or choose another --output"
        )
    return frames
