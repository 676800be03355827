"""Loops of model BaTiO3 and of springs, against their formulas."""

import json

import numpy as np
import pytest

from equivar_jax.calculators.field_strength import StrongFieldWarning
from equivar_jax.errors import InputError
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.harmonic import HarmonicCrystal, nearest_neighbour_springs, rock_salt
from equivar_jax.response.polarisation.ferroelectric import SoftModeCrystal, barium_titanate
from equivar_jax.response.polarisation.hysteresis import quasi_static_loop, thermal_loop
from equivar_jax.response.polarisation.loop_report import measure_loop
from equivar_jax.response.polarisation.protocols import constant
from equivar_jax.response.units import KILOVOLT_PER_CM


def along_z(values):
    return np.array(values)[:, None] * np.array([0.0, 0.0, 1.0])


def fine_cycle(coercive):
    """From the largest field down and up again, in steps of 0.4 % of E_c where the wells vanish."""
    down = np.concatenate([[1.3, 0.6, 0.1, -0.1, -0.6, -0.9], np.arange(-0.99, -1.011, -0.004), [-1.3]])
    return along_z(np.concatenate([[0.3], down, -down[1:]]) * coercive)


@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 1, 1)])
def test_loop_has_landaus_coercive_field_and_remanent_polarisation(repeat):
    reference = barium_titanate(repeat)
    crystal = SoftModeCrystal(reference)
    loop = quasi_static_loop(reference, crystal, crystal, fine_cycle(crystal.coercive_field()), fmax=2e-5)
    field, polarisation = loop.field[1:, 2], loop.polarisation[1:, 2]
    found = measure_loop(field, polarisation)
    expected = 8 * 0.02 / (3 * np.sqrt(3) * 64.0 * crystal.spontaneous_polarisation)
    assert found.coercive_field == pytest.approx((-expected, expected), rel=0.01)
    remanent = crystal.spontaneous_polarisation
    assert found.remanent_polarisation == pytest.approx((-remanent, remanent), rel=0.01)
    assert abs(found.centre) < 1e-4 * remanent
    # Away from the vanishing wells, every point is on Landau's curve.
    settled = np.abs(np.abs(field) / expected - 1) > 0.02
    stationary = crystal.landau_field(polarisation)
    assert np.abs(stationary - field)[settled].max() < 1e-3 * expected
    assert np.abs(loop.polarisation[:, :2]).max() < 1e-9


def test_half_the_charge_doubles_the_coercive_field_and_halves_the_polarisation():
    reference = barium_titanate()
    crystal = SoftModeCrystal(reference)
    half = crystal.charges / 2
    fields = fine_cycle(crystal.coercive_field(half))
    loop = quasi_static_loop(reference, crystal, lambda _atoms: half, fields, fmax=2e-5)
    found = measure_loop(loop.field[1:, 2], loop.polarisation[1:, 2])
    assert found.coercive_field[1] == pytest.approx(2 * crystal.coercive_field(), rel=0.01)
    assert found.remanent_polarisation[1] == pytest.approx(crystal.spontaneous_polarisation / 2, rel=0.01)


def test_springs_answer_linearly_without_hysteresis():
    """Sublattices apart by q pull each ion with (2 along + 4 across) q: q = Z E / (2 along + 4 across)."""
    crystal = rock_salt()
    charges = np.where(crystal.symbols == "Mg", 2.0, -2.0)[:, None, None] * np.eye(3)
    springs = HarmonicCrystal(crystal, nearest_neighbour_springs(crystal, 8.0, 1.5), charges)
    fields = along_z([0.05, 0.0, -0.05, 0.0, 0.05])
    loop = quasi_static_loop(crystal, springs, springs, fields, fmax=1e-9)
    expected = 4 * 2.0 * (2.0 * fields[:, 2] / (2 * 8.0 + 4 * 1.5)) / crystal.get_volume()
    assert np.abs(loop.polarisation[:, 2] - expected).max() < 1e-6 * np.abs(expected).max()
    with pytest.raises(InputError, match="no hysteresis"):
        measure_loop(loop.field[:, 2], loop.polarisation[:, 2])


def test_the_crystal_that_was_given_stays_where_it_is():
    reference = barium_titanate()
    crystal = SoftModeCrystal(reference)
    before = reference.positions.copy()
    quasi_static_loop(reference, crystal, crystal, along_z([0.01]))
    assert np.array_equal(reference.positions, before)
    assert reference.calc is None


