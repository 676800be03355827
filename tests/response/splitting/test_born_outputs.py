"""What the task `born` writes for other programs, and that its YAML file keeps everything."""

import numpy as np
import phonopy
import pytest
from ase.build import bulk
from ase.io import write
from phonopy.interface.phonopy_yaml import read_phonopy_yaml
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms

from equivar_jax import load
from equivar_jax.io import write_structures
from equivar_jax.response.__main__ import main
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs
from equivar_jax.response.phonons.phonopy_crystal import atoms_of

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])
WORDS = ["--epsilon-inf", *(str(value) for value in EPSILON.ravel())]

CUBIC = ["--epsilon-inf", "3.3"]


def run(trained, path, *outputs, epsilon=WORDS):
    main(["born", str(path), "--checkpoint", str(trained.folder), *epsilon, "-o", *map(str, outputs)])


def test_files_of_all_programs_have_the_tensors_of_their_cells(trained, calcium_titanate, tmp_path):
    """A crystal without symmetry, doubled: the unit cell has 40 atoms, the primitive cell 20."""
    double = calcium_titanate.repeat((1, 2, 1))
    write_structures(tmp_path / "in.extxyz", double)
    names = ("BORNINFO", "infile.lotosplitting", "BEC.txt", "CONTROL", "BORN")
    run(trained, tmp_path / "in.extxyz", *(tmp_path / name for name in names))
    one = load(trained.folder).predict(calcium_titanate)
    two = np.tile(one, (2, 1, 1))
    assert np.abs(one - one.transpose(0, 2, 1)).max() > 1e-3
    for name, expected in (("BORNINFO", one), ("infile.lotosplitting", two)):
        rows = np.loadtxt(tmp_path / name)
        np.testing.assert_allclose(rows[:3], EPSILON, atol=1e-8)
        np.testing.assert_allclose(rows[3:].reshape(-1, 3, 3), expected, atol=1e-5)
    rows = np.loadtxt(tmp_path / "BEC.txt").reshape(40, 3, 3)
    np.testing.assert_allclose(rows, two.transpose(0, 2, 1), atol=1e-5)
    assert abs(rows.sum(axis=0)).max() < 1e-8  # i-PI's asr_threshold
    assert "natoms=40" in (tmp_path / "CONTROL").read_text()


def test_alamode_has_the_first_images_in_the_order_of_the_unit_cell(trained, tmp_path):
    """Conventional rock salt, two elements in turn: the primitive cell is its first two atoms."""
    cell = bulk("CaO", "rocksalt", a=4.8, cubic=True)
    write(tmp_path / "POSCAR", cell, format="vasp", sort=False)
    run(trained, tmp_path / "POSCAR", tmp_path / "BORNINFO", epsilon=CUBIC)
    rows = np.loadtxt(tmp_path / "BORNINFO")[3:].reshape(-1, 3, 3)
    assert len(rows) == 2
    predicted = load(trained.folder).predict(cell)[:2]
    np.testing.assert_allclose(rows, predicted, atol=1e-4)


def test_only_ipi_needs_no_dielectric_tensor(trained, calcium_titanate, tmp_path, complaint, capsys):
    write(tmp_path / "in.extxyz", calcium_titanate)
    run(trained, tmp_path / "in.extxyz", tmp_path / "BEC", epsilon=[])
    assert len((tmp_path / "BEC").read_text().splitlines()) == 60
    capsys.readouterr()
    words = [
        tmp_path / "in.extxyz",
        "--checkpoint",
        trained.folder,
        "-o",
        tmp_path / "BEC",
        tmp_path / "BORN",
    ]
    assert "--epsilon-inf" in complaint(main, "born", *words)


def test_a_name_of_no_format_is_refused_with_those_that_are(tmp_path, complaint):
    message = complaint(main, "born", "--example", "-o", tmp_path / "tensors.dat")
    for name in ("BORN", "BORNINFO", "BEC", "CONTROL", "infile.lotosplitting", ".yaml"):
        assert name in message


