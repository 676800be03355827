"""The whole way from a structure to the folder of results, and what is refused on it."""

import csv
import json
import re
import warnings

import numpy as np
import phonopy
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

from equivar_jax.response.__main__ import main as response
from equivar_jax.response.crystal.example import CHARGE, EPSILON_INF, LATTICE_CONSTANT, STRETCHING
from equivar_jax.response.phonons.harmonic import rock_salt
from equivar_jax.response.units import INVERSE_CM, VACUUM_PERMITTIVITY

SPRINGS = "equivar_jax.response.crystal.example:springs"
FERROELECTRIC = "helpers.counting:ferroelectric"
QUICK = ["--shortest", "5"]


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The folder of the example."""
    folder = tmp_path_factory.mktemp("example") / "out"
    response(["crystal", "--example", *QUICK, "-o", str(folder)])
    return folder


@pytest.fixture
def magnesia(tmp_path):
    """A file of MgO."""
    write(tmp_path / "MgO.vasp", rock_salt("MgO", LATTICE_CONSTANT), direct=True)
    return str(tmp_path / "MgO.vasp")


def refusal(words, capsys):
    """What a command says that stops."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        response(["crystal", *words])
    assert stop.value.code == 2
    return capsys.readouterr().err


def results_of(folder):
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def test_the_example_has_the_modes_of_its_springs(example):
    found = results_of(example)
    masses = found["structure"]["masses_u"]
    reduced = masses[0] * masses[1] / (masses[0] + masses[1])
    transverse = np.sqrt(2 * STRETCHING / reduced) * INVERSE_CM
    field = CHARGE**2 / (VACUUM_PERMITTIVITY * LATTICE_CONSTANT**3 / 4 * reduced)
    longitudinal = np.sqrt(2 * STRETCHING / reduced + field / EPSILON_INF) * INVERSE_CM
    assert [mode["wavenumber_per_cm"] for mode in found["modes"]] == pytest.approx([transverse] * 3, rel=1e-3)
    assert {mode["irrep"] for mode in found["modes"]} == {"T1u"}
    assert all(mode["infrared_active"] for mode in found["modes"])
    for direction in found["longitudinal"]:
        assert direction["lines_per_cm"] == pytest.approx([longitudinal], rel=1e-3)
    static = np.array(found["epsilon_0"])
    ratio = (longitudinal / transverse) ** 2  # Lyddane, Sachs and Teller
    assert static == pytest.approx(EPSILON_INF * ratio * np.eye(3), rel=1e-3, abs=1e-6)
    assert found["spacegroup"] == {"symbol": "Fm-3m", "number": 225}
    assert found["imaginary"] == []
    assert found["relaxation"]["volume_change_percent"] == pytest.approx(100 * (1.01**-3 - 1), abs=1e-2)


def test_the_density_of_states_counts_every_mode(example):
    found = results_of(example)["dos"]
    grid = found["wavenumber_per_cm"]
    assert np.trapezoid(found["total"], grid) == pytest.approx(6, rel=0.03)
    assert np.sum(list(found["elements"].values()), axis=0) == pytest.approx(np.array(found["total"]))


def test_heat_capacity_and_entropy_have_their_classical_limits(example):
    found = results_of(example)["thermal"]
    gas_constant = 8.314462618
    assert found["heat_capacity_J_per_K_per_mol"][0] == pytest.approx(0, abs=1e-6)
    assert found["heat_capacity_J_per_K_per_mol"][-1] == pytest.approx(6 * gas_constant, rel=0.05)
    energy, entropy = (
        np.array(found[name]) for name in ("free_energy_kJ_per_mol", "entropy_J_per_K_per_mol")
    )
    slope = np.gradient(1000 * energy, found["temperature_K"])
    assert slope[20:-1] == pytest.approx(-entropy[20:-1], rel=1e-3)


