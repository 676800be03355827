"""Infrared spectra with a potential: crystals and molecules of springs, whose lines are known."""

import json

import numpy as np
import pytest
from ase.io import write
from helpers import potentials
from helpers.tables import curves_of

from equivar_jax.response.__main__ import main as response
from equivar_jax.response.optics import from_potential
from equivar_jax.response.phonons.gamma import gamma_modes, infrared_intensities
from equivar_jax.response.phonons.gamma_input import example_phonons

SHORT = ["--supercell", 1, "--resolution", 60, "--trajectories", 3, "--equilibration", 0.3]


@pytest.fixture
def model(tmp_path):
    """A file of the model crystal, whose lines are at 363 and 401 cm⁻¹."""
    atoms = example_phonons().atoms
    atoms.info.clear()
    write(tmp_path / "model.vasp", atoms, direct=True)
    return tmp_path / "model.vasp"


def run(*words):
    response(["infrared", *map(str, words)])


def test_springs_have_the_lines_of_their_phonons_at_every_temperature(model, tmp_path, capsys):
    """Of a harmonic crystal the spectrum does not depend on the temperature."""
    picture = tmp_path / "a.png"
    words = [model, "--potential", "helpers.potentials:springs", "--temperature", 100, 300, *SHORT]
    run(*words, "-o", picture)
    shown = capsys.readouterr()
    assert (
        "1 x 1 x 1 cells, 8 atoms; at each temperature 3 trajectories of 0.84 ps after 0.30 ps" in shown.out
    )
    curves = curves_of(tmp_path / "a.csv")
    assert list(curves) == ["dynamics at 100 K", "dynamics at 300 K"]
    phonons = example_phonons()
    modes = gamma_modes(phonons.atoms, phonons.force_constants)
    active = modes.wavenumbers[infrared_intensities(modes, phonons.charges) > 1.0]
    for wavenumbers, values, errors in curves.values():
        centre = np.sum(wavenumbers * values) / values.sum()
        assert active.min() < centre < active.max()
        assert (errors >= 0).all()
        assert 0.05 < errors.max() / values.max() < 0.8
    header = (tmp_path / "a.csv").read_text().splitlines()[0]
    assert header.endswith("absorption (cm^-1),standard deviation (cm^-1)")
    assert picture.stat().st_size > 10_000
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert numbers["supercell"] == [1, 1, 1]
    assert numbers["between_frames_fs"] == 4.0
    for spectrum in numbers["spectra"]:
        assert len(spectrum["trajectories"]) == 3
        for found in spectrum["trajectories"]:
            assert abs(found["drift_meV_per_atom"]) < 0.1
            assert (tmp_path / found["file"]).exists()


def test_errors_are_those_of_the_mean_over_trajectories(model, tmp_path, monkeypatch):
    """And a run that is asked for again, or for more, computes only what is new."""
    words = [model, "--potential", "helpers.potentials:springs", *SHORT, "--every", 50, "-o"]
    spectra, made = [], []
    absorption_of, run_trajectory = from_potential.absorption_of, from_potential.run_trajectory

    def absorption(*arguments):
        spectra.append(absorption_of(*arguments)[1])
        return absorption_of(*arguments)

    def trajectory(atoms, calculator, *rest):
        calculator.calculate = lambda *arguments, **options: (
            made.append(1) or type(calculator).calculate(calculator, *arguments, **options)
        )
        return run_trajectory(atoms, calculator, *rest)

    monkeypatch.setattr(from_potential, "absorption_of", absorption)
    monkeypatch.setattr(from_potential, "run_trajectory", trajectory)
    run(*words, tmp_path / "a.png")
    _, values, errors = curves_of(tmp_path / "a.csv")["dynamics at 300 K"]
    assert values == pytest.approx(np.mean(spectra, axis=0), rel=1e-6)
    assert errors == pytest.approx(np.std(spectra, axis=0, ddof=1) / np.sqrt(3), rel=1e-6, abs=1e-6)
    before = (tmp_path / "a.csv").read_text()
    made.clear()
    run(*words, tmp_path / "a.png")
    # Charges of the springs themselves, of the first frame of 50 and so on, but no step.
    assert len(made) == 3 * len(range(0, 209, 50)) + 3
    assert (tmp_path / "a.csv").read_text() == before


def test_one_trajectory_has_no_error(model, tmp_path):
    words = [model, "--potential", "helpers.potentials:springs", *SHORT, "--trajectories", 1]
    run(*words, "--resolution", 400, "-o", tmp_path / "a.png")
    assert (tmp_path / "a.csv").read_text().splitlines()[0].endswith("absorption (cm^-1)")


def test_networks_give_the_charges_of_a_potential_without_any(trained, tmp_path):
    """In the structure's own order; a molecule is given per mole."""
    atoms = potentials.molecule()
    write(tmp_path / "molecule.xyz", atoms)
    words = [tmp_path / "molecule.xyz", "--potential", "helpers.potentials:bond", "--trajectories", 2]
    words += ["--resolution", 300, "--checkpoint", trained.folder, "--every", 20, "-o", tmp_path / "a.png"]
    run(*words)
    assert "(km/mol cm)" in (tmp_path / "a.csv").read_text().splitlines()[0]
    numbers = json.loads((tmp_path / "a.json").read_text())
    assert numbers["atoms"] == 2


def test_refused(model, tmp_path, complaint):
    def refuse(*words):
        return complaint(response, "infrared", "-o", tmp_path / "a.png", *words)

    springs = [model, "--potential", "helpers.potentials:springs", "--supercell", 1]
    assert "no potential 'chgnett'" in refuse(model, "--potential", "chgnett")
    assert "forces that are not all finite" in refuse(model, "--potential", "helpers.potentials:Broken")
    assert "give each only once" in refuse(*springs, "--temperature", 300, 300)
    assert "a temperature of 0.0 K" in refuse(*springs, "--temperature", 0)
    assert "--trajectories 0: give at least 1" in refuse(*springs, "--trajectories", 0)
    assert "--equilibration -1.0: give a time in ps" in refuse(*springs, "--equilibration", -1)
    assert "--seed -1" in refuse(*springs, "--seed", -1)
    assert "--timestep 0.0: give a positive number" in refuse(*springs, "--timestep", 0)
    assert "--resolution nan: give a positive number" in refuse(*springs, "--resolution", "nan")
    assert "--supercell 1 2: give one or three" in refuse(*springs, "--supercell", 1, 2)
    two = tmp_path / "two.extxyz"
    write(two, [example_phonons().atoms] * 2)
    assert "2 structures; with --potential give a file with exactly one" in refuse(two, *springs[1:])
