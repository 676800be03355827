"""Infrared spectra of trajectories, and the command."""

import numpy as np
import pytest
from ase import Atoms, units
from helpers.random_crystals import TEMPERATURE, diatomic, frames_of, integral, random_crystal, thermal
from helpers.tables import curves_of
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax.errors import InputError
from equivar_jax.io import write_structures
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.optics.dipole import dipole_rates
from equivar_jax.response.optics.motion import MotionWarning, mean_temperature
from equivar_jax.response.optics.spectra import (
    absorption,
    line_absorption,
    power_spectrum,
)
from equivar_jax.response.phonons.gamma import (
    gamma_modes,
    infrared_intensities,
    oscillator_strengths,
)
from equivar_jax.response.phonons.gamma_input import example_phonons
from equivar_jax.response.units import INVERSE_CM

# Trajectories


@pytest.fixture
def moving():
    """A crystal without symmetry: atoms, charges, modes, displacements, velocities; 0.5 fs apart."""
    atoms, constants, charges = random_crystal(7)
    modes = gamma_modes(atoms, constants)
    return atoms, charges, modes, *thermal(modes, 4000, 0.5)


def test_dipole_rates_of_velocities(moving):
    atoms, charges, _, moved, velocities = moving
    found = dipole_rates(frames_of(atoms, charges, moved[:5], velocities), 0.5)
    assert np.abs(found.values - np.einsum("iab,tib->ta", charges, velocities[:5])).max() < 1e-12
    assert found.timestep == pytest.approx(0.5 * units.fs)


def test_positions_give_the_spectrum_of_velocities(moving):
    """Also through the boundary of the cell, and with time steps that blur the fastest lines."""
    atoms, charges, modes, moved, velocities = moving
    reference = power_spectrum(dipole_rates(frames_of(atoms, charges, moved, velocities), 0.5), 40.0)
    frames = frames_of(atoms, charges, moved[::8])
    for frame in frames:
        frame.wrap()
    rates = dipole_rates(frames, 4.0)
    assert rates.averaged
    spectrum = power_spectrum(rates, 40.0)
    trace = np.einsum("faa->f", spectrum.values)
    expected = np.interp(spectrum.wavenumbers, reference.wavenumbers, np.einsum("faa->f", reference.values))
    assert modes.wavenumbers[-1] > 0.15 * spectrum.wavenumbers[-1]
    assert np.abs(trace - expected).max() < 0.02 * expected.max()


def test_charges_of_some_frames_are_interpolated(moving):
    """Exact for charges that change linearly in time, whatever `every`; the last frame always counts."""
    atoms, charges, _, moved, velocities = moving
    frames = frames_of(atoms, charges, moved[:12], velocities)
    for step, frame in enumerate(frames):
        frame.info["time"] = step
    asked = []

    def changing(frame):
        asked.append(frame.info["time"])
        return charges * (1.0 + 0.1 * frame.info["time"])

    exact = dipole_rates(frames, 0.5, changing)
    asked.clear()
    found = dipole_rates(frames, 0.5, changing, every=4)
    assert asked == [0, 4, 8, 11]
    assert np.abs(found.values - exact.values).max() < 1e-12
    resting = frames_of(atoms, charges, moved[:12])
    for step, frame in enumerate(resting):
        frame.info["time"] = step
    by_steps = dipole_rates(resting, 0.5, changing, every=4)
    middle = charges * (1.0 + 0.1 * 5.5)
    expected = np.einsum("iab,ib->a", middle, moved[6] - moved[5]) / (0.5 * units.fs)
    assert by_steps.values[5] == pytest.approx(expected)


def test_temperature_does_not_feel_drift(moving):
    atoms, charges, modes, moved, velocities = moving
    frames = frames_of(atoms, charges, moved, velocities + np.array([0.1, 0.0, -0.2]))
    assert mean_temperature(frames) == pytest.approx(TEMPERATURE, rel=0.02)
    assert len(modes.squares) == 3 * (len(atoms) - 1)


