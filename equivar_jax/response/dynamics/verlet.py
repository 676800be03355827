"""Molecular dynamics in an electric field as one compiled program: velocity Verlet inside `jax.lax.scan`.

    m_i dv_i/dt = F_i(x) + e E(t) Z_i(x)

The base potential gives F, and a network or fixed tensors give Z. The cell is fixed. The field does the work
`W = sum_i integral E Z_i dx_i` and changes the polarisation by `dP = (1/V) sum_i integral Z_i dx_i`. Both are
computed with the trapezoidal rule, so that `W = V E dP` in a constant field with new charges at every step.
The conserved quantity is kinetic + potential energy - W. In a harmonic crystal velocity Verlet changes it by
no more than `dt^2/8 sum_i F_i^2 / m_i` changes, where F includes the forces of the field (derived: the
difference of the two is constant).

Where Z are derivatives of a polarisation P that a network gives, nothing is integrated: dP is the difference
of P at the ends, and with new charges at every step `W = sum over steps of V (E + E') / 2 (P' - P)`. In a
constant field kinetic + potential energy - V E.(P - P0), P0 at the start, is then conserved as an energy is,
however long the trajectory; the trapezoidal rule makes an error at each step, and these add up.

All quantities have ASE's units (Å, eV, u) internally; times are given in fs and fields in V/Å.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms, units
from jaxtyping import Array, Bool, Float

from equivar_jax.calculators.field_strength import warn_of_strong_field
from equivar_jax.errors import InputError
from equivar_jax.response.dynamics.moving_charges import charges_and_dipole, has_polarisation
from equivar_jax.response.dynamics.system import ConstantField, System
from equivar_jax.response.dynamics.verlet_list import PairList, build_list, renew_list


class State(NamedTuple):
    """Everything that changes from step to step."""

    time: Float[Array, ""]
    """Time in fs."""
    positions: Float[Array, "atoms 3"]
    """Positions in Å; atoms that leave the cell are not put back."""
    velocities: Float[Array, "atoms 3"]
    """Velocities in ASE's unit, sqrt(eV/u)."""
    energy: Float[Array, ""]
    """Energy of the base potential in eV."""
    forces: Float[Array, "atoms 3"]
    """Forces of the base potential in eV/Å."""
    field: Float[Array, "3"]
    """Electric field in V/Å."""
    charges: Float[Array, "atoms 3 3"]
    """Charges [atom, field, displacement] in e, as computed at `charged_at`."""
    charged_at: Float[Array, "atoms 3"]
    """Positions in Å for which the charges were last computed."""
    dipole: Float[Array, "3"]
    """V P at `charged_at` in e Å up to a constant, where the charges have a polarisation; else 0."""
    polarisation: Float[Array, "3"]
    """Change of polarisation from the start to `charged_at`, in e/Å²."""
    work: Float[Array, ""]
    """Work of the field since the start, in eV."""
    pairs: PairList | None
    overflow: Bool[Array, ""]
    """Whether there ever was too little room for pairs or edges, so that the trajectory is worthless."""


class Observables(NamedTuple):
    """The quantities that are recorded by default."""

    time: Float[Array, "..."]
    """Time in fs."""
    field: Float[Array, "... 3"]
    """Electric field in V/Å."""
    polarisation: Float[Array, "... 3"]
    """Change of polarisation since the start in e/Å²."""
    potential: Float[Array, "..."]
    """Energy of the base potential in eV."""
    kinetic: Float[Array, "..."]
    """Kinetic energy in eV."""
    work: Float[Array, "..."]
    """Work of the field since the start, in eV."""
    temperature: Float[Array, "..."]
    """Temperature in K: 2/3 of the kinetic energy per atom over k, as ASE defines it."""


