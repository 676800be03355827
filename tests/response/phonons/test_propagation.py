"""Standard deviations through a committee: the whole calculation is done for each member."""

import dataclasses
import json

import numpy as np
import pytest
from helpers.checkpoints import saved
from helpers.committees import CALIBRATION, CONFIG, MEMBERS, joined, network
from helpers.random_crystals import random_crystal

from equivar_jax.prediction import electronic_dielectric_tensor
from equivar_jax.prediction.dielectric import dielectric_of_members
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.optics.permittivity import (
    active_lines,
    longitudinal_modes,
    static_permittivity,
)
from equivar_jax.response.phonons.gamma import gamma_modes, infrared_intensities
from equivar_jax.response.phonons.harmonic import rock_salt
from equivar_jax.response.phonons.phonopy_crystal import phonon_of
from equivar_jax.response.phonons.propagation import members_of

HEAD = dataclasses.replace(CONFIG, dielectric=True)
EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])


@pytest.fixture
def crystal():
    """Atoms without symmetry, of elements that the committees know, and force constants."""
    return random_crystal(seed=3, symbols="CaOTi")[:2]


def test_the_spread_of_the_members_gets_the_size_of_the_calibrated_sigma(crystal):
    atoms, committee = crystal[0], joined()
    members = members_of(committee, atoms, EPSILON)
    alone = np.stack([committee.member(k).predict(atoms) for k in range(MEMBERS)])
    mean, sigma = committee.predict(atoms, uncertainty=True)
    np.testing.assert_allclose(members.charges, mean + members.factor * (alone - mean), atol=1e-5)
    np.testing.assert_allclose(members.charges.sum(axis=1), 0.0, atol=1e-8)
    np.testing.assert_array_equal(members.epsilon_inf, [EPSILON] * MEMBERS)
    found = members.sigma(lambda charges, _: charges)
    np.testing.assert_allclose(found, members.factor * alone.std(axis=0, ddof=1), atol=1e-5)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(np.sqrt(np.mean(sigma**2)), rel=1e-4)
    assert members.factor != pytest.approx(CALIBRATION.scale, rel=0.01)  # there is a floor


def test_components_that_symmetry_makes_zero_do_not_count():
    """In rock salt a tensor is a number, and the floor gives its zeros a sigma."""
    crystal, committee = rock_salt("CaO", 4.8, cubic=False), joined()
    mean, sigma = committee.predict(crystal, uncertainty=True)
    found = members_of(committee, crystal).sigma(lambda charges, _: charges)
    diagonal = np.broadcast_to(np.eye(3, dtype=bool), mean.shape)
    np.testing.assert_allclose(found[diagonal], sigma[diagonal], rtol=1e-3)
    assert found[~diagonal].max() < 1e-5 < sigma[~diagonal].min()


def test_a_committee_that_was_not_calibrated_is_taken_as_it_is(crystal):
    members = members_of(joined(calibration=None), crystal[0])
    alone = [joined().member(k).predict(crystal[0]) for k in range(MEMBERS)]
    np.testing.assert_allclose(members.charges, alone, atol=1e-5)
    assert members.factor == 1.0
    assert members.epsilon_inf is None
    assert "as they are" in members.describe()


def test_without_a_committee_there_is_nothing_to_propagate(crystal):
    assert members_of(network(0), crystal[0]) is None
    assert members_of(None, crystal[0]) is None


def test_members_have_dielectric_tensors_of_their_own(crystal):
    atoms, committee = crystal[0], joined(HEAD)
    found = members_of(committee, atoms)
    np.testing.assert_allclose(
        found.epsilon_inf.mean(axis=0), electronic_dielectric_tensor(committee, atoms), rtol=1e-4
    )
    own = dielectric_of_members(committee, [atoms])[:, 0]
    np.testing.assert_allclose(found.epsilon_inf, own, rtol=1e-4)  # not calibrated
    scaled = dataclasses.replace(CALIBRATION, scale=1e3)
    far = members_of(
        dataclasses.replace(
            committee, metadata=dataclasses.replace(committee.metadata, dielectric_calibration=scaled)
        ),
        atoms,
    )
    assert np.linalg.eigvalsh(far.epsilon_inf).min() > 1 - 1e-9  # that of vacuum


@pytest.fixture
def phonopy_file(crystal, tmp_path):
    atoms, constants = crystal
    phonon = phonon_of(atoms, primitive="P")
    phonon.force_constants = constants
    path = tmp_path / "phonopy_params.yaml"
    phonon.save(path, settings={"force_constants": True})
    return path


