"""Trajectories that are made with a potential, and go on where they were interrupted."""

import dataclasses

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms
from ase.io.trajectory import Trajectory

from equivar_jax.errors import InputError
from equivar_jax.response.optics.motion import MotionWarning, mean_temperature, warn_of_contradiction
from equivar_jax.response.optics.trajectory import (
    DynamicsWarning,
    Protocol,
    default_timestep,
    energy_drift,
    repeat_to_length,
    run_trajectory,
    warn_of_unsound_dynamics,
)
from equivar_jax.response.phonons.gamma_input import example_phonons
from equivar_jax.response.phonons.harmonic import HarmonicCrystal

PROTOCOL = Protocol("springs", 300.0, 1.0, equilibration=5, seed=0, number=1)


class Counting(HarmonicCrystal):
    """Stops as by Ctrl-C once it has been asked so often."""

    calls, most = 0, np.inf

    def calculate(self, *arguments, **options):
        if self.calls >= self.most:
            raise KeyboardInterrupt
        self.calls += 1
        super().calculate(*arguments, **options)


@pytest.fixture
def crystal():
    """The model crystal, whose charges are not looked at, and its springs."""
    found = example_phonons()
    return found.atoms, Counting(found.atoms, found.force_constants, found.charges)


def test_a_supercell_is_the_least_with_long_vectors():
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.set_constraint(FixAtoms([0]))
    larger = repeat_to_length(atoms)
    assert larger.info["supercell"] == [3, 3, 3]
    assert not larger.constraints
    assert len(larger) == 8 * 27
    assert repeat_to_length(atoms, [2]).info["supercell"] == [2, 2, 2]
    assert len(repeat_to_length(atoms, [1, 2, 1])) == 16
    atoms.set_cell([10.0, 10.0, 10.1])
    assert len(repeat_to_length(atoms)) == 8
    atoms.pbc = [True, False, True]
    assert repeat_to_length(atoms, [2]).info["supercell"] == [2, 1, 2]
    for wrong in ([0], [1, 2], [1, 1, -1]):
        with pytest.raises(InputError, match="give one or three numbers of at least 1"):
            repeat_to_length(atoms, wrong)
    with pytest.raises(InputError, match="--supercell 1 2 1 repeats it along an axis that is not periodic"):
        repeat_to_length(atoms, [1, 2, 1])


def test_hydrogen_halves_the_time_step():
    assert default_timestep(Atoms("MgO")) == 1.0
    assert default_timestep(Atoms("OH")) == 0.5


def test_an_interrupted_trajectory_goes_on_bit_for_bit(crystal, tmp_path):
    """In the thermostat, after it, with a half-written frame; only forces of the last frame come again."""
    atoms, potential = crystal
    whole = run_trajectory(atoms, potential, PROTOCOL, 8, tmp_path / "whole.traj")
    needed, ticks = potential.calls, []
    assert needed == 1 + 4 * 12
    interrupted, stops = tmp_path / "interrupted.traj", (10, 30, 41)
    potential.calls = 0
    for stop in stops:
        potential.reset()
        potential.most = stop
        with pytest.raises(KeyboardInterrupt):
            run_trajectory(atoms, potential, PROTOCOL, 8, interrupted)
        with interrupted.open("ab") as file:
            file.write(b"half a frame")
    potential.most = np.inf
    potential.reset()
    again = run_trajectory(atoms, potential, PROTOCOL, 8, interrupted, ticks.append)
    # Steps since the last frame are lost, fewer than four each time, and the forces of a frame are not kept.
    assert potential.calls <= needed + len(stops) * (1 + 3)
    assert sum(ticks) == 5 + 8
    assert len(again) == len(whole) == 8
    for one, other in zip(whole, again, strict=True):
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.get_momenta(), other.get_momenta())
        assert one.calc.results == other.calc.results
    before = potential.calls
    run_trajectory(atoms, potential, PROTOCOL, 8, interrupted)
    shorter = run_trajectory(atoms, potential, PROTOCOL, 3, interrupted)
    assert potential.calls == before
    assert len(shorter) == 3
    longer = run_trajectory(atoms, potential, PROTOCOL, 9, interrupted)
    assert potential.calls <= before + 5
    np.testing.assert_array_equal(longer[7].positions, whole[7].positions)


