"""Molecular dynamics in an electric field, compiled as a whole.

    equivar response dynamics --example --checkpoint RUN -o dynamics.png

A crystal of springs with the structure of SrTiO3 is exposed to a pulse of the field. For your own crystal and
potential write a few lines of Python with `make_system` and `simulate` of this package.
"""

import argparse
import functools
import sys
import time
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms, units
from jaxtyping import Array, Float

from equivar_jax.calculators.field_strength import warn_of_strong_field
from equivar_jax.errors import InputError
from equivar_jax.figures import check_picture
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.dynamics.moving_charges import FixedCharges, NetworkCharges, network_charges
from equivar_jax.response.dynamics.picture import draw_dynamics
from equivar_jax.response.dynamics.springs import springs_between
from equivar_jax.response.dynamics.system import System, make_system
from equivar_jax.response.dynamics.verlet import Observables, State, simulate, start
from equivar_jax.response.units import MICROCOULOMB_PER_CM2
from equivar_jax.runtime import use_compilation_cache

LATTICE_CONSTANT = 3.905
"""Lattice constant of cubic SrTiO3 in Å."""
CHARGES = {"Sr": 2.57, "Ti": 7.27, "O along": -5.71, "O across": -2.06}
"""Born effective charges of cubic SrTiO3 from first principles in e, as in ezSCUP, a program for
second-principles models. Those of O are along and across its Ti-O-Ti chain."""
LONGEST_BOND, ALONG, ACROSS = 2.8, 3.0, 0.1
"""All neighbours up to the longest bond (Å) have springs with these constants along and across it (eV/Å²),
which give optical modes from 5 to 20 THz."""
EQUILIBRATION = 500
"""Number of steps without a field, in which half of the kinetic energy becomes potential energy."""


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("amplitude", "centre", "width", "frequency"),
    meta_fields=(),
)
@dataclass(frozen=True)
class Pulse:
    """A pulse of the field, `E(t) = A exp(-(t - t0)² / (2 w²)) cos(2 pi f (t - t0))`."""

    amplitude: Float[Array, "3"] | Float[np.ndarray, "3"]
    """A in V/Å."""
    centre: float | Float[Array, ""]
    """t0 in fs."""
    width: float | Float[Array, ""]
    """w in fs."""
    frequency: float | Float[Array, ""]
    """f in THz."""

    def __call__(self, time: Float[Array, ""]) -> Float[Array, "3"]:
        """Return the field in V/Å at a time in fs."""
        since = time - self.centre
        phase = 2 * jnp.pi * self.frequency * 1e-3 * since
        return jnp.asarray(self.amplitude) * jnp.exp(-0.5 * (since / self.width) ** 2) * jnp.cos(phase)


