"""Loops of a crystal with a potential: `equivar response hysteresis STRUCTURE --potential`."""

import csv
import json

import numpy as np
import pytest
from ase.io.trajectory import Trajectory
from helpers.potentials import Stopping

from equivar_jax.calculators.potentials import load_potential
from equivar_jax.io import write_structures
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.gamma_input import example_phonons
from equivar_jax.response.polarisation.driving import Driving
from equivar_jax.response.polarisation.ferroelectric import SoftModeCrystal, barium_titanate
from equivar_jax.response.polarisation.loop_report import measure_loop
from equivar_jax.response.units import KILOVOLT_PER_CM

MODEL = "helpers.potentials:model_barium_titanate"
COERCIVE = SoftModeCrystal(barium_titanate()).coercive_field() * KILOVOLT_PER_CM


@pytest.fixture
def structure(tmp_path):
    path = tmp_path / "crystal.extxyz"
    write_structures(path, [barium_titanate()])
    return str(path)


def words(structure, picture, *others, potential=MODEL, amplitude=1.5 * COERCIVE):
    given = ["hysteresis", structure, "--potential", potential, "--amplitude", f"{amplitude:.3f}"]
    return [*given, "-o", str(picture), *others]


def numbers_of(picture):
    return json.loads(picture.with_suffix(".json").read_text())


def test_the_loop_of_a_potential_is_that_of_its_theory(structure, tmp_path, capsys):
    picture = tmp_path / "loop.png"
    response(words(structure, picture, "--points", "15", "--largest-force", "1e-3"))
    found = numbers_of(picture)
    assert found["runs_that_switched"] == found["runs"] == 2
    # A point lies every 10 % of the coercive field.
    assert found["coercive_field_kV_per_cm"] == pytest.approx([-COERCIVE, COERCIVE], rel=0.11)
    assert found["remanent_polarisation_uC_per_cm2"] == pytest.approx([-26, 26], rel=0.005)
    assert abs(found["centre_uC_per_cm2"]) < 0.2
    assert max(found["remanent_polarisation_uC_per_cm2_error"]) < 0.1
    assert found["born_charges"] == "the potential"
    with picture.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 76
    largest = max(rows, key=lambda row: float(row["field_kV/cm"]))
    assert float(largest["field_kV/cm"]) == pytest.approx(1.5 * COERCIVE, rel=1e-5)
    assert float(largest["P_uC/cm2"]) == pytest.approx(float(largest["Pz_uC/cm2"]))
    assert float(largest["P_uC/cm2"]) > 26
    each = np.array([float(largest["P1_uC/cm2"]), float(largest["P2_uC/cm2"])])
    assert float(largest["error_uC/cm2"]) == pytest.approx(each.std(ddof=1) / 2**0.5)
    assert picture.stat().st_size > 20000
    assert "2 of 2 runs switched" in capsys.readouterr().out


@pytest.mark.parametrize("temperature", [0, 40])
def test_an_interrupted_run_ends_with_the_same_numbers(structure, tmp_path, temperature, monkeypatch):
    options = ["--points", "4", "--runs", "1", "--temperature", str(temperature), "--period", "0.16"]
    options += ["--timestep", "2", "--wave-form", "sine"]
    straight, broken = tmp_path / "straight.png", tmp_path / "broken.png"
    stopping = "helpers.potentials:Stopping"
    response(words(structure, straight, *options, potential=stopping))
    monkeypatch.setattr(Stopping, "allowed", 60)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        response(words(structure, broken, *options, potential=stopping))
    with Trajectory(str(tmp_path / "broken-1.traj")) as file:
        assert 2 < len(file) < 21
    monkeypatch.setattr(Stopping, "allowed", None)
    response(words(structure, broken, *options, potential=stopping))
    assert numbers_of(broken) == numbers_of(straight)
    monkeypatch.setattr(Stopping, "allowed", 1)  # the trial before anything begins
    response(words(structure, broken, *options, potential=stopping))
    assert numbers_of(broken) == numbers_of(straight)


def test_more_cycles_go_on_and_another_field_is_refused(structure, tmp_path, complaint):
    picture, options = tmp_path / "loop.png", ["--points", "4", "--runs", "1"]
    response(words(structure, picture, *options))
    before = numbers_of(picture)["polarisation_uC_per_cm2"][0]
    response(words(structure, picture, *options, "--cycles", "2"))
    after = numbers_of(picture)["polarisation_uC_per_cm2"][0]
    assert (len(before), len(after)) == (21, 37)
    assert after[:21] == before
    said = complaint(response, *words(structure, picture, *options, amplitude=COERCIVE))
    assert "loop-1.traj: a run with amplitude" in said


def test_a_field_across_the_crystal_gives_the_polarisation_along_it(structure, tmp_path):
    picture = tmp_path / "loop.png"
    weak = ["--points", "4", "--runs", "1", "--rattle", "0", "--direction", "0", "-2", "0"]
    response(words(structure, picture, *weak))
    found = numbers_of(picture)
    assert found["direction"] == [0, -1, 0]
    assert max(found["polarisation_uC_per_cm2"][0]) > 26
    with picture.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert float(row["Py_uC/cm2"]) == pytest.approx(-float(row["P_uC/cm2"]))
        assert float(row["Px_uC/cm2"]) == pytest.approx(0, abs=1e-9)