def test_energy_is_conserved_and_the_centre_of_mass_rests(crystal, tmp_path):
    atoms, potential = crystal
    frames = run_trajectory(atoms, potential, PROTOCOL, 200, tmp_path / "a.traj")
    energies = [atoms.calc.results["energy"] + atoms.get_kinetic_energy() for atoms in frames]
    assert np.ptp(energies) < 2e-3 * np.mean(energies)
    assert abs(energy_drift(frames)) < 1e-5
    assert np.abs(frames[0].get_momenta().sum(axis=0)).max() < 1e-12
    warn_of_contradiction(frames, PROTOCOL.interval)
    with pytest.warns(MotionWarning, match="times as far"):
        warn_of_contradiction(frames, 4 * PROTOCOL.interval)


def test_the_thermostat_gives_the_canonical_temperature(crystal, tmp_path):
    """The mean over trajectories, whose energies fluctuate as sqrt(3 N - 3) degrees of freedom do."""
    atoms, potential = crystal
    protocol = dataclasses.replace(PROTOCOL, equilibration=60)
    made = [
        run_trajectory(
            atoms, potential, dataclasses.replace(protocol, number=number), 20, tmp_path / f"{number}.traj"
        )
        for number in range(10)
    ]
    temperatures, drifts = warn_of_unsound_dynamics(made, protocol)
    # Of a harmonic oscillator half of the energy is kinetic: its variance is that of 2 (3 N - 3) squares.
    expected = 300.0 * np.sqrt(1 / (3 * len(atoms) - 3) / len(made))
    assert temperatures.mean() == pytest.approx(300.0, abs=4 * expected)
    assert temperatures.std() > 0.3 * expected * np.sqrt(len(made))
    assert np.abs(drifts).max() < 1e-4
    assert temperatures[0] == mean_temperature(made[0])


def test_trajectories_differ_by_number_seed_and_temperature(crystal, tmp_path):
    atoms, potential = crystal
    changes = ({}, {"number": 2}, {"seed": 1}, {"temperature": 310.0})
    momenta = [
        run_trajectory(atoms, potential, dataclasses.replace(PROTOCOL, **change), 1, tmp_path / f"{k}.traj")[
            0
        ].get_momenta()
        for k, change in enumerate(changes)
    ]
    for k, one in enumerate(momenta):
        for other in momenta[:k]:
            assert np.abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.7


def test_files_of_other_trajectories_are_refused(crystal, tmp_path):
    atoms, potential = crystal
    path = tmp_path / "a.traj"
    run_trajectory(atoms, potential, PROTOCOL, 2, path)
    with pytest.raises(InputError, match=r"a.traj: a trajectory with timestep 1.0, not 2.0; remove it"):
        run_trajectory(atoms, potential, dataclasses.replace(PROTOCOL, timestep=2.0), 2, path)
    moved = atoms.copy()
    moved.positions[0, 0] += 0.01
    with pytest.raises(InputError, match="of another structure than structure Ca"):
        run_trajectory(moved, potential, PROTOCOL, 2, path)
    path.write_text("nothing of the kind")
    with pytest.raises(InputError, match=r"a.traj: cannot be read \(.*\); remove it"):
        run_trajectory(atoms, potential, PROTOCOL, 2, path)
    foreign = tmp_path / "b.traj"
    with Trajectory(str(foreign), "w") as file:
        file.write(atoms.copy())
    with pytest.raises(InputError, match="a trajectory with potential None, not springs"):
        run_trajectory(atoms, potential, PROTOCOL, 2, foreign)
    with pytest.raises(InputError, match="cannot be written"):
        run_trajectory(atoms, potential, PROTOCOL, 2, tmp_path / "nowhere" / "a.traj")


def test_unsound_dynamics_is_told(crystal, tmp_path):
    """A time step near the limit, forces that are no derivatives, and no thermostat."""
    atoms, potential = crystal
    exploding = dataclasses.replace(PROTOCOL, timestep=60.0)
    with (
        np.errstate(all="ignore"),
        pytest.raises(InputError, match=r"goes to infinity at frame \d+; give a smaller --timestep than 60"),
    ):
        run_trajectory(atoms, potential, exploding, 400, tmp_path / "a.traj")
    cold = dataclasses.replace(PROTOCOL, equilibration=0)
    made = [run_trajectory(atoms, potential, cold, 3, tmp_path / "b.traj")]
    with pytest.warns(DynamicsWarning, match="have .* K; give a longer --equilibration"):
        warn_of_unsound_dynamics(made, dataclasses.replace(cold, temperature=100.0))
    for number, frame in enumerate(made[0]):
        frame.calc.results["energy"] += 2e-3 * len(atoms) * number / 2
    with pytest.warns(DynamicsWarning) as told:
        warn_of_unsound_dynamics(made, dataclasses.replace(cold, temperature=mean_temperature(made[0])))
    (told,) = told
    assert "the energy of a trajectory changes by 2.0 meV per atom; give a smaller" in str(told.message)
