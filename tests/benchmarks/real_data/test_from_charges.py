"""What follows from predicted charges, on crystals of springs; and phonopy's LO modes on real ones."""

import json
import lzma
import os
from pathlib import Path

import numpy as np
import pytest
from helpers.checkpoints import saved
from helpers.committees import CONFIG, calibrated_with_dielectric, joined, network
from helpers.random_crystals import random_crystal

from benchmarks.accuracy.report import write_report
from benchmarks.real_data.from_charges import __main__ as from_charges
from benchmarks.real_data.from_charges import crystals as crystals_room
from benchmarks.real_data.from_charges.comparison import (
    DIRECTIONS,
    Tensors,
    compare,
    summarise,
    summarise_coverage,
)
from benchmarks.real_data.from_charges.crystals import FOLDER, Crystal, read_crystals
from equivar_jax.response.optics.permittivity import longitudinal_modes, static_permittivity
from equivar_jax.response.phonons.gamma import gamma_modes
from equivar_jax.response.phonons.gamma_input import Phonons, read_phonons
from equivar_jax.response.phonons.phonopy_crystal import load_phonon, phonon_of
from equivar_jax.response.splitting.born_gamma import mode_splitting
from equivar_jax.response.units import INVERSE_CM, TERAHERTZ
from equivar_jax.structures import epsilon_inf

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])
DATA = os.environ.get("EQUIVAR_DATA")


def written(folder, name, symbols="CaOTi", sign=1.0, seed=3):
    """A file of phonopy with force constants, charges and eps_inf."""
    atoms, constants, charges = random_crystal(seed, symbols)
    phonon = phonon_of(atoms, primitive="P")
    phonon.force_constants = sign * constants
    phonon.nac_params = {"born": charges, "dielectric": EPSILON, "factor": 14.399652}
    plain = folder / "phonopy_params.yaml"
    phonon.save(plain, settings={"force_constants": True})
    (folder / f"{name}.yaml.xz").write_bytes(lzma.compress(plain.read_bytes()))
    plain.unlink()


@pytest.fixture
def data(tmp_path, monkeypatch):
    """Two crystals that can be compared, one that is not stable, and one of an element nobody knows."""
    folder = tmp_path / FOLDER
    folder.mkdir()
    written(folder, "mp-1")
    written(folder, "mp-2", sign=-1.0)
    written(folder, "mp-3", symbols="CaOXe")
    written(folder, "mp-4", symbols="OTiO", seed=5)
    monkeypatch.setenv("EQUIVAR_DATA", str(tmp_path))
    monkeypatch.setenv("EQUIVAR_CACHE", str(tmp_path / "cache"))
    return tmp_path


def example(charges=None, tensor=EPSILON):
    """A stable crystal, its modes, and tensors of it."""
    atoms, constants, own = random_crystal(3, "CaOTi")
    crystal = Crystal("mp-1", Phonons(atoms, constants, own))
    return crystal, gamma_modes(atoms, constants), Tensors(own if charges is None else charges, tensor)


def test_the_command_compares_what_can_be_compared(data, capsys):
    """With both eps_inf; the errors are those of the formulae."""
    committee, output = calibrated_with_dielectric(), data / "result.json"
    words = ["--checkpoint", saved(committee, data / "run"), "-o", str(output)]
    from_charges.main([*words, "--card", str(data / "card.md")])
    rows = {row["facts"]["epsilon_inf"]: row for row in json.loads(output.read_text())["rows"]}
    assert list(rows) == ["predicted", "DFPT"]
    for variant, row in rows.items():
        assert row["label"] == f"run, {variant} eps_inf"
        assert [each["name"] for each in row["by_crystal"]] == ["mp-1", "mp-4"]
        assert row["crystals"] == 2
        assert "softest mode" in row["left_out"]["mp-2"]
        assert "never seen Xe" in row["left_out"]["mp-3"]
        assert row["coverage"]["static"]["counted"] == 2
        found = row["by_crystal"][0]
        phonons = read_phonons(data / FOLDER / "mp-1.yaml.xz")
        modes, volume = gamma_modes(phonons.atoms, phonons.force_constants), phonons.atoms.get_volume()
        reference = static_permittivity(modes, phonons.charges, volume, EPSILON)
        zero = static_permittivity(modes, phonons.charges, volume, np.zeros((3, 3)))
        charges = committee.predict(phonons.atoms)
        ionic = static_permittivity(modes, charges, volume, np.zeros((3, 3)))
        assert found["errors"]["ionic"] == pytest.approx(abs(np.trace(ionic) / np.trace(zero) - 1), rel=1e-4)
        assert found["static"]["dfpt"] == pytest.approx(np.trace(reference) / 3)
        assert found["charges_mae"] == pytest.approx(np.abs(charges - phonons.charges).mean(), rel=1e-4)
    assert rows["DFPT"]["errors"]["electronic"]["mean"] == 0.0
    assert rows["predicted"]["errors"]["electronic"]["mean"] > 0.01
    assert rows["predicted"]["errors"]["ionic"] == rows["DFPT"]["errors"]["ionic"]
    assert output.with_suffix(".png").stat().st_size > 10_000
    printed, card = capsys.readouterr().out, (data / "card.md").read_text()
    assert "left out: 1 not stable, 1 of unknown elements" in printed
    median = rows["DFPT"]["errors"]["longitudinal"]["median"]
    assert f"| {median:.1f} |" in printed
    assert "LO lines" in card
    write_report(data)
    assert f"| {median:.1f} |" in (data / "README.md").read_text()