def perovskite(cells: int) -> Atoms:
    """Make cubic SrTiO3 with so many cells along each edge."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    cell = Atoms("SrTiO3", cell=[LATTICE_CONSTANT] * 3, pbc=True, scaled_positions=places)
    return cell.repeat(cells)


def perovskite_charges(cells: int) -> FixedCharges:
    """Make the fixed charges of `perovskite`, [atom, field, displacement] in e; they obey the sum rule."""
    oxygen = np.full((3, 3), CHARGES["O across"])
    np.fill_diagonal(oxygen, CHARGES["O along"])
    diagonals = np.concatenate([np.full((1, 3), CHARGES["Sr"]), np.full((1, 3), CHARGES["Ti"]), oxygen])
    diagonals -= diagonals.mean(axis=0)
    return FixedCharges(np.tile(diagonals[:, :, None] * np.eye(3), (cells**3, 1, 1)))


def with_thermal_momenta(atoms: Atoms, temperature: float, seed: int = 0) -> Atoms:
    """Copy a structure and give it random momenta of the Maxwell-Boltzmann distribution that sum to zero.

    Args:
        atoms: Any structure.
        temperature: Temperature in K. A harmonic crystal without displacements ends at half of it.
        seed: Seed of the random numbers.
    """
    masses = atoms.get_masses()[:, None]
    momenta = np.random.default_rng(seed).normal(size=(len(atoms), 3)) * np.sqrt(
        masses * units.kB * temperature
    )
    warm = atoms.copy()
    warm.set_momenta(momenta - masses * momenta.sum(axis=0) / masses.sum())
    return warm


def example_system(cells: int, pulse: Pulse, predictor: Predictor | None = None) -> System:
    """Make the system of springs with the structure of SrTiO3 and a pulse of the field.

    Args:
        cells: Number of cells along each edge.
        pulse: The field.
        predictor: A network whose charges act; by default those of `perovskite_charges` act.
    """
    atoms = perovskite(cells)
    charges: FixedCharges | NetworkCharges = (
        perovskite_charges(cells) if predictor is None else network_charges(predictor, atoms, room=2.0)
    )
    potential = springs_between(atoms, LONGEST_BOND, ALONG, ACROSS)
    return make_system(atoms, potential, charges, pulse, room=2.0)


def equilibrate_perovskite(cells: int, temperature: float, timestep: float) -> Atoms:
    """Run the crystal of springs for `EQUILIBRATION` steps without a field, from random momenta.

    Args:
        cells: Number of cells along each edge.
        temperature: Temperature in K that the crystal ends with.
        timestep: Time step in fs.

    Returns:
        The crystal with its last positions and velocities.
    """
    atoms = with_thermal_momenta(perovskite(cells), 2 * temperature)
    quiet = example_system(cells, Pulse(np.zeros(3), 0.0, 1.0, 0.0))
    state, _ = simulate(quiet, start(quiet, atoms), timestep, EQUILIBRATION, record_every=EQUILIBRATION)
    atoms.positions = np.asarray(state.positions)
    atoms.set_velocities(np.asarray(state.velocities))
    return atoms


def run(options: argparse.Namespace) -> None:
    """Run the example and draw it."""
    _check_options(options)
    check_picture(options.output)
    use_compilation_cache()
    predictor = load(options.checkpoint, member=0) if options.checkpoint else None
    if predictor and not predictor.network.config.envelope:
        print(
            f"{options.checkpoint}: a network without an envelope, so its tensors jump where an atom "
            "crosses the cutoff; for dynamics train with --model.envelope True",
            file=sys.stderr,
        )
    with jax.enable_x64(True):
        _run_example(options, predictor)


def _check_options(options: argparse.Namespace) -> None:
    """Refuse options that cannot be used."""
    if not options.example:
        raise InputError(
            "dynamics needs a potential, which is a function in Python (equivar_jax.response.dynamics); "
            "--example runs a crystal of springs"
        )
    if options.cells < 1:
        raise InputError(f"--cells {options.cells}: give a number of at least 1")
    if not 0 <= options.temperature < np.inf:
        raise InputError(f"--temperature {options.temperature}: give a temperature in K of at least 0")
    if not np.isfinite(options.field):
        raise InputError(f"--field {options.field}: give a number in V/Å")
    warn_of_strong_field(np.array([options.field]), "an electric field")


def _run_example(options: argparse.Namespace, predictor: Predictor | None) -> None:
    """Equilibrate the crystal, run the pulse on it and on one cell at rest, and draw both."""
    pulse = Pulse(np.array([0.0, 0.0, options.field]), centre=200.0, width=60.0, frequency=8.0)
    settings = options.timestep, options.steps, options.charges_every, options.charges_every
    cold = example_system(1, pulse, predictor)
    _, at_rest = simulate(cold, start(cold, perovskite(1)), *settings)
    system = example_system(options.cells, pulse, predictor)
    atoms = equilibrate_perovskite(options.cells, options.temperature, options.timestep)
    began = time.perf_counter()
    state, records = jax.block_until_ready(simulate(system, start(system, atoms), *settings))
    seconds = time.perf_counter() - began
    label = "network" if predictor else "fixed charges"
    draw_dynamics(options.output, records, at_rest, len(atoms), f"{options.temperature:g} K, {label}")
    _print_summary(state, records, at_rest, len(atoms))
    print(
        f"{options.output}: {options.steps} steps of {len(atoms)} atoms in {seconds:.1f} s with compilation"
    )


def _print_summary(state: State, records: Observables, at_rest: Observables, atoms: int) -> None:
    """Print temperature, conservation of energy and polarisation of the trajectory."""
    total = np.asarray(records.kinetic + records.potential - records.work)
    polarisation, cold = (np.asarray(r.polarisation[:, 2]) * MICROCOULOMB_PER_CM2 for r in (records, at_rest))
    print(f"temperature: {float(records.temperature.mean()):.1f} K on average")
    print(
        f"kinetic + potential energy - work of the field: within {np.ptp(total) / atoms * 1e3:.2g} meV/atom"
    )
    print(
        f"largest change of polarisation: {np.abs(polarisation).max():.3f} µC/cm², "
        f"{np.abs(cold).max():.3f} at 0 K"
    )
    if state.pairs is not None:
        print(f"list of neighbours: made {int(state.pairs.builds)} times")