def magnetic_perovskite():
    """Cubic CaTiO3 in phonopy's hands, with moments, masses of isotopes, and forces of springs."""
    places = [(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)]
    cell = PhonopyAtoms(
        symbols=["Ca", "Ti", "O", "O", "O"],
        cell=np.diag([3.9, 3.9, 3.9]),
        scaled_positions=places,
        masses=[40.078, 49.948, 15.999, 15.999, 17.999],
        magnetic_moments=[0.0, 1.5, 0.0, 0.0, 0.1],
    )
    phonon = phonopy.Phonopy(cell, np.diag([2, 2, 2]), primitive_matrix="P")
    return phonon, nearest_neighbour_springs(atoms_of(phonon.supercell), 8.0, 1.0)


@pytest.mark.parametrize("kind", ["one atom at a time", "all atoms at once"])
@pytest.mark.parametrize("constants", [False, True])
def test_yaml_keeps_all_that_the_file_had(trained, tmp_path, kind, constants):
    phonon, springs = magnetic_perovskite()
    if kind == "one atom at a time":
        phonon.generate_displacements()
        for number, step in enumerate(phonon.dataset["first_atoms"]):
            step["forces"] = -springs[:, step["number"]] @ step["displacement"]
            step["supercell_energy"] = -100.0 - number
    else:
        phonon.generate_displacements(number_of_snapshots=20, random_seed=1, distance=0.02)
        moves = phonon.displacements
        phonon.forces = -np.einsum("iajb,sjb->sia", springs.transpose(0, 2, 1, 3), moves)
        phonon.supercell_energies = -100.0 - np.arange(20.0)
    phonon.force_constants = springs if constants else None
    settings = {"force_constants": constants, "force_sets": True, "displacements": True}
    phonon.save(tmp_path / "in.yaml", settings=settings)
    run(trained, tmp_path / "in.yaml", tmp_path / "out.yaml", epsilon=CUBIC)
    before, after = (read_phonopy_yaml(tmp_path / name) for name in ("in.yaml", "out.yaml"))
    assert after.nac_params is not None
    np.testing.assert_array_equal(after.unitcell.masses, before.unitcell.masses)
    np.testing.assert_array_equal(after.unitcell.magnetic_moments, before.unitcell.magnetic_moments)
    np.testing.assert_array_equal(after.supercell_matrix, before.supercell_matrix)
    np.testing.assert_array_equal(after.primitive_matrix, before.primitive_matrix)
    assert (before.force_constants is None) == (not constants)
    if constants:
        np.testing.assert_array_equal(after.force_constants, before.force_constants)
    else:
        assert after.force_constants is None
    assert_same(after.dataset, before.dataset)


def assert_same(one, other):
    """The same keys, and the same numbers to the last digit that is written."""
    if isinstance(other, dict):
        assert one.keys() == other.keys()
        for key in other:
            assert_same(one[key], other[key])
    elif isinstance(other, list):
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        np.testing.assert_array_equal(one, other)


def test_lengths_of_a_calculator_in_bohr_come_out_in_angstrom(trained, calcium_titanate, tmp_path):
    bohr = get_calculator_physical_units("qe").distance_to_A
    cell = PhonopyAtoms(
        numbers=calcium_titanate.numbers,
        cell=calcium_titanate.cell.array / bohr,
        scaled_positions=calcium_titanate.get_scaled_positions(),
    )
    phonon = phonopy.Phonopy(cell, np.eye(3, dtype=int), primitive_matrix="P", calculator="qe")
    phonon.save(tmp_path / "in.yaml")
    run(trained, tmp_path / "in.yaml", tmp_path / "CONTROL")
    lines = [line.split("=") for line in (tmp_path / "CONTROL").read_text().splitlines() if "lattvec" in line]
    found = [[float(word) for word in words.split()] for _, words in lines]
    np.testing.assert_allclose(found, calcium_titanate.cell.array, atol=1e-5)
