"""Trajectories in a field, against ASE, analytic answers and conservation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator, all_changes
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet
from matscipy.neighbours import neighbour_list

from equivar_jax.calculators.field_strength import StrongFieldWarning
from equivar_jax.errors import InputError
from equivar_jax.response.dynamics.moving_charges import FixedCharges
from equivar_jax.response.dynamics.springs import springs_between
from equivar_jax.response.dynamics.system import ConstantField, from_energy, make_system
from equivar_jax.response.dynamics.verlet import evolve, initial_state, simulate, start
from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs, rock_salt

ALONG, ACROSS = 8.0, 1.5


def warm_crystal(seed=0):
    """Rock salt with velocities, and tensors without any symmetry that sum to zero."""
    crystal, rng = rock_salt(), np.random.default_rng(seed)
    crystal.rattle(0.02, seed=seed)
    crystal.set_velocities(rng.normal(scale=0.02, size=(8, 3)))
    tensors = np.sign(crystal.numbers - 10.0)[:, None, None] * 2 * np.eye(3) + rng.normal(size=(8, 3, 3))
    return crystal, tensors - tensors.mean(axis=0)


def springs():
    return springs_between(rock_salt(), 2.2, ALONG, ACROSS)


def swinging(time):
    """A field that turns."""
    return 0.05 * jnp.stack([jnp.cos(0.11 * time), jnp.sin(0.07 * time), 0.3 + 0.0 * time])


def turning_charges(tensors, scale=0.4):
    """Tensors that depend on where the atoms are."""
    rest = rock_salt().positions

    def charges(positions, _):
        return tensors * (1.0 + scale * jnp.sin(positions - rest)[:, :, None]), jnp.zeros((), bool)

    return charges


class InField(Calculator):
    """The harmonic crystal with `F_ib = sum_a E_a Z_iab` added."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, crystal, field):
        super().__init__()
        self.crystal, self.field = crystal, field

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        copy = atoms.copy()
        copy.calc = self.crystal
        forces = copy.get_forces() + np.einsum("a,iab->ib", self.field, self.crystal.charges)
        self.results = {"energy": copy.get_potential_energy(), "forces": forces}


def test_trajectory_is_that_of_ase(float64):
    crystal, tensors = warm_crystal()
    field = np.array([0.05, -0.02, 0.03])
    system = make_system(crystal, springs(), FixedCharges(tensors), field)
    state, records = simulate(system, start(system, crystal), 1.0, 100)

    constants = nearest_neighbour_springs(rock_salt(), ALONG, ACROSS)
    crystal.calc = InField(HarmonicCrystal(rock_salt(), constants, tensors), field)
    temperatures = []
    dynamics = VelocityVerlet(crystal, timestep=1.0 * units.fs)
    dynamics.attach(lambda: temperatures.append(crystal.get_temperature()), interval=10)
    dynamics.run(100)
    np.testing.assert_allclose(state.positions, crystal.positions, atol=1e-9)
    np.testing.assert_allclose(state.velocities, crystal.get_velocities(), atol=1e-9)
    total = state.forces + np.einsum("a,iab->ib", field, np.asarray(state.charges))
    np.testing.assert_allclose(total, crystal.get_forces(), atol=1e-9)
    np.testing.assert_allclose(records.temperature, temperatures[1:], rtol=1e-9)
    np.testing.assert_allclose(records.time, np.arange(10, 101, 10), rtol=1e-12)


def test_field_that_changes_and_charges_that_move(float64):
    """The recurrence x(t+dt) = 2 x(t) - x(t-dt) + dt² a(t), with the field and charges of time t."""
    crystal, tensors = warm_crystal()
    charges, dt = turning_charges(tensors), 0.7 * units.fs
    system = make_system(crystal, springs(), charges, swinging)
    _, path = simulate(
        system, start(system, crystal), 0.7, 60, record_every=1, observe=lambda _, state: state.positions
    )
    constants = nearest_neighbour_springs(rock_salt(), ALONG, ACROSS)

    def acceleration(positions, number):
        forces = -np.einsum("ijab,jb->ia", constants, positions - rock_salt().positions)
        tensors = np.asarray(charges(positions, None)[0])
        forces += np.einsum("a,iab->ib", np.asarray(swinging(0.7 * number)), tensors)
        return forces / crystal.get_masses()[:, None]

    last = crystal.positions
    now = last + dt * crystal.get_velocities() + 0.5 * dt**2 * acceleration(last, 0)
    for number in range(1, 61):
        np.testing.assert_allclose(path[number - 1], now, atol=1e-10)
        last, now = now, 2 * now - last + dt**2 * acceleration(now, number)