def test_a_dielectric_that_only_lags_behind_the_field_has_not_switched(tmp_path, capsys):
    """Springs have no hysteresis; what opens their loop are relaxations that end early."""
    write_structures(tmp_path / "springs.extxyz", [example_phonons().atoms])
    given = [str(tmp_path / "springs.extxyz"), "--potential", "helpers.potentials:springs"]
    given += ["--amplitude", "2000", "--points", "6", "--runs", "1", "--largest-force", "0.02"]
    response(["hysteresis", *given, "-o", str(tmp_path / "loop.png")])
    found = numbers_of(tmp_path / "loop.png")
    field, (polarisation,) = np.array(found["field_kV_per_cm"][-25:]), found["polarisation_uC_per_cm2"]
    measured = measure_loop(field, np.array(polarisation[-25:]))
    assert 50 < measured.coercive_field[1] < 0.02 / 2 * KILOVOLT_PER_CM  # charges of 2 e
    assert found["runs_that_switched"] == 0
    assert "lower --largest-force" in found["not_switched_because"][0]
    assert "0 of 1 runs switched" in capsys.readouterr().out


def test_a_field_that_is_too_weak_is_reported_and_all_is_written(structure, tmp_path, capsys):
    picture = tmp_path / "loop.png"
    response(
        words(
            structure,
            picture,
            "--points",
            "4",
            "--runs",
            "1",
            "--largest-force",
            "1e-4",
            amplitude=0.3 * COERCIVE,
        )
    )
    found = numbers_of(picture)
    assert found["runs_that_switched"] == 0
    assert found["coercive_field_kV_per_cm"] is None
    assert "did not switch" in found["not_switched_because"][0]
    assert "did not switch" in capsys.readouterr().out
    assert picture.is_file()
    assert picture.with_suffix(".csv").is_file()


@pytest.mark.parametrize(
    ("wave_form", "first"), [("triangle", [0.0, 0.5, 1.0, 0.5]), ("sine", [0.0, 0.5**0.5, 1.0, 0.5**0.5])]
)
def test_the_field_begins_at_zero_and_comes_back_to_the_largest(wave_form, first):
    driving = Driving(
        MODEL, "", wave_form, 0.02, (0.0, 0.0, 3.0), 2, 1, 10.0, 80.0, 1.0, 0.01, 0.01, 0.0, 0, 1
    )
    times = driving.interval * np.arange(driving.total + 1)
    values = np.array([driving.field()(time)[2] for time in times]) / 0.02
    np.testing.assert_allclose(values[:4], first, atol=1e-12)
    cycle = values[driving.last_cycle]
    assert len(cycle) == 9
    assert cycle[0] == pytest.approx(1)
    assert cycle[4] == pytest.approx(-1)
    assert cycle[-1] == pytest.approx(1)


def test_steps_hold_the_values_of_the_triangle():
    driving = Driving(MODEL, "", "steps", 0.02, (0.0, 0.0, 1.0), 2, 1, 10.0, 80.0, 1.0, 0.01, 0.01, 0.0, 0, 1)
    field = driving.field()
    held = [field(time)[2] / 0.02 for time in (0.1, 9.9, 10.1, 19.9, 20.1)]
    np.testing.assert_allclose(held, [0.5, 0.5, 1.0, 1.0, 0.5])


def test_what_cannot_be_driven_is_refused_in_one_line(structure, tmp_path, complaint):
    picture = tmp_path / "loop.png"
    assert "needs both" in complaint(response, "hysteresis", structure)
    assert "needs both" in complaint(response, "hysteresis", "--potential", MODEL)
    assert "--amplitude" in complaint(response, "hysteresis", structure, "--potential", MODEL)
    assert "--example is of" in complaint(response, *words(structure, picture, "--example"))
    assert "--points 2: give 4" in complaint(response, *words(structure, picture, "--points", "2"))
    assert "--friction -1.0" in complaint(response, *words(structure, picture, "--friction", "-1"))
    assert "no stress" in complaint(response, *words(structure, picture, "--cell", "relax"))
    short = ["--temperature", "10", "--period", "0.05"]
    assert "longer --period" in complaint(response, *words(structure, picture, *short))
    two = tmp_path / "two.extxyz"
    write_structures(two, [barium_titanate()] * 2)
    assert "2 structures" in complaint(response, *words(str(two), picture))


def test_the_cell_is_relaxed_by_a_potential_with_stress(tmp_path):
    from ase.build import bulk

    path, picture = tmp_path / "argon.extxyz", tmp_path / "loop.png"
    write_structures(path, [bulk("Ar", "sc", a=2.4)])
    lj = load_potential("helpers.potentials:lennard_jones")
    assert "stress" in lj.implemented_properties
    from equivar_jax.response.options import hysteresis_options
    from equivar_jax.response.polarisation.from_potential import _prepare

    given = [*words(str(path), picture, "--cell", "relax", "--repeat", "2")[1:], "--largest-force", "1e-3"]
    options = hysteresis_options().parse_args(given)
    atoms, cell = _prepare(bulk("Ar", "sc", a=2.4), lj, options)
    assert len(atoms) == 8
    assert cell[0, 0] != pytest.approx(2.4, abs=0.01)
    trial = bulk("Ar", "sc", a=2.4)
    trial.set_cell(cell, scale_atoms=True)
    trial.calc = lj
    assert abs(trial.get_stress()[:3]).max() * trial.get_volume() < 2e-3
