"""P-E loop of a crystal in an alternating field.

    equivar response hysteresis --example -o loop.png
    equivar response hysteresis BaTiO3.cif --potential sevenn --amplitude 5000 -o loop.png

The force on the atoms is `F_ib = F_ib(potential) + e sum_a E_a Z[i, a, b]`. The polarisation is that of the
network, if it is one of the form "polarisation", else the sum of Z du / V along the path of the atoms, which
after many cycles has the errors of as many steps. The cell is fixed, but for `--cell move`. A small cell
switches homogeneously, without domain walls, so that its coercive field exceeds measured ones by orders of
magnitude.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator
from ase.md.langevin import Langevin
from ase.optimize import FIRE
from jaxtyping import Float

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges
from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.errors import InputError
from equivar_jax.figures import check_picture
from equivar_jax.prediction.loading import load
from equivar_jax.response.options import EXAMPLE_POINTS
from equivar_jax.response.polarisation.ferroelectric import SoftModeCrystal, barium_titanate
from equivar_jax.response.polarisation.follower import MAX_STEP, Follower
from equivar_jax.response.polarisation.loop_report import LoopFigures, draw_loop, measure_loop, write_loop
from equivar_jax.response.polarisation.path import Method
from equivar_jax.response.polarisation.path_report import describe_method
from equivar_jax.response.polarisation.protocols import Protocol, triangle
from equivar_jax.response.units import KILOVOLT_PER_CM, MICROCOULOMB_PER_CM2
from equivar_jax.structures import BEC, source


class Loop(NamedTuple):
    """Field and polarisation, point by point."""

    field: Float[np.ndarray, "points 3"]
    """E in V/Å, Cartesian components."""
    polarisation: Float[np.ndarray, "points 3"]
    """P - P(structure at the start) in e/Å². With a centrosymmetric start this is P itself."""
    method: Method = "integral"


def quasi_static_loop(
    atoms: Atoms,
    potential: BaseCalculator,
    charges: Charges,
    fields: Float[np.ndarray, "points 3"],
    fmax: float = 1e-4,
    max_steps: int = 2000,
) -> Loop:
    """Relax the atoms in one field after the other: the loop at zero temperature and frequency.

    Each relaxation (FIRE) starts where the one before ended, so that the crystal stays in its well until the
    well vanishes.

    Args:
        atoms: The crystal; a copy of it is moved, in a fixed cell.
        potential: Calculator of energy and forces without the field.
        charges: Born effective charges of the moving atoms.
        fields: E in V/Å, in the order in which they act.
        fmax: A relaxation ends when no force is larger than this, in eV/Å.
        max_steps: Largest number of steps of each relaxation.

    Raises:
        InputError: A relaxation does not end, or the atoms or charges cannot be used.
    """
    atoms = atoms.copy()
    atoms.calc = calculator = FieldCalculator(potential, charges, np.zeros(3))
    follower = Follower(atoms, calculator)
    polarisation = []
    for field in fields:
        calculator.field = field
        relaxation = FIRE(atoms, logfile=None, maxstep=MAX_STEP)
        relaxation.attach(follower.advance)
        if not relaxation.run(fmax=fmax, steps=max_steps):
            raise InputError(
                f"{source(atoms)}: not relaxed after {max_steps} steps in the field "
                f"{np.round(field, 6).tolist()} V/Å; raise fmax or max_steps, and use charges that are "
                "continuous in the positions (--model.envelope True in training)"
            )
        polarisation.append(follower.change)
    return Loop(np.array(fields), np.array(polarisation), follower.method)


def thermal_loop(
    atoms: Atoms,
    potential: BaseCalculator,
    charges: Charges,
    protocol: Protocol,
    duration: float,
    temperature: float,
    *,
    timestep: float = 1.0,
    friction: float = 0.005,
    points: int = 600,
    seed: int = 0,
) -> Loop:
    """Run Langevin dynamics in a field that changes with time: the loop at a temperature.

    Args:
        atoms: The crystal; a copy of it is moved. Its velocities are replaced by random ones.
        potential: Calculator of energy and forces without the field.
        charges: Born effective charges of the moving atoms.
        protocol: Function from the time in fs to E in V/Å.
        duration: Length of the run in fs.
        temperature: Temperature in K.
        timestep: Time step in fs.
        friction: Friction of the thermostat in 1/fs.
        points: Number of points of the loop; each is the mean over its share of the duration.
        seed: Seed of the velocities and the thermostat.

    Raises:
        InputError: A number is not positive, or there are fewer time steps than points.
    """
    if min(duration, temperature, timestep, friction, points) <= 0:
        raise InputError(
            f"duration {duration} fs, temperature {temperature} K, time step {timestep} fs, friction "
            f"{friction} 1/fs, {points} points: give positive numbers"
        )
    stride = round(duration / timestep / points)
    if stride < 1:
        raise InputError(
            f"{points} points from {duration} fs in steps of {timestep} fs; give a longer duration, or fewer "
            "points"
        )
    atoms, random = atoms.copy(), np.random.default_rng(seed)
    atoms.calc = calculator = FieldCalculator(potential, charges, protocol)
    spread = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(spread[:, None] * random.normal(size=(len(atoms), 3)))
    dynamics = Langevin(
        atoms,
        timestep * units.fs,
        temperature_K=temperature,
        friction=friction / units.fs,
        rng=random,
        fixcm=False,  # a drift of the whole crystal is no polarisation
    )
    calculator.follow(dynamics)
    follower = Follower(atoms, calculator)
    field, polarisation = [], []

    def record() -> None:
        polarisation.append(follower.advance())
        field.append(protocol(dynamics.get_time() / units.fs))

    dynamics.attach(record)
    dynamics.run(stride * points)
    # The first record is the start.
    means = [np.reshape(values[1:], (points, stride, 3)).mean(axis=1) for values in (field, polarisation)]
    return Loop(means[0], means[1], follower.method)


def run(options: argparse.Namespace) -> None:
    """Drive a crystal through a loop; write the picture and the numbers."""
    if options.potential is not None or options.structure is not None:
        from equivar_jax.response.polarisation.from_potential import run_with_potential

        run_with_potential(options)
        return
    options.points = EXAMPLE_POINTS if options.points is None else options.points
    if not (options.example or options.checkpoint):
        raise InputError(
            "give a structure and --potential; or --example (fixed charges) or --checkpoint RUN (those of a "
            "model), on model BaTiO3"
        )
    if options.repeat < 1 or options.points < 4 or not options.temperature >= 0:
        raise InputError("give --repeat of 1 or more, --points of 4 or more and no negative --temperature")
    output = Path(options.output)
    check_picture(output)
    reference = barium_titanate([options.repeat] * 3)
    crystal = SoftModeCrystal(reference)
    charges: BaseCalculator = crystal
    if options.checkpoint:
        charges = EquivarCalculator(load(options.checkpoint), allow_unseen=options.allow_unseen)
    if options.amplitude is None:
        amplitude = 1.5 * crystal.coercive_field(charges.get_property(BEC, reference))
    else:
        amplitude = options.amplitude / KILOVOLT_PER_CM
    protocol = triangle(amplitude, 1000 * options.period)
    duration, points = 1.25 * 1000 * options.period, 5 * options.points
    if options.temperature:
        loop = thermal_loop(
            reference,
            crystal,
            charges,
            protocol,
            duration,
            options.temperature,
            points=points,
            seed=options.seed,
        )
    else:
        fields = np.array([protocol(time) for time in np.linspace(0.0, duration, points + 1)])
        loop = quasi_static_loop(reference, crystal, charges, fields)
    field, polarisation = loop.field[:, 2], loop.polarisation[:, 2]
    # The first quarter leads from the cubic crystal to the largest field; one full cycle follows.
    found = measure_loop(field[options.points :], polarisation[options.points :])
    landau = None if options.checkpoint or options.temperature else crystal.landau_field
    draw_loop(output, field, polarisation, found, options.points, landau)
    numbers = write_loop(output.with_suffix(".json"), field, polarisation, found, loop.method)
    _print_figures(found, crystal)
    print(f"polarisation: {describe_method(loop.method)}")
    print(f"{output} and {numbers}: {len(field)} points")


def _print_figures(found: LoopFigures, crystal: SoftModeCrystal) -> None:
    """Print the figures of the loop, and those of Landau's theory with the fixed charges."""
    low, high = (value * KILOVOLT_PER_CM for value in found.coercive_field)
    down, up = (value * MICROCOULOMB_PER_CM2 for value in found.remanent_polarisation)
    print(f"coercive field (kV/cm): {low:.0f} and {high:.0f}")
    print(f"remanent polarisation (µC/cm²): {down:.2f} and {up:.2f}")
    print(
        "homogeneous switching at zero temperature with the fixed charges: "
        f"{crystal.coercive_field() * KILOVOLT_PER_CM:.0f} kV/cm, "
        f"{crystal.spontaneous_polarisation * MICROCOULOMB_PER_CM2:.2f} µC/cm²"
    )
    print("real crystals switch by domain walls, in fields orders of magnitude lower")
