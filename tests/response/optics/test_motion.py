"""Displacements, velocities and temperature of trajectories: fixed atoms, changing cells, contradictions."""

import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator
from ase.constraints import (
    FixAtoms,
    FixBondLengths,
    FixCartesian,
    FixCom,
    FixConstraint,
    FixedLine,
    FixedPlane,
    Hookean,
)
from ase.md.langevin import Langevin
from helpers.random_crystals import TEMPERATURE, frames_of, random_crystal, thermal

from equivar_jax.errors import InputError
from equivar_jax.response.optics.dipole import dipole_rates
from equivar_jax.response.optics.motion import (
    MotionWarning,
    displacements,
    mean_temperature,
    warn_of_other_temperature,
)
from equivar_jax.response.optics.spectra import absorption, power_spectrum
from equivar_jax.response.phonons.gamma import gamma_modes


@pytest.fixture(scope="module")
def moving():
    atoms, constants, charges = random_crystal(7)
    return atoms, charges, *thermal(gamma_modes(atoms, constants), 2000, 0.5)


# Temperature


def gas(count=40, temperature=300.0, frames=400, seed=0):
    """Frames of independent Maxwell-Boltzmann velocities."""
    rng = np.random.default_rng(seed)
    atoms = Atoms("MgO" * (count // 2), positions=rng.uniform(0, 20, (count, 3)), cell=[20] * 3, pbc=True)
    spread = np.sqrt(units.kB * temperature / atoms.get_masses())[:, None]
    found = []
    for _ in range(frames):
        found.append(atoms.copy())
        found[-1].set_velocities(spread * rng.normal(size=(count, 3)))
    return found


def constrained(frames, *constraints):
    """The frames with constraints, which ASE applies to the momenta."""
    for atoms in frames:
        atoms.set_constraint(list(constraints))
        atoms.set_momenta(atoms.get_momenta())
    return frames


@pytest.mark.parametrize(
    "constraints",
    [
        [FixAtoms(range(20))],
        [FixAtoms(range(39))],
        [FixCartesian(range(30), (True, False, True))],
        [FixCartesian(range(40), (False, False, True))],
        [FixedPlane(range(10), (1, 1, 0))],
        [FixedLine(range(40), (1, 2, 3))],
        [FixAtoms(range(10)), FixedLine(range(20, 30), (0, 0, 1))],
        [FixCom()],
        [Hookean(0, 1, 5.0, 1.0)],
    ],
    ids=lambda constraints: "-".join(type(one).__name__ for one in constraints),
)
def test_any_constraint_leaves_the_temperature(constraints):
    """Of velocities drawn at 300 K; without their degrees of freedom, it would be as low as 7 K."""
    frames = constrained(gas(), *constraints)
    statistical = 300 * np.sqrt(2 / (len(frames) * frames[0].get_number_of_degrees_of_freedom()))
    assert mean_temperature(frames) == pytest.approx(300, abs=6 * statistical)


def test_temperature_of_fixed_atoms_is_that_of_ase():
    frames = constrained(gas(frames=5), FixAtoms(range(20)))
    assert mean_temperature(frames) == pytest.approx(np.mean([atoms.get_temperature() for atoms in frames]))


def test_atoms_that_never_move_count_as_fixed():
    """In files that know no constraints."""
    frames = constrained(gas(frames=5), FixAtoms(range(20)))
    expected = mean_temperature(frames)
    for atoms in frames:
        atoms.set_constraint()
    assert mean_temperature(frames) == pytest.approx(expected)


class Nothing(Calculator):
    """No forces."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(self.atoms), 3))}


def test_rigid_bonds_in_a_thermostat():
    """Langevin dynamics of ASE with molecules whose bonds are held."""
    rng = np.random.default_rng(0)
    centres = np.array(np.meshgrid([2, 6, 10], [2, 6, 10], [2, 6, 10])).reshape(3, -1).T
    places = np.concatenate([[c, c + np.array([1.1, 0, 0])] for c in centres])
    atoms = Atoms("CO" * len(centres), positions=places, cell=[12] * 3, pbc=True)
    atoms.set_constraint(FixBondLengths([(2 * k, 2 * k + 1) for k in range(len(centres))]))
    atoms.calc = Nothing()
    md = Langevin(atoms, 2 * units.fs, temperature_K=300, friction=0.1 / units.fs, rng=rng, fixcm=False)
    md.run(50)
    frames = []
    for _ in range(60):
        md.run(10)
        frames.append(atoms.copy())
    assert mean_temperature(frames) == pytest.approx(300, rel=0.07)


class Unknown(FixConstraint):
    """A constraint that ASE has no count for."""

    def adjust_positions(self, atoms, new):
        """Keep everything."""

    def adjust_forces(self, atoms, forces):
        """Keep everything."""


def test_a_constraint_without_a_count_asks_for_the_temperature():
    with pytest.raises(InputError, match="Unknown; give --temperature"):
        mean_temperature(constrained(gas(frames=2), Unknown()))


def test_nothing_that_can_move_has_no_temperature():
    with pytest.raises(InputError, match="give --temperature"):
        mean_temperature(constrained(gas(frames=2), FixAtoms(range(40))))


def test_intensity_does_not_depend_on_atoms_that_do_not_move(moving):
    """A fixed crystal of the same size beside the moving one: half of alpha n, since the volume doubles."""
    atoms, charges, moved, velocities = moving
    alone = frames_of(atoms, charges, moved[:1000], velocities)
    still = atoms.copy()
    still.positions += atoms.cell.array[2]
    both = []
    for frame in alone:
        pair = frame.copy() + still
        pair.set_cell(atoms.cell.array * [[1], [1], [2]])
        pair.set_constraint(FixAtoms(range(3, 6)))
        both.append(pair)
    one, two = (
        absorption(
            power_spectrum(dipole_rates(frames, 0.5, lambda _, z=tensors: z), 110.0),
            frames[0].get_volume(),
            mean_temperature(frames),
        )
        for frames, tensors in ((alone, charges), (both, np.concatenate([charges, charges])))
    )
    # Alone the crystal has 6 degrees of freedom, without its drift (which is zero), beside the fixed one 9.
    assert 2 * two * 6 / 9 == pytest.approx(one, rel=1e-6, abs=1e-9 * one.max())


# Displacements


def test_a_cell_that_breathes_moves_no_atom_whatever_its_images(moving):
    atoms, charges, moved, _ = moving
    rng = np.random.default_rng(1)
    strains = np.eye(3) + 0.02 * np.sin(0.3 * np.arange(30))[:, None, None] * rng.normal(size=(3, 3))
    images = rng.integers(-3, 4, size=(3, 3))
    rates = {}
    for name, places, shift in (
        ("still", np.zeros_like(moved[:30]), 0),
        ("moving", moved[:30], 0),
        ("images", moved[:30], images),
        ("rigid", moved[:30], np.array([0.5, 0.5, 0.5])),
    ):
        frames = []
        for strain, displaced in zip(strains, places, strict=True):
            frame = atoms.copy()
            frame.positions += displaced
            frame.set_scaled_positions(frame.get_scaled_positions(wrap=False) + shift)
            frame.set_cell(atoms.cell.array @ strain, scale_atoms=True)
            frames.append(frame)
        rates[name] = dipole_rates(frames, 0.5, lambda _: charges).values
    assert np.abs(rates["still"]).max() < 1e-12
    assert np.abs(rates["moving"]).max() > 1e-3
    assert np.abs(rates["images"] - rates["moving"]).max() < 1e-11
    assert np.abs(rates["rigid"] - rates["moving"]).max() < 1e-11


def test_a_slab_that_is_not_periodic_along_its_vacuum_keeps_absolute_heights():
    """A change of the box along a direction that is not periodic means nothing."""
    first = Atoms("MgO", positions=[[0, 0, 5], [2, 2, 5]], cell=[4, 4, 10], pbc=[True, True, False])
    second = first.copy()
    second.set_cell([4, 4, 12])
    second.positions += [0.1, 0, 0.2]
    second.positions[1, 0] -= 4
    assert displacements(first, second) == pytest.approx(np.tile([0.1, 0, 0.2], (2, 1)))


# Velocities


@pytest.mark.parametrize("first", ["zeros", "none"])
def test_a_trajectory_may_start_from_rest(moving, first):
    atoms, charges, moved, velocities = moving
    frames = frames_of(atoms, charges, moved[:50], velocities)
    frames[0].set_velocities(np.zeros((3, 3)))
    if first == "none":
        del frames[0].arrays["momenta"]
    found = dipole_rates(frames, 0.5)
    assert not found.averaged
    assert not found.values[0].any()
    assert found.values[1:] == pytest.approx(np.einsum("iab,tib->ta", charges, velocities[1:50]))


def test_a_later_frame_may_stop_but_not_lack_velocities(moving):
    atoms, charges, moved, velocities = moving
    frames = frames_of(atoms, charges, moved[:9], velocities)
    frames[4].set_velocities(np.zeros((3, 3)))
    assert not dipole_rates(frames, 0.5).values[4].any()
    del frames[4].arrays["momenta"]
    with pytest.raises(InputError, match="no velocities, as other frames have"):
        dipole_rates(frames, 0.5)


@pytest.mark.parametrize(
    ("timestep", "unit", "ratio"), [(5.0, 1.0, 0.1), (0.05, 1.0, 10.0), (0.5, 1e-3, 1e3), (0.25, 1.0, 2.0)]
)
def test_a_wrong_time_step_or_unit_of_velocities_is_warned_of(moving, timestep, unit, ratio):
    """Frames are 0.5 fs apart; velocities of LAMMPS's units real are a thousandth if read as metal."""
    atoms, charges, moved, velocities = moving
    frames = frames_of(atoms, charges, moved[:400], unit * velocities)
    with pytest.warns(MotionWarning, match="times as far as their velocities") as said:
        dipole_rates(frames, timestep)
    assert float(str(said[0].message).split("move ")[1].split()[0]) == pytest.approx(ratio, rel=0.02)


@pytest.mark.parametrize("stride", [1, 4, 10])
def test_right_velocities_bring_no_word(moving, stride):
    """Up to a few frames in a period of the fastest vibration, wrapped and drifting."""
    atoms, charges, moved, velocities = moving
    drift = np.array([2e-3, 0, 0])
    steps = np.arange(len(moved))[:, None, None] * 0.5 * units.fs
    frames = frames_of(atoms, charges, moved + steps * drift, velocities + drift)[::stride]
    for frame in frames:
        frame.wrap()
    dipole_rates(frames, 0.5 * stride)


def test_velocities_of_other_atoms_are_warned_of(moving):
    atoms, charges, moved, velocities = moving
    turned = velocities[:, :, [1, 2, 0]]
    with pytest.warns(MotionWarning, match="elsewhere than along their velocities"):
        dipole_rates(frames_of(atoms, charges, moved[:400], turned), 0.5)


def test_displacements_have_a_temperature_of_their_own(moving):
    atoms, charges, moved, _ = moving
    frames = frames_of(atoms, charges, moved[:400])
    warn_of_other_temperature(frames, 0.5, TEMPERATURE)
    for timestep, found in ((5.0, "3"), (0.05, "3")):
        with pytest.warns(MotionWarning, match=f"as at {found}"):
            warn_of_other_temperature(frames, timestep, TEMPERATURE)


def test_a_constraint_without_a_count_leaves_nothing_to_compare(moving):
    """The temperature is given, so that the trajectory is taken."""
    atoms, charges, moved, _ = moving
    frames = frames_of(atoms, charges, moved[:20])
    frames[0].set_constraint(Unknown())
    warn_of_other_temperature(frames, 0.05, TEMPERATURE)