def test_optical_mode_in_a_constant_field(float64):
    """x(t) = x_eq (1 - cos(w t)), where Verlet has cos(w dt) = 1 - (omega dt)² / 2 (derived)."""
    crystal, charge, field = rock_salt(), 2.0, 0.03
    tensors = charge * np.where(crystal.numbers == 12, 1.0, -1.0)[:, None, None] * np.eye(3)
    system = make_system(crystal, springs(), FixedCharges(tensors), (0.0, field, 0.0))
    _, records = simulate(system, start(system, crystal), 2.0, 200, record_every=1)
    mu = 1 / np.sum(1 / crystal.get_masses()[[0, 1]])
    assert crystal.get_chemical_symbols()[:2] == ["Mg", "O"]
    square = (2 * ALONG + 4 * ACROSS) / mu
    phase = np.arccos(1 - square * (2.0 * units.fs) ** 2 / 2) * np.arange(1, 201)
    swing = charge * field / (mu * square) * (1 - np.cos(phase))
    expected = 4 * charge * swing / crystal.get_volume()
    np.testing.assert_allclose(records.polarisation[:, 1], expected, atol=1e-12)
    np.testing.assert_allclose(records.polarisation[:, [0, 2]], 0.0, atol=1e-12)


@pytest.mark.parametrize("charges_every", [1, 5])
def test_energy_less_work_is_conserved(float64, charges_every):
    """K + V - W - dt²/8 sum F²/m is constant in a harmonic crystal, for any field and charges (derived)."""
    crystal, tensors = warm_crystal()
    system = make_system(crystal, springs(), turning_charges(tensors), swinging)

    def observe(system, state):
        forces = state.forces + jnp.einsum("a,iab->ib", state.field, state.charges)
        correction = (1.0 * units.fs) ** 2 / 8 * jnp.sum(forces**2 / system.masses[:, None])
        kinetic = 0.5 * jnp.sum(system.masses[:, None] * state.velocities**2)
        return kinetic + state.energy - state.work, correction, state.work

    begin = start(system, crystal)
    _, (total, correction, work) = simulate(system, begin, 1.0, 500, charges_every, 5, observe)
    at_start = observe(system, begin)
    exact = np.append(at_start[0] - at_start[1], total - correction)
    assert np.ptp(exact) < 1e-11
    assert np.ptp(work) > 0.05
    assert np.ptp(total) <= np.ptp(correction) + 1e-11


def test_work_of_a_constant_field_is_volume_field_change_of_polarisation(float64):
    crystal, tensors = warm_crystal()
    field = np.array([0.05, -0.02, 0.03])
    system = make_system(crystal, springs(), turning_charges(tensors), field)
    _, records = simulate(system, start(system, crystal), 1.0, 100)
    np.testing.assert_allclose(
        records.work, crystal.get_volume() * records.polarisation @ field, rtol=1e-9, atol=1e-12
    )


def test_charges_are_computed_every_so_often(float64):
    """Between, they are those of the last time; polarisation is the trapezoid over longer pieces."""
    crystal, tensors = warm_crystal()
    charges = turning_charges(tensors)
    system = make_system(crystal, springs(), charges, swinging)

    def observe(_, state):
        return state.positions, state.charges, state.polarisation

    _, (path, held, polarisation) = simulate(system, start(system, crystal), 1.0, 40, 4, 4, observe)
    for positions, tensors in zip(path, held, strict=True):
        np.testing.assert_allclose(tensors, charges(positions, None)[0], atol=1e-13)
    places = np.concatenate([crystal.positions[None], path])
    tensors = np.array([charges(positions, None)[0] for positions in places])
    pieces = np.einsum("tiab,tib->ta", (tensors[1:] + tensors[:-1]) / 2, np.diff(places, axis=0))
    expected = np.cumsum(pieces, axis=0) / crystal.get_volume()
    np.testing.assert_allclose(polarisation, expected, atol=1e-13)


def repulsion(positions, pairs):
    """1/2 sum_ij (1 - r/3)³ within 3 Å, in eV."""
    distances = jnp.linalg.norm(pairs.vectors(positions), axis=1)
    energies = jnp.where(pairs.is_pair & (distances < 3.0), (1 - distances / 3.0) ** 3, 0.0)
    return 0.5 * 40.0 * jnp.sum(energies)


def test_potential_of_pairs_whose_list_is_renewed(float64):
    """Energy as matscipy's neighbours give it, and conserved while atoms flow."""
    crystal, tensors = warm_crystal()
    crystal.set_velocities(20 * crystal.get_velocities())
    system = make_system(
        crystal, from_energy(repulsion), FixedCharges(tensors), (0.0, 0.0, 0.0), cutoff=3.0, room=4.0
    )
    state, records = simulate(system, start(system, crystal), 0.25, 800)
    assert int(state.pairs.builds) > 5
    crystal.positions = np.asarray(state.positions)
    distances = neighbour_list("d", atoms=crystal, cutoff=3.0)
    assert float(state.energy) == pytest.approx(20.0 * np.sum((1 - distances / 3.0) ** 3), rel=1e-10)
    total = records.kinetic + records.potential
    assert np.ptp(records.potential) > 1.0
    assert np.ptp(total) < 2e-3 * np.ptp(records.potential)