def test_unusable_trajectories(moving):
    atoms, charges, _, moved, velocities = moving
    frames = frames_of(atoms, charges, moved[:3], velocities)
    with pytest.raises(InputError, match="1 frames, a spectrum needs a trajectory"):
        dipole_rates(frames[:1], 0.5)
    with pytest.raises(InputError, match="both must be positive"):
        dipole_rates(frames, 0.0)
    with pytest.raises(InputError, match="both must be positive"):
        dipole_rates(frames, 0.5, every=0)
    with pytest.raises(InputError, match="no velocities, as other frames have"):
        dipole_rates([*frames, *frames_of(atoms, charges, moved[:1])], 0.5)
    with pytest.raises(InputError, match="other atoms than in the first frame"):
        dipole_rates([*frames, Atoms("H")], 0.5)
    with pytest.raises(InputError, match="name a model by --checkpoint"):
        dipole_rates([frame.copy() for frame in frames], 0.5)
    with pytest.raises(InputError, match=r"Born effective charges of shape \(1, 3, 3\)"):
        dipole_rates(frames, 0.5, lambda _: charges[:1])
    with pytest.raises(InputError, match="give --temperature"):
        mean_temperature(frames_of(atoms, charges, moved[:2]))


# The command


def test_example(tmp_path, capsys):
    """ASE's velocity Verlet in springs has the lines of the phonons: 1 % in place, 2 % in strength.

    It takes all frames: what is left of the interference between lines falls with the length of the run.
    """
    picture = tmp_path / "infrared.png"
    response(["infrared", "--example", "-o", str(picture)])
    (wavenumbers, dynamics), (grid, lines) = curves_of(tmp_path / "infrared.csv").values()
    for low, high in ((320.0, 374.0), (376.0, 440.0)):
        found = np.where((wavenumbers > low) & (wavenumbers < high), dynamics, 0)
        expected = np.where((grid > low) & (grid < high), lines, 0)
        assert wavenumbers[np.argmax(found)] == pytest.approx(grid[np.argmax(expected)], rel=0.01)
        ratio = integral(wavenumbers, dynamics, low, high) / integral(grid, lines, low, high)
        assert ratio == pytest.approx(1.0, abs=0.02)
    assert picture.stat().st_size > 10_000
    assert "5000 frames, 4 fs apart, at 299.8 K" in capsys.readouterr().out


def test_trajectory_with_labels(moving, tmp_path):
    atoms, charges, _, moved, velocities = moving
    frames = frames_of(atoms, charges, moved[:1500], velocities)
    write_structures(tmp_path / "md.traj", frames)
    response(
        [
            "infrared",
            str(tmp_path / "md.traj"),
            "--timestep",
            "0.5",
            "--resolution",
            "80",
            "-o",
            str(tmp_path / "a.png"),
        ]
    )
    ((wavenumbers, found),) = curves_of(tmp_path / "a.csv").values()
    spectrum = power_spectrum(dipole_rates(frames, 0.5), 80.0)
    expected = absorption(spectrum, atoms.get_volume(), mean_temperature(frames))
    assert wavenumbers == pytest.approx(spectrum.wavenumbers, abs=1e-4)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-3)


def phonopy_file(path, atoms, constants, charges):
    cell = PhonopyAtoms(
        symbols=list(atoms.symbols),
        masses=atoms.get_masses(),
        cell=atoms.cell.array,
        positions=atoms.positions,
    )
    phonon = Phonopy(cell, np.eye(3, dtype=int), primitive_matrix=np.eye(3))
    phonon.force_constants = constants
    phonon.nac_params = {"born": charges, "dielectric": np.eye(3), "factor": 14.4}
    phonon.save(path, settings={"force_constants": True})
    return str(path)


