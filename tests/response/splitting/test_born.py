"""The command: from predicted tensors to phonopy's files and bands."""

import warnings

import numpy as np
import phonopy
import pytest
from ase import Atoms
from ase.io import write
from phonopy import Phonopy
from phonopy.file_IO import (
    parse_BORN,
    write_FORCE_CONSTANTS,
    write_force_constants_to_hdf5,
    write_FORCE_SETS,
)
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax import load
from equivar_jax.io import read_structures
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, load_phonon, phonon_of, structure_of
from equivar_jax.response.splitting.born import LeftHandedCellWarning
from equivar_jax.response.splitting.born_example import sodium_chloride
from equivar_jax.response.splitting.born_gamma import mode_splitting
from equivar_jax.response.splitting.born_nac import nac_params

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])


def perovskite():
    """Cubic CaTiO3, whose elements the trained model knows."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    return Atoms("CaTiO3", cell=[3.9] * 3, pbc=True, scaled_positions=places)


def with_forces(supercell=2):
    """phonopy's object of cubic CaTiO3 with displacements, forces and force constants of springs."""
    phonon = phonon_of(perovskite(), (supercell,) * 3)
    phonon.generate_displacements()
    constants = nearest_neighbour_springs(atoms_of(phonon.supercell), 8.0, 1.0)
    for step in phonon.dataset["first_atoms"]:
        step["forces"] = -constants[:, step["number"]] @ step["displacement"]
    phonon.force_constants = constants
    return phonon


@pytest.fixture
def structure(tmp_path):
    path = tmp_path / "POSCAR"
    write(path, perovskite(), format="vasp")
    return path


def test_predicted_tensors_reach_phonopy(trained, structure, tmp_path, capsys):
    """Cubic perovskite: BORN and the YAML file hold the prediction, made symmetric."""
    born, yaml = tmp_path / "BORN", tmp_path / "phonopy_params.yaml"
    words = [structure, "--checkpoint", trained.folder, "--epsilon-inf", 6, "-o", born, yaml]
    response(["born", *map(str, words)])
    assert "symmetrisation moved the tensors by at most" in capsys.readouterr().out
    predicted = load(trained.folder).predict(perovskite())
    phonon = phonopy.load(yaml, is_nac=True)
    for nac in (phonon.nac_params, parse_BORN(phonon.primitive, filename=born)):
        np.testing.assert_allclose(nac["born"], predicted, atol=1e-5)
        np.testing.assert_allclose(nac["dielectric"], 6 * np.eye(3), atol=1e-8)
    # The next run finds the dielectric tensor in the file.
    response(["born", str(yaml), "--checkpoint", str(trained.folder), "-o", str(tmp_path / "again.born")])
    assert (tmp_path / "again.born").read_text() == born.read_text()


def test_a_crystal_without_symmetry_keeps_every_component(trained, calcium_titanate, tmp_path):
    write(tmp_path / "POSCAR", calcium_titanate, format="vasp", direct=True, sort=False)
    born = tmp_path / "BORN"
    epsilon = [str(value) for value in EPSILON.ravel()]
    options = ["--checkpoint", str(trained.folder), "--epsilon-inf", *epsilon, "-o", str(born)]
    response(["born", str(tmp_path / "POSCAR"), *options])
    found = parse_BORN(phonon_of(calcium_titanate).primitive, filename=born)
    predicted = load(trained.folder).predict(calcium_titanate)
    np.testing.assert_allclose(found["born"], predicted, atol=1e-5)
    assert np.abs(predicted - predicted.transpose(0, 2, 1)).max() > 1e-3
    np.testing.assert_allclose(found["dielectric"], EPSILON, atol=1e-8)


@pytest.mark.parametrize("source", ["forces", "FORCE_SETS", "FORCE_CONSTANTS", "force_constants.hdf5"])
def test_forces_are_found_in_the_file_or_beside_it(source, tmp_path):
    made = with_forces()
    charges = np.array([2.0, 4.0, -2.0, -2.0, -2.0])[:, None, None] * np.eye(3)
    nac = nac_params(made, charges, 6 * np.eye(3))
    path, constants = tmp_path / "phonopy_params.yaml", made.force_constants
    forces = source == "forces"
    made.save(path, settings={"force_sets": forces, "force_constants": False})
    if source == "FORCE_SETS":
        write_FORCE_SETS(made.dataset, tmp_path / source)
    elif source == "FORCE_CONSTANTS":
        write_FORCE_CONSTANTS(constants, tmp_path / source)
    elif not forces:
        write_force_constants_to_hdf5(constants, tmp_path / source)
    read = load_phonon(path)
    made.nac_params = read.nac_params = nac
    expected = mode_splitting(made, (1, 0, 0)).frequencies
    np.testing.assert_allclose(mode_splitting(read, (1, 0, 0)).frequencies[3:], expected[3:], atol=1e-5)