def test_the_command_says_how_certain_its_numbers_are(crystal, phonopy_file, tmp_path, capsys):
    """Each number is computed for each member here, and the spread is what the command writes."""
    committee = joined(HEAD)
    words = ["dielectric", str(phonopy_file), "--checkpoint", saved(committee, tmp_path / "committee")]
    response([*words, "-o", str(tmp_path / "a.png")])
    report = json.loads((tmp_path / "a.json").read_text())
    atoms, constants = crystal
    modes, volume = gamma_modes(atoms, constants), atoms.get_volume()
    members = members_of(committee, atoms)
    pairs = list(zip(members.charges, members.epsilon_inf, strict=True))
    static = np.std([static_permittivity(modes, Z, volume, eps) for Z, eps in pairs], axis=0, ddof=1)
    np.testing.assert_allclose(report["epsilon_0_std"], static, rtol=1e-3)
    electrons = np.std(members.epsilon_inf, axis=0, ddof=1)
    np.testing.assert_allclose(report["epsilon_inf_std"], electrons, rtol=1e-3, atol=1e-6)
    intensities = np.std([infrared_intensities(modes, Z) for Z, _ in pairs], axis=0, ddof=1)
    found = [mode["intensity_std_km_per_mol"] for mode in report["modes"]]
    np.testing.assert_allclose(found, intensities, rtol=1e-3)
    mean, axis = committee.predict(atoms), np.eye(3)[2]
    lines = active_lines(
        longitudinal_modes(modes, mean, volume, np.array(report["epsilon_inf"]), axis), mean, axis
    )
    assert len(report["longitudinal_std_per_cm"]["z"]) == len(lines) == 6
    assert min(report["longitudinal_std_per_cm"]["z"]) > 0
    printed = capsys.readouterr().out
    assert f" ± {intensities[0]:.2f}" in printed
    assert f" ± {report['longitudinal_std_per_cm']['z'][-1]:.2f} cm^-1" in printed
    assert f"over the 3 members of the committee, {members.factor:.3g} times as far apart" in printed


def test_a_given_dielectric_tensor_is_certain(phonopy_file, tmp_path):
    words = ["dielectric", str(phonopy_file), "--checkpoint", saved(joined(HEAD), tmp_path / "committee")]
    response([*words, "-o", str(tmp_path / "a.png"), "--epsilon-inf", "6"])
    report = json.loads((tmp_path / "a.json").read_text())
    assert "epsilon_inf_std" not in report
    np.testing.assert_allclose(report["epsilon_0_std"], report["epsilon_ionic_std"], rtol=1e-9)


def test_of_a_single_network_nothing_changes(phonopy_file, tmp_path, capsys):
    run = saved(network(0), tmp_path / "run")
    response(
        [
            "dielectric",
            str(phonopy_file),
            "--checkpoint",
            run,
            "-o",
            f"{tmp_path}/a.png",
            "--epsilon-inf",
            "6",
        ]
    )
    response(["infrared", "--phonons", str(phonopy_file), "--checkpoint", run, "-o", f"{tmp_path}/b.png"])
    assert "std" not in (tmp_path / "a.json").read_text()
    assert (tmp_path / "b.csv").read_text().splitlines()[0].count(",") == 2
    assert "±" not in capsys.readouterr().out


def test_infrared_intensities_and_spectra_have_standard_deviations(crystal, phonopy_file, tmp_path, capsys):
    committee = joined()
    words = ["infrared", "--phonons", str(phonopy_file), "--checkpoint", saved(committee, tmp_path / "run")]
    response([*words, "-o", str(tmp_path / "b.png")])
    heading, *rows = (tmp_path / "b.csv").read_text().splitlines()
    assert heading.endswith("standard deviation (cm^-1)")
    values = np.array([row.split(",")[1:] for row in rows], dtype=float)
    modes = gamma_modes(*crystal)
    sigmas = members_of(committee, crystal[0]).sigma(lambda charges, _: infrared_intensities(modes, charges))
    intensities = infrared_intensities(modes, committee.predict(crystal[0]))
    # A line that stands alone has the relative standard deviation of its intensity, at its peak.
    alone = int(np.argmax(intensities))
    peak = np.argmin(np.abs(values[:, 0] - modes.wavenumbers[alone]))
    assert values[peak, 2] / values[peak, 1] == pytest.approx(sigmas[alone] / intensities[alone], rel=0.05)
    assert f"± {sigmas[alone]:.2f}" in capsys.readouterr().out