def test_a_network_without_the_readout_is_compared_with_the_eps_inf_of_dfpt_only(data, capsys):
    run = saved(network(0), data / "single")
    from_charges.main(["--checkpoint", run, "-o", str(data / "a.json"), "--limit", "1"])
    predicted, given = json.loads((data / "a.json").read_text())["rows"]
    assert predicted["failed"] == "the network has no readout for eps_inf"
    assert "errors" not in predicted
    assert given["crystals"] == 1
    assert given["coverage"] is None  # it has no sigma
    assert "within sigma" not in capsys.readouterr().out


def test_force_constants_come_from_the_cache_the_second_time(data, monkeypatch):
    first = list(read_crystals(data / FOLDER))
    monkeypatch.setattr(crystals_room, "read_phonons", None)
    for ours, theirs in zip(read_crystals(data / FOLDER), first, strict=True):
        assert ours.name == theirs.name
        assert ours.phonons.atoms == theirs.phonons.atoms
        for name in ("charges", "force_constants"):
            np.testing.assert_array_equal(getattr(ours.phonons, name), getattr(theirs.phonons, name))
    assert [crystal.name for crystal in read_crystals(data / FOLDER, 2)] == ["mp-1", "mp-2"]


def test_the_same_tensors_have_no_error_and_other_ones_have():
    crystal, modes, reference = example()
    found = compare(crystal, modes, reference, reference, None)
    assert set(found["errors"].values()) == {0.0}
    larger = compare(crystal, modes, reference, Tensors(1.1 * reference.charges, EPSILON), None)
    assert larger["errors"]["ionic"] == pytest.approx(0.21)
    assert larger["errors"]["intensities"] == pytest.approx(0.21)
    assert larger["errors"]["electronic"] == 0.0
    transposed = Tensors(reference.charges.transpose(0, 2, 1), EPSILON)
    assert compare(crystal, modes, reference, transposed, None)["errors"]["longitudinal"] > 1.0


def test_the_worst_lo_frequency_is_over_all_directions():
    crystal, modes, reference = example()
    stiff = EPSILON + np.diag([0.0, 0.0, 50.0])  # along z alone
    found = compare(crystal, modes, reference, Tensors(reference.charges, stiff), None)
    volume = crystal.phonons.atoms.get_volume()
    lines = [
        longitudinal_modes(modes, reference.charges, volume, tensor, DIRECTIONS[2]).wavenumbers
        for tensor in (EPSILON, stiff)
    ]
    assert found["errors"]["longitudinal"] == pytest.approx(np.abs(lines[0] - lines[1]).max())


def test_summaries_are_over_crystals_and_coverage_over_numbers():
    rows = [
        {"charges_mae": 0.1 * k, "errors": {"ionic": float(k)}, "within": {"static": [k, 1, k]}}
        for k in (1, 2, 6)
    ]
    assert summarise(rows)["ionic"] == {"median": 2.0, "mean": 3.0, "percentile_90": pytest.approx(5.2)}
    assert summarise_coverage(rows)["static"] == {"counted": 9, "within_one": 3 / 9, "within_two": 1.0}


def test_members_of_a_committee_that_agree_with_dfpt_cover_it():
    """The labels of one member, of a committee that was not calibrated: as far off as the members are."""
    crystal, modes, _ = example()
    committee = joined(CONFIG, calibration=None)
    atoms = crystal.phonons.atoms
    reference = Tensors(committee.member(1).predict(atoms), EPSILON)
    members = from_charges.members_of(committee, atoms, EPSILON)
    found = compare(crystal, modes, reference, Tensors(committee.predict(atoms), EPSILON), members)
    counted, one, two = np.sum(list(found["within"].values()), axis=0)
    assert counted > 20
    assert one > 0.5 * counted
    # Of three numbers none is further than 2 / sqrt(3) of their standard deviation from the mean.
    assert two > 0.9 * counted


@pytest.mark.skipif(DATA is None, reason="EQUIVAR_DATA is not set")
@pytest.mark.parametrize("name", ["mp-7977", "mp-1378", "mp-33615"])
def test_phonopy_has_the_same_longitudinal_modes(name):
    """Of the same force constants; `phonopy.load` itself makes them symmetric in another way, to 1e-5."""
    path = Path(DATA) / FOLDER / f"{name}.yaml.xz"
    if not path.is_file():
        pytest.skip(f"EQUIVAR_DATA has no {FOLDER}")
    phonons, phonon = read_phonons(path), load_phonon(path)
    modes, tensor = gamma_modes(phonons.atoms, phonons.force_constants), epsilon_inf(phonons.atoms)
    for direction in (*DIRECTIONS, np.array([0.3, -0.5, 0.8])):
        ours = longitudinal_modes(modes, phonons.charges, phonons.atoms.get_volume(), tensor, direction)
        theirs = mode_splitting(phonon, direction).frequencies * INVERSE_CM / TERAHERTZ
        vibrations = np.sort(theirs[np.argsort(np.abs(theirs))[3:]])  # without the acoustic modes
        np.testing.assert_allclose(ours.wavenumbers, vibrations, rtol=1e-6, atol=1e-6 * theirs.max())
