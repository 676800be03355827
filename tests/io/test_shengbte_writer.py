"""ShengBTE reads CONTROL as a Fortran namelist; a program of gfortran 12 with its declarations did, too."""

import re

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


def namelist(path):
    """What Fortran makes of the file: groups of values; arrays with the indices in their order, from 0."""
    groups = {}
    for name, body in re.findall(r"^&(\w+)\n(.*?)^/$", path.read_text(), re.MULTILINE | re.DOTALL):
        group = groups.setdefault(name, {})
        for line in body.splitlines():
            line = line.partition("!")[0].strip()
            if not line:
                continue
            target, _, words = line.partition("=")
            values = [word.strip('"') if '"' in word else float(word) for word in words.split()]
            if found := re.fullmatch(r"(\w+)\(:,(\d+)(?:,(\d+))?\)", target):
                place = tuple(int(index) - 1 for index in found.groups()[1:] if index)
                group.setdefault(found[1], {})[place] = values
            else:
                group[target] = values
    for group in groups.values():
        for key, columns in group.items():
            if isinstance(columns, dict):
                array = np.zeros((3, *np.max(list(columns), axis=0) + 1))
                for place, values in columns.items():
                    array[(slice(None), *place)] = values
                group[key] = array
    return groups


def test_the_namelist_has_the_structure_and_the_tensors(tmp_path, triclinic):
    write_structures(tmp_path / "CONTROL", triclinic)
    read = namelist(tmp_path / "CONTROL")
    assert read["allocations"] == {"nelements": [3], "natoms": [5]}
    crystal = read["crystal"]
    assert crystal["elements"] == ["Pb", "Ti", "O"]
    assert crystal["types"] == [1, 2, 3, 3, 3]
    np.testing.assert_allclose(crystal["epsilon"], EPSILON, atol=1e-11)
    lattice = 10 * crystal["lfactor"][0] * crystal["lattvec"]  # columns are vectors, Å
    np.testing.assert_allclose(lattice.T, triclinic.cell.array, atol=1e-11)
    np.testing.assert_allclose((lattice @ crystal["positions"]).T, triclinic.positions, atol=1e-10)
    assert "masses" not in crystal


def test_the_non_analytical_term_is_that_of_the_tensors(tmp_path, triclinic):
    """dot_product(q, born(:, i, atom)), as in ShengBTE's phonon_phonopy, is (q.Z)_i."""
    write_structures(tmp_path / "CONTROL", triclinic)
    born = namelist(tmp_path / "CONTROL")["crystal"]["born"]
    assert born.shape == (3, 3, 5)
    q = np.array([0.1, -0.4, 0.3])
    found = np.array([[q @ born[:, i, atom] for i in range(3)] for atom in range(5)])
    np.testing.assert_allclose(found, np.einsum("a,iab->ib", q, crystal_and_tensors()[1]), atol=1e-11)


def test_isotopes_are_kinds_with_masses_of_their_own(tmp_path, triclinic):
    masses = triclinic.get_masses()
    masses[3] = 17.999
    triclinic.set_masses(masses)
    tensors = crystal_and_tensors()[1]
    write_structures(tmp_path / "CONTROL", with_born_effective_charges(triclinic, tensors))
    crystal = namelist(tmp_path / "CONTROL")["crystal"]
    assert crystal["elements"] == ["Pb", "Ti", "O", "O"]
    assert crystal["types"] == [1, 2, 3, 4, 3]
    np.testing.assert_allclose(crystal["masses"], [207.2, 47.867, 15.999, 17.999])
    assert "autoisotopes=.FALSE." in (tmp_path / "CONTROL").read_text()


def test_what_is_left_to_the_user_is_said(tmp_path, triclinic):
    write_structures(tmp_path / "CONTROL", triclinic)
    text = (tmp_path / "CONTROL").read_text()
    for words in ("! add ngrid", "! add scell", "&parameters", "&flags"):
        assert words in text