def test_a_file_of_forces_keeps_them_and_gives_bands(trained, tmp_path, capsys):
    path, result, picture = (tmp_path / name for name in ("params.yaml", "with_nac.yaml", "bands.png"))
    with_forces().save(path)
    words = [path, "--checkpoint", trained.folder, "--epsilon-inf", 6, "-o", result, picture]
    response(["born", *map(str, words)])
    assert "Gamma to X: LO" in capsys.readouterr().out
    assert picture.stat().st_size > 20_000
    read = phonopy.load(result)
    assert len(read.dataset["first_atoms"][0]["forces"]) == 40
    predicted = load(trained.folder).predict(perovskite())
    np.testing.assert_allclose(read.nac_params["born"], predicted, atol=1e-5)


def test_a_calculator_of_other_units_gives_the_same_frequencies(tmp_path):
    """Quantum ESPRESSO: bohr and Ry; the factor of the dipole term, e²/(4 pi eps0), is 2 Ry bohr."""
    example = sodium_chloride()
    units = get_calculator_physical_units("qe")
    bohr, rydberg = units.distance_to_A, units.force_to_eVperA * units.distance_to_A
    cell = example.unitcell
    other = Phonopy(
        PhonopyAtoms(numbers=cell.numbers, cell=cell.cell / bohr, scaled_positions=cell.scaled_positions),
        2 * np.eye(3, dtype=int),
        primitive_matrix="P",
        calculator="qe",
    )
    other.force_constants = example.force_constants * bohr**2 / rydberg
    other.save(tmp_path / "phonopy_params.yaml")
    read = load_phonon(tmp_path / "phonopy_params.yaml")
    atoms = structure_of(read, read.unitcell, "a name")
    np.testing.assert_allclose(atoms.cell.array, cell.cell, atol=1e-6)
    assert atoms.info == {"source": "a name"}
    nac = example.nac_params
    read.nac_params = nac_params(read, nac["born"], nac["dielectric"])
    assert read.nac_params["factor"] == 2.0
    found, expected = (mode_splitting(phonon, (0, 0, 1)) for phonon in (read, example))
    np.testing.assert_allclose(found.frequencies[3:], expected.frequencies[3:], rtol=1e-6)