@jax.jit
def initial_state(
    system: System, positions: Float[Array, "atoms 3"], velocities: Float[Array, "atoms 3"]
) -> State:
    """Make the state at time zero from arrays.

    Args:
        system: The constant part, from `make_system`.
        positions: Positions in Å; their precision is that of the trajectory.
        velocities: Velocities in ASE's unit, as `ase.Atoms.get_velocities` returns them.
    """
    dtype = positions.dtype
    pairs = None if system.plan is None else build_list(system.plan, positions)
    energy, forces = system.potential(positions, pairs)
    charges, dipole, overflow = charges_and_dipole(system.charges, positions, pairs)
    zero = jnp.zeros((), dtype)
    return State(
        time=zero,
        positions=positions,
        velocities=velocities.astype(dtype),
        energy=energy.astype(dtype),
        forces=forces.astype(dtype),
        field=system.field(zero).astype(dtype),
        charges=charges,
        charged_at=positions,
        dipole=dipole,
        polarisation=jnp.zeros(3, dtype),
        work=zero,
        pairs=pairs,
        overflow=overflow if pairs is None else overflow | pairs.overflow,
    )


def observables(system: System, state: State) -> Observables:
    """Compute energies, temperature, field and polarisation of a state."""
    kinetic = 0.5 * jnp.sum(system.masses[:, None] * state.velocities**2)
    return Observables(
        time=state.time,
        field=state.field,
        polarisation=state.polarisation,
        potential=state.energy,
        kinetic=kinetic,
        work=state.work,
        temperature=2 * kinetic / (3 * len(system.masses) * units.kB),
    )