def test_phonons_alone(tmp_path, capsys):
    atoms, constants, charges = random_crystal(4)
    file = phonopy_file(tmp_path / "phonopy_params.yaml", atoms, constants, charges)
    response(["infrared", "--phonons", file, "-o", str(tmp_path / "a.png")])
    modes = gamma_modes(atoms, constants)
    ((wavenumbers, found),) = curves_of(tmp_path / "a.csv").values()
    strengths = oscillator_strengths(modes, charges)
    expected = line_absorption(wavenumbers, modes.wavenumbers, strengths, atoms.get_volume(), 10.0)
    assert np.abs(found - expected).max() < 1e-5 * expected.max()
    assert f"{modes.wavenumbers[0]:9.2f}" in capsys.readouterr().out


def test_model_along_a_trajectory(trained, tmp_path):
    """A network's charges, of every tenth frame, for a perovskite it knows."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    atoms = Atoms("CaTiO3", cell=[3.9] * 3, pbc=True, scaled_positions=places)
    steps = np.arange(200)[:, None, None]
    wave = np.random.default_rng(0).normal(size=(5, 3))
    frames = []
    for displacement in 0.02 * wave * np.sin(0.3 * steps):
        frames.append(atoms.copy())
        frames[-1].positions += displacement
    write_structures(tmp_path / "md.extxyz", frames)
    words = [tmp_path / "md.extxyz", "--timestep", 2, "--checkpoint", trained.folder, "--every", 10]
    words += ["--temperature", 300, "--resolution", 200, "-o", tmp_path / "a.pdf"]
    response(["infrared", *map(str, words)])
    ((wavenumbers, found),) = curves_of(tmp_path / "a.csv").values()
    expected = 0.3 / (2 * units.fs) * INVERSE_CM
    assert wavenumbers[np.argmax(found)] == pytest.approx(expected, abs=20.0)


def test_refused(complaint, tmp_path, moving):
    atoms, charges, _, moved, velocities = moving
    write_structures(tmp_path / "md.traj", frames_of(atoms, charges, moved[:50], velocities))
    write_structures(tmp_path / "one.traj", frames_of(atoms, charges, moved[:1], velocities))
    free = frames_of(atoms, charges, moved[:200], velocities)
    for frame in free:
        frame.pbc = False
    write_structures(tmp_path / "free.traj", free)

    def refuse(*words):
        return complaint(response, "infrared", "-o", tmp_path / "a.png", *words)

    assert "name one of them, or try --example" in refuse()
    assert "one trajectory has one temperature" in refuse(tmp_path / "md.traj", "--temperature", 300, 400)
    assert "--supercell is for dynamics" in refuse(tmp_path / "md.traj", "--supercell", 2)
    assert "--potential is for a structure" in refuse("--potential", "chgnet", "--example")
    assert "no such file" in refuse(tmp_path / "missing.traj", "--timestep", 0.5)
    assert "--timestep is missing" in refuse(tmp_path / "md.traj")
    assert "needs a trajectory of" in refuse(tmp_path / "md.traj", "--timestep", 0.5)
    assert "1 frames, a spectrum needs a trajectory" in refuse(tmp_path / "one.traj", "--timestep", 0.5)
    too_cold = refuse(tmp_path / "md.traj", "--timestep", 0.5, "--temperature", 0)
    assert "a temperature of 0.0 K; give a positive one" in too_cold
    assert "invalid choice" in refuse("--example", "--window", "boxcar")
    phonons = phonopy_file(tmp_path / "phonopy_params.yaml", *random_crystal(7))
    words = [tmp_path / "free.traj", "--timestep", 0.5, "--resolution", 700, "--phonons", phonons]
    assert f"free.traj: not a crystal, unlike {phonons}" in refuse(*words)
    assert "cannot be written" in complaint(
        response, "infrared", "--example", "-o", tmp_path / "nowhere" / "a.png"
    )
    assert "no picture format" in complaint(response, "infrared", "--example", "-o", tmp_path / "a.txt")


def test_free_molecule_is_given_per_mole(tmp_path):
    atoms, constants, charges = diatomic(spring=30.0, charge=0.5)
    modes = gamma_modes(atoms, constants)
    moved, velocities = thermal(modes, 1500, 1.0)
    write_structures(tmp_path / "md.traj", frames_of(atoms, charges, moved, velocities))
    words = [tmp_path / "md.traj", "--timestep", 1, "--temperature", 300, "--resolution", 50]
    words += ["-o", tmp_path / "a.png"]
    response(["infrared", *map(str, words)])
    ((wavenumbers, found),) = curves_of(tmp_path / "a.csv").values()
    assert (tmp_path / "a.csv").read_text().splitlines()[0].endswith("absorption (km/mol cm)")
    assert integral(wavenumbers, found) == pytest.approx(infrared_intensities(modes, charges).sum(), rel=0.02)


def test_a_molecule_in_a_box_is_that_of_the_free_one(tmp_path, complaint, capsys):
    """Its rotations, without a restoring force, are left out by the option that the message names."""
    atoms, constants, charges = diatomic(spring=30.0, charge=0.5)
    expected = gamma_modes(atoms, constants)
    box = atoms.copy()
    box.set_cell([9.0] * 3)
    box.pbc = True
    box.positions += [8.5, 4.0, 4.0]
    box.wrap()
    words = ["--phonons", phonopy_file(tmp_path / "phonopy_params.yaml", box, constants, charges)]
    words += ["-o", str(tmp_path / "a.png")]
    assert "or give --molecule, which leaves out the rotations" in complaint(response, "infrared", *words)
    response(["infrared", *words, "--molecule"])
    ((wavenumbers, found),) = curves_of(tmp_path / "a.csv").values()
    assert wavenumbers[np.argmax(found)] == pytest.approx(expected.wavenumbers[0], abs=1.0)
    total = infrared_intensities(expected, charges).sum()
    assert integral(wavenumbers, found) == pytest.approx(total, rel=1e-3)
    assert "km/mol" in (tmp_path / "a.csv").read_text().splitlines()[0]
    # Beside a trajectory of the box, which then is that of a molecule, too.
    moved, velocities = thermal(expected, 1500, 1.0)
    write_structures(tmp_path / "md.traj", frames_of(box, charges, moved, velocities))
    words += [tmp_path / "md.traj", "--timestep", 1, "--temperature", 300, "--resolution", 50, "--molecule"]
    response(["infrared", *map(str, words)])
    curves = curves_of(tmp_path / "a.csv").values()
    for wavenumbers, found in curves:
        assert integral(wavenumbers, found) == pytest.approx(total, rel=0.02)
    assert len(curves) == 2
    crystal = example_phonons()
    crystal = phonopy_file(tmp_path / "b.yaml", crystal.atoms, crystal.force_constants, crystal.charges)
    words = ["--phonons", crystal, "--molecule", "-o", str(tmp_path / "b.png")]
    assert "not a molecule in a box" in complaint(response, "infrared", *words)


def test_a_trajectory_without_motion_of_its_own_gives_nothing(tmp_path):
    """A crystal that only breathes absorbs nothing; the picture of nothing is one, too."""
    atoms, _, charges = random_crystal(2)
    frames = frames_of(atoms, charges, np.zeros((300, 3, 3)))
    for step, frame in enumerate(frames):
        frame.set_cell(atoms.cell * (1 + 0.01 * np.sin(0.2 * step)), scale_atoms=True)
    write_structures(tmp_path / "md.traj", frames)
    words = [tmp_path / "md.traj", "--timestep", 1, "--temperature", 300, "--resolution", 200]
    with pytest.warns(MotionWarning, match="not 300 K"):
        response(["infrared", *map(str, words), "-o", str(tmp_path / "a.png")])
    ((_, found),) = curves_of(tmp_path / "a.csv").values()
    assert found.max() < 1e-12