def test_another_field_compiles_nothing_anew_and_many_fields_are_one_program(float64):
    crystal, tensors = warm_crystal()

    def system(strength):
        return make_system(crystal, springs(), FixedCharges(tensors), (0.0, 0.0, strength))

    begin = start(system(0.0), crystal)
    before = evolve._cache_size(), initial_state._cache_size()
    ends = [simulate(system(strength), begin, 1.0, 30)[0] for strength in (0.0, 0.02, 0.04)]
    simulate(system(0.01), ends[0], 0.5, 30)
    assert (evolve._cache_size(), initial_state._cache_size()) == (before[0] + 1, before[1])

    @jax.vmap
    def together(strength):
        base, field = system(0.0), ConstantField(strength * jnp.array([0.0, 0.0, 1.0]))
        driven = make_system(crystal, base.potential, base.charges, field)
        return evolve(driven, begin, 1.0, 30)[0].polarisation

    found = together(jnp.array([0.0, 0.02, 0.04]))
    np.testing.assert_allclose(found, [end.polarisation for end in ends], atol=1e-14)


def test_single_precision(recwarn):
    crystal, tensors = warm_crystal()
    system = make_system(crystal, springs(), FixedCharges(tensors), swinging)
    state, records = simulate(system, start(system, crystal), 1.0, 50)
    assert {leaf.dtype for leaf in jax.tree.leaves((state._replace(overflow=None), records))} == {
        np.dtype("float32")
    }


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"timestep": 0.0}, "time step of 0.0 fs"),
        ({"timestep": float("nan")}, "time step of nan fs"),
        ({"steps": 0}, "0 steps"),
        ({"steps": 95}, "95 steps, a record every 10"),
        ({"charges_every": 3}, "charges every 3"),
        ({"timestep": 1000.0, "steps": 2000}, "no longer finite after 2000 steps of 1000.0 fs"),
    ],
)
def test_settings_that_give_no_trajectory(float64, settings, fault):
    crystal, tensors = warm_crystal()
    system = make_system(crystal, springs(), FixedCharges(tensors), (0.0, 0.0, 0.0))
    with pytest.raises(InputError, match=fault):
        simulate(system, start(system, crystal), **{"timestep": 1.0, "steps": 100, **settings})


def test_too_little_room_for_pairs_is_an_error(float64):
    """Eight atoms fly together from a loose crystal."""
    crystal = rock_salt(lattice_constant=7.0)
    centre = crystal.positions.mean(axis=0)
    crystal.set_velocities(0.1 * (centre - crystal.positions))
    still = make_system(
        crystal,
        from_energy(lambda positions, _: 0.0 * jnp.sum(positions)),
        FixedCharges(np.zeros((8, 3, 3))),
        (0.0, 0.0, 0.0),
        cutoff=3.0,
    )
    with pytest.raises(InputError, match="larger room"):
        simulate(still, start(still, crystal), 1.0, 60)


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        ((0.0, 0.1), "give three numbers in V/Å"),
        ((0.0, 0.1, float("nan")), "give three numbers in V/Å"),
        (lambda time: np.array([0.0, 0.0, float(time)]), "not a JAX function"),
        (lambda time: jnp.sin(time), r"returns shape \(\)"),
    ],
)
def test_fields_that_are_none(field, fault):
    crystal, tensors = warm_crystal()
    with pytest.raises(InputError, match=fault):
        make_system(crystal, springs(), FixedCharges(tensors), field)


def test_molecules_are_refused():
    water = Atoms("OH2", positions=[[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    with pytest.raises(InputError, match="periodic along 0 directions"):
        make_system(water, springs(), FixedCharges(np.zeros((3, 3, 3))), (0.0, 0.0, 0.0))


def test_constraints_are_refused_because_they_would_be_lost():
    atoms = rock_salt()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match=r"constraints \(FixAtoms\).*set_constraint"):
        make_system(atoms, springs(), FixedCharges(np.zeros((8, 3, 3))), [0.0, 0.0, 0.1])


def test_fields_beyond_what_a_crystal_stands_are_warned_of(float64):
    atoms, charges = rock_salt(), FixedCharges(np.zeros((8, 3, 3)))
    with pytest.warns(StrongFieldWarning, match="2 V/Å is 200000 kV/cm"):
        constant = make_system(atoms, springs(), charges, [0.0, 0.0, 2.0])
    simulate(constant, start(constant, atoms), 1.0, 10)  # said already
    rising = make_system(atoms, springs(), charges, lambda time: jnp.array([0.0, 0.0, 0.15]) * time)
    state, _ = simulate(rising, start(rising, atoms), 0.5, 10)  # to 0.75 V/Å
    with pytest.warns(StrongFieldWarning, match="of 1.5 V/Å"):
        simulate(rising, state, 0.5, 10)
