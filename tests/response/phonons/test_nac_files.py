"""Charges and eps_inf of phonopy's files, wherever `phonopy.load` finds them."""

import json
import os
import warnings
from pathlib import Path

import numpy as np
import phonopy
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from phonopy import Phonopy
from phonopy.file_IO import get_BORN_lines
from phonopy.structure.symmetry import symmetrize_borns_and_epsilon

from equivar_jax.errors import InputError
from equivar_jax.response.__main__ import main as response
from equivar_jax.response.phonons.gamma_input import read_phonons
from equivar_jax.response.phonons.phonopy_crystal import LostIsotopesWarning, load_phonon, phonon_of

EPSILON = np.diag([2.4, 2.4, 2.43])


@pytest.fixture
def quartz(tmp_path) -> tuple[Path, Atoms, np.ndarray]:
    """A phonopy file of quartz with force constants, its structure, and tensors with its symmetry."""
    atoms = crystal(
        ["Si", "O"],
        [(0.4697, 0, 1 / 3), (0.4135, 0.2669, 0.7857)],
        spacegroup=152,
        cellpar=[4.916, 4.916, 5.4054, 90, 90, 120],
    )
    phonon = phonon_of(atoms, primitive="P")
    # Equal springs between all atoms.
    phonon.force_constants = 10.0 * (np.eye(9) - 1 / 9)[:, :, None, None] * np.eye(3)
    some = np.random.default_rng(5).normal(size=(9, 3, 3)) + 2.0 * np.eye(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # phonopy warns of the symmetry that it imposes
        born, _ = symmetrize_borns_and_epsilon(some, EPSILON, phonon.primitive)
    (tmp_path / "BORN").write_text("\n".join(get_BORN_lines(phonon.primitive, born, EPSILON)) + "\n")
    path = tmp_path / "phonopy_params.yaml"
    phonon.save(path, settings={"force_constants": True})
    return path, atoms, loaded(path)["born"]


def loaded(path: Path) -> dict:
    """What `phonopy.load` takes in the folder of a file."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        return phonopy.load(path.name, produce_fc=False, log_level=0).nac_params
    finally:
        os.chdir(here)


def test_a_born_beside_the_file_is_taken_as_by_phonopy(quartz):
    path, _, born = quartz
    assert np.abs(born - born.transpose(0, 2, 1)).max() > 0.1
    found = read_phonons(path)
    np.testing.assert_allclose(found.charges, born, atol=1e-12)
    np.testing.assert_allclose(found.atoms.info["epsilon_inf"], EPSILON)
    mine, theirs = load_phonon(path).nac_params, loaded(path)
    assert mine["factor"] == pytest.approx(theirs["factor"])
    assert load_phonon(path, born_beside=False).nac_params is None


def test_a_primitive_cell_that_confuses_isotopes_is_told_of(tmp_path):
    """phonopy's symmetry, and so its primitive cell, knows no masses."""
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    masses = atoms.get_masses()
    path = tmp_path / "phonopy_disp.yaml"
    cell = phonon_of(atoms).unitcell
    cell.masses = np.where(np.arange(8) == 4, 25.983, masses)
    for primitive, confused in (("F", True), ("P", False)):
        Phonopy(cell, np.eye(3, dtype=int), primitive_matrix=primitive).save(path)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            read = load_phonon(path)
        assert (25.983 in read.primitive.masses) is not confused
        assert [f"{path}: " in str(w.message) for w in found if w.category is LostIsotopesWarning] == (
            [True] if confused else []
        )


def test_parameters_of_the_file_itself_come_first(quartz):
    path, _, born = quartz
    phonon = phonopy.load(path, is_nac=False, log_level=0)
    phonon.nac_params = {"born": 0.5 * born, "dielectric": 2 * EPSILON, "factor": 14.4}
    phonon.save(path, settings={"force_constants": True})
    np.testing.assert_allclose(read_phonons(path).charges, 0.5 * born, atol=1e-12)
    np.testing.assert_allclose(loaded(path)["born"], 0.5 * born, atol=1e-12)


def test_a_file_without_the_unit_factor_has_that_of_its_calculator(quartz):
    path, _, born = quartz
    phonon = phonopy.load(path, is_nac=False, log_level=0)
    phonon.nac_params = {"born": born, "dielectric": EPSILON, "factor": 14.4}
    phonon.save(path, settings={"force_constants": True})
    text = path.read_text()
    path.write_text(
        "".join(line for line in text.splitlines(keepends=True) if "unit_conversion_factor: 14" not in line)
    )
    assert path.read_text() != text
    assert load_phonon(path).nac_params["factor"] == pytest.approx(14.399652, rel=1e-6)
    assert loaded(path)["factor"] == pytest.approx(14.399652, rel=1e-6)
    np.testing.assert_allclose(read_phonons(path).charges, born, atol=1e-12)


def test_a_born_of_abipy_is_read_by_an_option_of_the_command(quartz, tmp_path):
    path, _, born = quartz
    found = read_phonons(path, first_index="displacement")
    np.testing.assert_allclose(found.charges, born.transpose(0, 2, 1), atol=1e-12)
    epsilon_0 = []
    for words in ([], ["--first-index", "displacement"]):
        response(["dielectric", str(path), *words, "-o", str(tmp_path / "a.png")])
        epsilon_0.append(np.array(json.loads((tmp_path / "a.json").read_text())["epsilon_0"]))
    assert np.abs(epsilon_0[0] - epsilon_0[1]).max() > 1e-3


def test_a_born_of_another_crystal_is_refused(quartz):
    path, atoms, born = quartz
    (path.parent / "BORN").write_text(
        "\n".join(get_BORN_lines(phonon_of(atoms).unitcell, born, EPSILON)[:-1])
    )
    with pytest.raises(InputError, match=r"BORN: phonopy cannot read it as the tensors .* of .*params\.yaml"):
        read_phonons(path)


@pytest.mark.skipif("EQUIVAR_DATA" not in os.environ, reason="EQUIVAR_DATA is not set")
def test_files_of_phonondb_with_forces():
    files = sorted(Path(os.environ["EQUIVAR_DATA"]).glob("phonondb-forces/*.yaml.xz"))[::40]
    assert files
    for path in files:
        found = read_phonons(path)
        assert found.charges.shape == (len(found.atoms), 3, 3)
        assert np.abs(found.charges.sum(axis=0)).max() < 0.5