def test_the_example_writes_what_is_asked_for(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    response(["born", "--example"])
    assert (tmp_path / "bands.png").is_file()
    response(["born", "--example", "-o", "BORN", "nacl.yaml"])
    captured = capsys.readouterr()
    assert "LO 7.541 THz" in captured.out
    assert captured.err.splitlines() == ["bands.png: written", "BORN: written", "nacl.yaml: written"]
    read = phonopy.load("nacl.yaml")
    modes = mode_splitting(read, (1, 0, 0))
    expected = mode_splitting(sodium_chloride(), (1, 0, 0))
    np.testing.assert_allclose(modes.frequencies[3:], expected.frequencies[3:], rtol=1e-6)
    nac = parse_BORN(read.primitive, filename="BORN")
    np.testing.assert_allclose(nac["born"], [1.086875 * np.eye(3), -1.086875 * np.eye(3)], atol=1e-8)


def test_one_line_for_each_mistake(trained, structure, tmp_path, complaint):
    run, epsilon = ["--checkpoint", trained.folder], ["--epsilon-inf", "6"]
    nowhere = ["-o", tmp_path / "BORN"]
    assert "--epsilon-inf" in complaint(response, "born", structure, *run, *nowhere)
    assert "no such file" in complaint(response, "born", tmp_path / "nothing", *run, *epsilon, *nowhere)
    assert "give a structure" in complaint(response, "born", *run, *epsilon, *nowhere)
    assert "no forces" in complaint(response, "born", structure, *run, *epsilon, "-o", tmp_path / "bands.png")
    assert "no format" in complaint(response, "born", structure, *run, *epsilon, "-o", tmp_path / "born.csv")
    missing = tmp_path / "missing" / "phonopy_params.yaml"
    assert "missing" in complaint(response, "born", structure, *run, *epsilon, "-o", missing)
    assert "its own crystal" in complaint(response, "born", structure, "--example")
    write(tmp_path / "two.extxyz", [perovskite()] * 2)
    assert "2 structures" in complaint(response, "born", tmp_path / "two.extxyz", *run, *epsilon, *nowhere)
    write(tmp_path / "water.xyz", Atoms("OH2", positions=[(0, 0, 0), (0.8, 0.6, 0), (-0.8, 0.6, 0)]))
    assert "not periodic" in complaint(response, "born", tmp_path / "water.xyz", *run, *epsilon, *nowhere)
    for text, fault in (("a: [1,\n", "cannot read"), ("- 1\n", "no phonopy YAML"), ("a: 1\n", "unit_cell")):
        (tmp_path / "bad.yaml").write_text(text)
        assert fault in complaint(response, "born", tmp_path / "bad.yaml", *run, *epsilon, *nowhere)
    assert not (tmp_path / "BORN").exists()
    with_forces(1).save(tmp_path / "phonopy_disp.yaml", settings={"force_sets": False})
    (tmp_path / "FORCE_SETS").write_text("nonsense\n")
    assert "FORCE_SETS" in complaint(
        response, "born", tmp_path / "phonopy_disp.yaml", *run, *epsilon, *nowhere
    )


def test_what_a_charge_and_vacuum_do_is_said(trained, tmp_path, calcium_titanate):
    """And the masses of isotopes reach the YAML file, from which they come back."""
    slab = calcium_titanate.copy()
    slab.set_cell([*slab.cell.lengths()[:2], 14.0])
    slab.info["charge"] = -1.0
    slab.set_masses(np.where(slab.numbers == 8, 17.999, slab.get_masses()))
    write(tmp_path / "slab.extxyz", slab)
    result = tmp_path / "slab.yaml"
    words = (tmp_path / "slab.extxyz", "--checkpoint", trained.folder, "--epsilon-inf", 6, "-o", result)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        response(["born", *map(str, words)])
    said = {str(warning.message) for warning in found}
    assert sum("takes Q/N = -0.05 e off the diagonal" in text for text in said) == 1
    assert sum("across c of vacuum, so a slab" in text for text in said) == 1
    assert not any("may not belong together" in text for text in said)
    (read,) = read_structures(result)
    assert set(read.get_masses()[read.numbers == 8].round(6)) == {17.999}


def test_the_born_of_a_left_handed_cell_comes_with_a_word(trained, structure, tmp_path):
    """phonopy itself cannot use such a cell; the tensors are those of the same crystal."""
    atoms = perovskite().repeat((1, 2, 1))
    atoms.set_cell(atoms.cell.array[[1, 0, 2]])
    write(tmp_path / "left.vasp", atoms, format="vasp")
    files = [tmp_path / name / "BORN" for name in ("right", "left")]
    options = ["--checkpoint", str(trained.folder), "--epsilon-inf", "6", "-o"]
    for file in files:
        file.parent.mkdir()
    response(["born", str(structure), *options, str(files[0])])
    with pytest.warns(LeftHandedCellWarning, match="give it the opposite vectors"):
        response(["born", str(tmp_path / "left.vasp"), *options, str(files[1])])
    right, left = (np.loadtxt(file, skiprows=1) for file in files)
    np.testing.assert_allclose(left, right, atol=1e-5)


def test_phonopy_takes_back_the_born_of_a_magnetic_crystal(trained, tmp_path):
    """Moments along c double the number of inequivalent atoms of two cells of CaTiO3."""
    atoms = perovskite().repeat((1, 1, 2))
    cell = PhonopyAtoms(
        symbols=list(atoms.symbols),
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        magnetic_moments=[{"Ti": 1.0 + (atom.z > 3.9)}.get(atom.symbol, 0.0) for atom in atoms],
    )
    path, born = tmp_path / "phonopy_disp.yaml", tmp_path / "BORN"
    Phonopy(cell, np.eye(3, dtype=int), primitive_matrix="P").save(path)
    response(["born", str(path), "--checkpoint", str(trained.folder), "--epsilon-inf", "6", "-o", str(born)])
    theirs = parse_BORN(phonopy.load(path, is_nac=False).primitive, filename=born)
    np.testing.assert_allclose(theirs["born"], load(trained.folder).predict(atoms), atol=1e-5)
    assert len(born.read_text().splitlines()) > 2 + 4  # of one cell, four are inequivalent
