"""ShengBTE reads CONTROL as a Fortran namelist; f90nml is a parser of namelists."""

import numpy as np
import pytest
from helpers.dipole import crystal_and_tensors

from equivar_jax.io import write_structures
from equivar_jax.structures import with_born_effective_charges

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])


@pytest.fixture
def triclinic():
    atoms, tensors = crystal_and_tensors()
    atoms.info["epsilon_inf"] = EPSILON
    return with_born_effective_charges(atoms, tensors)


def groups(path):
    f90nml = pytest.importorskip("f90nml")
    return f90nml.read(path)


def test_the_namelist_has_the_structure_and_the_tensors(tmp_path, triclinic):
    write_structures(tmp_path / "CONTROL", triclinic)
    read = groups(tmp_path / "CONTROL")
    assert read["allocations"] == {"nelements": 3, "natoms": 5}
    crystal = read["crystal"]
    assert crystal["elements"] == ["Pb", "Ti", "O"]
    assert crystal["types"] == [1, 2, 3, 3, 3]
    # f90nml nests the indices from the last to the first: [atom][displacement][field].
    born = np.array(crystal["born"])
    np.testing.assert_allclose(born, crystal_and_tensors()[1].transpose(0, 2, 1), atol=1e-11)
    np.testing.assert_allclose(crystal["epsilon"], EPSILON, atol=1e-11)
    lattice = 10 * crystal["lfactor"] * np.array(crystal["lattvec"])  # rows are Fortran's columns; Å
    np.testing.assert_allclose(lattice, triclinic.cell.array, atol=1e-11)
    np.testing.assert_allclose(np.array(crystal["positions"]) @ lattice, triclinic.positions, atol=1e-10)
    assert "masses" not in crystal


def test_the_non_analytical_term_is_that_of_the_tensors(tmp_path, triclinic):
    """dot_product(q, born(:, i, atom)), as in ShengBTE's phonon_phonopy, is (q.Z)_i."""
    write_structures(tmp_path / "CONTROL", triclinic)
    born = np.array(groups(tmp_path / "CONTROL")["crystal"]["born"]).T  # Fortran's born(:, i, atom)
    q = np.array([0.1, -0.4, 0.3])
    found = np.array([[q @ born[:, i, atom] for i in range(3)] for atom in range(5)])
    np.testing.assert_allclose(found, np.einsum("a,iab->ib", q, crystal_and_tensors()[1]), atol=1e-11)


def test_isotopes_are_kinds_with_masses_of_their_own(tmp_path, triclinic):
    masses = triclinic.get_masses()
    masses[3] = 17.999
    triclinic.set_masses(masses)
    tensors = crystal_and_tensors()[1]
    write_structures(tmp_path / "CONTROL", with_born_effective_charges(triclinic, tensors))
    crystal = groups(tmp_path / "CONTROL")["crystal"]
    assert crystal["elements"] == ["Pb", "Ti", "O", "O"]
    assert crystal["types"] == [1, 2, 3, 4, 3]
    np.testing.assert_allclose(crystal["masses"], [207.2, 47.867, 15.999, 17.999])
    assert "autoisotopes=.FALSE." in (tmp_path / "CONTROL").read_text()


def test_what_is_left_to_the_user_is_said(tmp_path, triclinic):
    write_structures(tmp_path / "CONTROL", triclinic)
    text = (tmp_path / "CONTROL").read_text()
    for words in ("! add ngrid", "! add scell", "&parameters", "&flags"):
        assert words in text
