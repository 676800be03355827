"""What `dielectric` and `infrared` take where nothing is named."""

import json

import numpy as np
import pytest
from ase import units
from ase.io import write
from helpers.tables import curves_of
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax.io import write_structures
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt


@pytest.fixture
def phonons(tmp_path):
    """A phonopy file of MgO with springs, without charges."""
    atoms = rock_salt("MgO", cubic=False)
    cell = PhonopyAtoms(symbols=list(atoms.symbols), cell=atoms.cell.array, positions=atoms.positions)
    phonon = Phonopy(cell, np.eye(3, dtype=int), primitive_matrix=np.eye(3))
    phonon.force_constants = nearest_neighbour_springs(atoms, 2.4, 0.22)
    phonon.save(tmp_path / "phonopy_params.yaml", settings={"force_constants": True})
    return tmp_path / "phonopy_params.yaml"


def test_the_weights_of_the_package_give_charges_and_dielectric_tensor(phonons, tmp_path):
    found = []
    for name, words in (("a", []), ("b", ["--checkpoint", "shipped"])):
        response(["dielectric", str(phonons), *words, "-o", str(tmp_path / f"{name}.png")])
        found.append(json.loads((tmp_path / f"{name}.json").read_text()))
    assert found[0] == found[1]
    assert found[0]["epsilon_inf"][0][0] == pytest.approx(3.0, abs=0.5)
    assert found[0]["std"]["members"] > 1


def test_infrared_spectra_of_frames_without_labels_and_of_phonons_take_them_too(phonons, tmp_path):
    atoms = rock_salt("MgO", cubic=False)
    frames = []
    for step in range(30):
        frames.append(atoms.copy())
        frames[-1].positions[0, 0] += 0.01 * np.cos(0.3 * step)
        frames[-1].set_velocities([[-0.01 * 0.3 / units.fs * np.sin(0.3 * step), 0, 0], [0, 0, 0]])
    write_structures(tmp_path / "md.traj", frames)
    words = ["infrared", str(tmp_path / "md.traj"), "--timestep", "1", "--resolution", "2000"]
    words += ["--phonons", str(phonons), "--every", "10", "--temperature", "300", "-o"]
    response([*words, str(tmp_path / "a.png")])
    response([*words, str(tmp_path / "b.png"), "--checkpoint", "shipped"])
    assert (tmp_path / "a.csv").read_text() == (tmp_path / "b.csv").read_text()
    assert all(curve[1].max() > 0 for curve in curves_of(tmp_path / "a.csv").values())


@pytest.mark.parametrize("name", ["MgO.cif", "POSCAR"])
def test_a_structure_in_the_place_of_a_phonopy_file_tells_how_to_come_to_phonons(name, tmp_path, complaint):
    write(tmp_path / name, rock_salt("MgO"), format="vasp" if name == "POSCAR" else None)
    path = tmp_path / name
    told = complaint(response, "dielectric", path, "-o", tmp_path / "a.png")
    assert f"`equivar response crystal {path} --potential NAME`, or `phonopy -d` and your own forces" in told
    told = complaint(response, "infrared", "--phonons", path, "-o", tmp_path / "a.png")
    assert "`equivar response crystal" in told


def test_a_damaged_phonopy_file_is_not_taken_for_a_structure(tmp_path, complaint):
    (tmp_path / "phonopy.yaml").write_text("nothing")
    told = complaint(response, "dielectric", tmp_path / "phonopy.yaml", "-o", tmp_path / "a.png")
    assert "crystal" not in told.replace(str(tmp_path), "")
    assert "no such file" in complaint(response, "dielectric", tmp_path / "MgO.cif", "-o", tmp_path / "a.png")


def test_whose_charges_act_is_printed(phonons, tmp_path, capsys):
    """A BORN beside the file is taken without being named."""
    words = ["infrared", "--phonons", str(phonons), "-o", str(tmp_path / "a.png")]
    response(words)
    assert f"{phonons}: Born effective charges of the package's weights\n" in capsys.readouterr().out
    response(["born", str(phonons), "-o", str(tmp_path / "BORN"), str(tmp_path / "nac.yaml")])
    capsys.readouterr()
    response(words)
    assert f"Born effective charges of {tmp_path / 'BORN'};" in capsys.readouterr().out
    words[2] = str(tmp_path / "nac.yaml")
    response(words)
    assert f"Born effective charges of {tmp_path / 'nac.yaml'};" in capsys.readouterr().out
    response([*words, "--checkpoint", "shipped"])
    assert "Born effective charges of the network in shipped\n" in capsys.readouterr().out
    response(["born", words[2], "-o", str(tmp_path / "again.yaml")])
    assert f"electronic dielectric tensor of {tmp_path / 'nac.yaml'};" in capsys.readouterr().out