@functools.partial(jax.jit, static_argnames=("steps", "charges_every", "record_every", "observe"))
def evolve(
    system: System,
    state: State,
    timestep: float | Float[Array, ""],
    steps: int,
    charges_every: int = 1,
    record_every: int = 10,
    observe: Callable[[System, State], Any] = observables,
) -> tuple[State, Any]:
    """Run a trajectory as one pure function, for `jit` and `vmap`.

    Nothing is checked; `simulate` checks the settings before and the outcome after.

    Args:
        system: The constant part, from `make_system`.
        state: State to begin with.
        timestep: Time step in fs.
        steps: Number of steps, a multiple of `record_every`.
        charges_every: Number of steps from one computation of the charges to the next; in between they are
            held constant.
        record_every: Number of steps from one record to the next, a multiple of `charges_every`.
        observe: Function of (system, state) that returns what to record, a tree of arrays.

    Returns:
        The last state, and the records, [steps / record_every, ...], the first after `record_every` steps.
    """

    def step(state: State, number: Array) -> tuple[State, None]:
        is_new = None if charges_every == 1 else number % charges_every == 0
        return _step(system, state, timestep, is_new), None

    def step_and_record(state: State, _: None) -> tuple[State, Any]:
        state, _ = jax.lax.scan(step, state, jnp.arange(1, record_every + 1))
        return state, observe(system, state)

    return jax.lax.scan(step_and_record, state, length=steps // record_every)


def _step(
    system: System, state: State, timestep: float | Float[Array, ""], with_charges: Bool[Array, ""] | None
) -> State:
    """Do one step of velocity Verlet: half a kick, drift, new forces, half a kick.

    Args:
        system: The constant part.
        state: The state before the step.
        timestep: Time step in fs.
        with_charges: Whether the charges are computed in this step; None if they are in every step.
    """
    dtype = state.positions.dtype
    dt = jnp.asarray(timestep * units.fs, dtype)
    half_kick = 0.5 * dt / jnp.asarray(system.masses, dtype)[:, None]
    before, push = state, _field_forces(state)
    velocities = state.velocities + half_kick * (state.forces + push)
    moved = dt * velocities
    positions = state.positions + moved

    pairs = state.pairs
    if pairs is not None and system.plan is not None:
        pairs = renew_list(system.plan, pairs, positions)
    energy, forces = system.potential(positions, pairs)
    time = state.time + timestep
    state = state._replace(
        time=time.astype(dtype),
        positions=positions,
        energy=energy.astype(dtype),
        forces=forces.astype(dtype),
        field=system.field(time).astype(dtype),
        pairs=pairs,
        overflow=state.overflow if pairs is None else state.overflow | pairs.overflow,
    )
    if with_charges is None:
        state = _update_charges(system, state)
    else:
        update = functools.partial(_update_charges, system)
        state = jax.lax.cond(with_charges, update, lambda held: held, state)
    new_push = _field_forces(state)
    if with_charges is None and has_polarisation(system.charges):
        work = (before.field + state.field) / 2 @ (state.dipole - before.dipole)
    else:  # charges that are held are no derivatives
        work = jnp.sum((push + new_push) / 2 * moved)
    return state._replace(
        velocities=velocities + half_kick * (state.forces + new_push), work=state.work + work
    )


def _update_charges(system: System, state: State) -> State:
    """Compute the charges at the present positions, and update the polarisation."""
    charges, dipole, overflow = charges_and_dipole(system.charges, state.positions, state.pairs)
    if has_polarisation(system.charges):
        change = dipole - state.dipole
    else:
        moved = state.positions - state.charged_at
        change = jnp.einsum("iab,ib->a", (charges + state.charges) / 2, moved)
    return state._replace(
        charges=charges,
        charged_at=state.positions,
        dipole=dipole,
        polarisation=state.polarisation + change / system.volume,
        overflow=state.overflow | overflow,
    )


def _field_forces(state: State) -> Float[Array, "atoms 3"]:
    """Compute the forces of the field, `F_ib = e sum_a E_a Z_iab`, in eV/Å."""
    return jnp.einsum("a,iab->ib", state.field, state.charges)


def start(system: System, atoms: Atoms) -> State:
    """Make the state at time zero with the positions and velocities of `atoms`.

    Its precision is the default of JAX. For a conserved energy use double precision, which `jax_enable_x64`
    switches on.
    """
    return initial_state(system, jnp.asarray(atoms.positions), jnp.asarray(atoms.get_velocities()))


def simulate(
    system: System,
    state: State,
    timestep: float,
    steps: int,
    charges_every: int = 1,
    record_every: int = 10,
    observe: Callable[[System, State], Any] = observables,
) -> tuple[State, Any]:
    """Run a trajectory, and check the settings before and the outcome after.

    Args:
        system: The constant part, from `make_system`.
        state: State to begin with, from `start` or an earlier trajectory.
        timestep: Time step in fs.
        steps: Number of steps, a multiple of `record_every`.
        charges_every: Number of steps from one computation of the charges to the next; in between they are
            held constant.
        record_every: Number of steps from one record to the next, a multiple of `charges_every`.
        observe: Function of (system, state) that returns what to record, a tree of arrays.

    Returns:
        The last state, and the records, [steps / record_every, ...], the first after `record_every` steps.

    Raises:
        InputError: The settings do not go together, there was too little room for pairs, or positions,
            velocities or polarisation are no longer finite.
    """
    if not 0 < timestep < math.inf:
        raise InputError(f"time step of {timestep} fs: give a positive time")
    if min(steps, charges_every, record_every) < 1 or steps % record_every or record_every % charges_every:
        raise InputError(
            f"{steps} steps, a record every {record_every}, charges every {charges_every}: give positive "
            "numbers, each a multiple of the next"
        )
    settings = {"charges_every": charges_every, "record_every": record_every, "observe": observe}
    state, records = evolve(system, state, timestep, steps=steps, **settings)
    if bool(state.overflow):
        raise InputError(
            "more neighbours than there was room for, so the trajectory is worthless; make the system and "
            "the network's charges with a larger room, or shorten the time step if the crystal flew apart"
        )
    if not all(bool(jnp.isfinite(x).all()) for x in (state.positions, state.velocities, state.polarisation)):
        raise InputError(
            f"positions or velocities are no longer finite after {steps} steps of {timestep} fs; shorten the "
            "time step, or check potential, charges and field"
        )
    if not isinstance(system.field, ConstantField):  # of a constant one `make_system` has warned
        times = float(state.time) - timestep * np.arange(steps + 1)
        warn_of_strong_field(np.asarray(jax.vmap(system.field)(jnp.asarray(times))), "an electric field")
    return state, records