def test_a_relaxation_that_does_not_end_is_refused():
    reference = barium_titanate()
    crystal = SoftModeCrystal(reference)
    with pytest.raises(InputError, match="not relaxed after 3 steps"):
        quasi_static_loop(reference, crystal, crystal, along_z([0.02]), max_steps=3)


def test_dynamics_comes_to_the_thermal_mean_of_springs():
    """In a constant field the mean of harmonic coordinates is where they are relaxed, at any temperature."""
    crystal = rock_salt()
    charges = np.where(crystal.symbols == "Mg", 2.0, -2.0)[:, None, None] * np.eye(3)
    springs = HarmonicCrystal(crystal, nearest_neighbour_springs(crystal, 8.0, 1.5), charges)
    loop = thermal_loop(
        crystal, springs, springs, constant(0.4), 2000.0, 20.0, timestep=2.0, friction=0.02, points=10
    )
    expected = 4 * 2.0 * (2.0 * 0.4 / (2 * 8.0 + 4 * 1.5)) / crystal.get_volume()
    assert loop.field == pytest.approx(np.tile([0, 0, 0.4], (10, 1)))
    assert loop.polarisation[2:, 2].mean() == pytest.approx(expected, rel=0.05)
    assert np.abs(loop.polarisation[2:, :2].mean(axis=0)).max() < 0.05 * expected


def test_dynamics_is_repeated_by_its_seed():
    reference = barium_titanate()
    crystal = SoftModeCrystal(reference)
    runs = [
        thermal_loop(
            reference, crystal, crystal, constant(0.02), 20.0, 100.0, points=4, seed=seed
        ).polarisation
        for seed in (1, 1, 2)
    ]
    assert np.array_equal(runs[0], runs[1])
    assert not np.allclose(runs[0], runs[2])
    with pytest.raises(InputError, match="longer duration"):
        thermal_loop(reference, crystal, crystal, constant(0.02), 2.0, 100.0, points=4)


def test_the_example_draws_and_writes_its_numbers(tmp_path, capsys):
    picture = tmp_path / "loop.png"
    response(["hysteresis", "--example", "--points", "20", "-o", str(picture)])
    numbers = json.loads(picture.with_suffix(".json").read_text())
    expected = SoftModeCrystal(barium_titanate()).coercive_field() * KILOVOLT_PER_CM
    # A point lies every 7.5 % of the coercive field.
    assert numbers["coercive_field_kV_per_cm"] == pytest.approx([-expected, expected], rel=0.08)
    assert numbers["remanent_polarisation_uC_per_cm2"] == pytest.approx([-26, 26], rel=0.001)
    assert picture.stat().st_size > 20000
    assert "orders of magnitude" in capsys.readouterr().out


@pytest.mark.slow  # a network in a loop
def test_the_command_takes_the_charges_of_a_model(tmp_path, trained):
    picture = tmp_path / "loop.png"
    response(["hysteresis", "--checkpoint", str(trained.folder), "--points", "4", "-o", str(picture)])
    numbers = json.loads(picture.with_suffix(".json").read_text())
    assert numbers["remanent_polarisation_uC_per_cm2"][1] > 0
    assert len(numbers["field_kV_per_cm"]) == 21


def test_command_refuses_in_one_line(tmp_path, complaint):
    assert "--example" in complaint(response, "hysteresis")
    assert "picture format" in complaint(response, "hysteresis", "--example", "-o", tmp_path / "loop.txt")
    assert "folder" in complaint(response, "hysteresis", "--example", "-o", tmp_path / "none" / "loop.png")
    weak = ("--example", "--points", "4", "--amplitude", "100", "-o", tmp_path / "loop.png")
    assert "no hysteresis" in complaint(response, "hysteresis", *weak)
    assert "--repeat of 1" in complaint(response, "hysteresis", "--example", "--temperature", "nan")
    assert "period of -1000" in complaint(
        response, "hysteresis", "--example", "--period", "-1", "-o", tmp_path / "a.png"
    )


def test_an_amplitude_beyond_what_a_crystal_stands_is_warned_of(tmp_path):
    """1 V/Å is 1e5 kV/cm."""
    picture = tmp_path / "loop.png"
    words = ["--example", "--points", "4", "-o", str(picture), "--amplitude"]
    with pytest.warns(StrongFieldWarning, match="kV/cm, which no crystal stands"):
        response(["hysteresis", *words, "150000"])
    response(["hysteresis", *words, "99000"])
    assert max(json.loads(picture.with_suffix(".json").read_text())["field_kV_per_cm"]) == pytest.approx(
        99000
    )