def test_phonopy_takes_the_files_back(example):
    found = results_of(example)
    for born in (None, example / "BORN"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            phonon = phonopy.load(example / "phonopy_params.yaml", born_filename=born, log_level=0)
        along = phonon.run_qpoints([[0, 0, 0]], nac_q_direction=[1, 0, 0]).frequencies[0]
        (line,) = found["longitudinal"][0]["lines_per_cm"]
        assert along[-1] * 33.3564095 == pytest.approx(line, rel=1e-4)


def test_bands_start_at_gamma_with_the_modes(example):
    found = results_of(example)
    first = found["bands"]["segments"][0]
    assert first["from"] == "Γ"
    values = first["wavenumbers_per_cm"][0]
    assert values[:3] == pytest.approx([0, 0, 0], abs=1)
    assert values[3:5] == pytest.approx([mode["wavenumber_per_cm"] for mode in found["modes"][:2]], rel=1e-3)
    assert values[5] == pytest.approx(found["longitudinal"][0]["lines_per_cm"][0], rel=1e-3)


def test_tables_have_what_the_json_has(example):
    found = results_of(example)
    with (example / "modes.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert [float(row["wavenumber_per_cm"]) for row in rows] == pytest.approx(
        [mode["wavenumber_per_cm"] for mode in found["modes"]], rel=1e-6
    )
    with (example / "spectra.csv").open(encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    assert float(rows[0]["real_x"]) == pytest.approx(found["epsilon_0"][0][0], rel=1e-6)
    for name in ("bands", "dos", "dielectric", "infrared", "thermal"):
        assert (example / f"{name}.png").stat().st_size > 5000
    assert "<html" in (example / "report.html").read_text(encoding="utf-8")


def test_a_phonopy_file_needs_no_potential_and_says_where_all_came_from(example, tmp_path, capsys):
    response(["crystal", str(example / "phonopy_params.yaml"), "-o", str(tmp_path / "again")])
    found, first = results_of(tmp_path / "again"), results_of(example)
    assert np.array(found["epsilon_0"]) == pytest.approx(np.array(first["epsilon_0"]), rel=1e-6)
    sources = {item["name"]: item["source"] for item in found["ingredients"]}
    assert set(sources.values()) == {str(example / "phonopy_params.yaml")}
    assert "phonopy_params.yaml" in capsys.readouterr().out
    words = [str(example / "phonopy_params.yaml"), "--potential", SPRINGS]
    assert "has forces of its own" in refusal(words, capsys)


def test_charges_of_the_network_come_with_standard_deviations(magnesia, tmp_path):
    response(["crystal", magnesia, "--potential", SPRINGS, *QUICK, "-o", str(tmp_path / "out")])
    found = results_of(tmp_path / "out")
    assert found["std"]["members"] > 1
    charges, deviations = (np.array(found[f"born_effective_charges_{kind}e"]) for kind in ("", "std_"))
    assert np.abs(charges.sum(axis=0)).max() < 1e-8
    assert charges[found["structure"]["symbols"].index("Mg")] == pytest.approx(1.97 * np.eye(3), abs=0.15)
    assert 0 < deviations.max() < 0.3
    assert 0 < found["epsilon_0_std"][0][0] < 2
    assert 0 < found["longitudinal"][0]["std_per_cm"][0] < 60
    sources = {item["name"]: item["source"] for item in found["ingredients"]}
    assert sources["Born effective charges"] == "network: weights of the package"
    assert SPRINGS in sources["forces"]


def test_charges_of_a_born_file_and_a_given_tensor_are_named(example, magnesia, tmp_path):
    command = ["crystal", magnesia, "--potential", SPRINGS, *QUICK, "--born", str(example / "BORN")]
    response([*command, "-o", str(tmp_path / "a")])
    found, first = results_of(tmp_path / "a"), results_of(example)
    assert np.array(found["epsilon_0"]) == pytest.approx(np.array(first["epsilon_0"]), rel=1e-3)
    assert found["std"] is None
    response([*command, "--epsilon-inf", "4", "-o", str(tmp_path / "b")])
    given = results_of(tmp_path / "b")
    assert given["epsilon_inf"][0][0] == pytest.approx(4)
    sources = {item["name"]: item["source"] for item in given["ingredients"]}
    assert sources["dielectric tensor"] == "--epsilon-inf"
    assert sources["Born effective charges"] == str(example / "BORN")


def test_an_unstable_crystal_has_no_static_tensor_and_says_why(example, magnesia, tmp_path, capsys):
    command = ["crystal", magnesia, "--potential", FERROELECTRIC, *QUICK, "--born", str(example / "BORN")]
    response([*command, "-o", str(tmp_path / "held")])
    found = results_of(tmp_path / "held")
    assert found["epsilon_0"] is found["thermal"] is found["infrared"] is None
    at_gamma = [mode for mode in found["imaginary"] if mode["where"] == "Γ"]
    assert [mode["degeneracy"] for mode in at_gamma] == [3]
    assert at_gamma[0]["wavenumber_per_cm"] == pytest.approx(found["modes"][0]["wavenumber_per_cm"], rel=1e-6)
    assert "polar instability" in at_gamma[0]["meaning"]
    assert "UNSTABLE at Γ" in capsys.readouterr().out
    assert not (tmp_path / "held" / "infrared.png").exists()


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (molecule("H2O", vacuum=6.0, pbc=True), "so a molecule"),
        (Atoms("MgO", [[0, 0, 0], [2.1, 2.1, 0]], cell=[2.98, 2.98, 20], pbc=True), "a slab"),
        (molecule("H2O"), "not periodic in all directions"),
    ],
    ids=["box", "slab", "molecule"],
)
def test_what_is_no_crystal_is_refused(atoms, reason, tmp_path, capsys):
    write(tmp_path / "x.extxyz", atoms)
    words = [str(tmp_path / "x.extxyz"), "--potential", SPRINGS, "-o", str(tmp_path / "o")]
    assert reason in refusal(words, capsys)
    assert not (tmp_path / "o").exists()


def test_a_charged_cell_and_a_metal_are_refused(tmp_path, capsys):
    charged = rock_salt("MgO")
    charged.info["charge"] = 1.0
    write(tmp_path / "charged.extxyz", charged)
    write(tmp_path / "metal.cif", bulk("TiN", "rocksalt", a=4.24))
    for name, reason in (("charged.extxyz", "charge 1 e"), ("metal.cif", "say --insulator")):
        words = [str(tmp_path / name), "--potential", SPRINGS, "-o", str(tmp_path / "o")]
        assert reason in refusal(words, capsys)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "no structure"),
        (["MgO.vasp"], "name a potential"),
        (["MgO.vasp", "--potential", "helpers.counting:no_stress"], "--fixed-cell"),
        (["MgO.vasp", "--potential", SPRINGS, "--shortest", "-1"], "--shortest -1.0: give a positive"),
        (
            ["MgO.vasp", "--potential", SPRINGS, "--born", "B", "--checkpoint", "shipped"],
            "leave one of them out",
        ),
        (["MgO.vasp", "--potential", SPRINGS, "--force-constants", "F"], "belongs to a phonopy file"),
        (["--example", "--potential", SPRINGS], "leave out potential"),
        (["two.extxyz", "--potential", SPRINGS], "2 structures"),
    ],
)
def test_commands_that_cannot_be_meant_are_refused(words, reason, magnesia, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write("two.extxyz", [read(magnesia)] * 2)
    assert reason in refusal(words, capsys)


def test_a_disordered_crystal_is_refused(tmp_path, capsys):
    text = """data_x
_cell_length_a 4.21
_cell_length_b 4.21
_cell_length_c 4.21
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Mg1 Mg 0 0 0 0.5
Ca1 Ca 0 0 0 0.5
O1 O 0.5 0.5 0.5 1.0
"""
    (tmp_path / "mixed.cif").write_text(text, encoding="utf-8")
    said = refusal([str(tmp_path / "mixed.cif"), "--potential", SPRINGS], capsys)
    assert re.search(r"mixed.cif.*(occup|shared|disorder)", said)
