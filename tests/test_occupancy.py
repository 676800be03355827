"""Sites that are shared or partly empty, wherever ASE keeps that."""

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import check_structure

CIF = """data_a
_cell_length_a 3.95
_cell_length_b 3.95
_cell_length_c 3.95
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'P m -3 m'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
{}Ti1 Ti 0.5 0.5 0.5 1.0
O1 O 0.5 0.5 0 {}
"""


def cif(path, first, oxygen="1.0"):
    path.write_text(CIF.format("".join(f"{line}\n" for line in first), oxygen))
    return path


@pytest.mark.parametrize(
    ("first", "oxygen", "found"),
    [
        (["Ba1 Ba 0 0 0 0.7", "Sr1 Sr 0 0 0 0.3"], "1.0", "Ba 0.7, Sr 0.3"),
        (["Ba1 Ba 0 0 0 1.0"], "0.95", "O 0.95"),
        (["Ba1 Ba 0 0 0 0.9"], "?", "Ba 0.9"),
    ],
)
def test_a_cif_with_partial_occupancy_is_refused(tmp_path, first, oxygen, found):
    path = cif(tmp_path / "a.cif", first, oxygen)
    with pytest.raises(InputError, match=f"partly occupied site, {found}") as caught:
        read_structures(path)
    assert str(caught.value).startswith(f"{path}, frame 0: ")


@pytest.mark.parametrize("oxygen", ["1.0", "0.998", "1.000(2)", "?", "."])
def test_a_cif_with_full_sites_is_read(tmp_path, oxygen):
    (atoms,) = read_structures(cif(tmp_path / "a.cif", ["Ba1 Ba 0 0 0 1"], oxygen))
    assert atoms.get_chemical_formula() == "BaO3Ti"


@pytest.mark.parametrize("name", ["a.extxyz", "a.traj", "supercell.extxyz"])
def test_other_formats_keep_the_knowledge(tmp_path, name):
    """Written by ASE or in a supercell."""
    atoms = ase.io.read(cif(tmp_path / "a.cif", ["Ba1 Ba 0 0 0 0.7", "Sr1 Sr 0 0 0 0.3"]))
    atoms = atoms.repeat((2, 1, 1)) if name.startswith("supercell") else atoms
    ase.io.write(tmp_path / name, atoms)
    with pytest.raises(InputError, match="partly occupied"):
        read_structures(tmp_path / name)


def test_only_sites_that_are_still_there_count(tmp_path):
    """Without the shared site, and once the user says that the crystal is ordered."""
    atoms = ase.io.read(cif(tmp_path / "a.cif", ["Ba1 Ba 0 0 0 0.7", "Sr1 Sr 0 0 0 0.3"]))
    check_structure(atoms[atoms.numbers != 56])
    with pytest.raises(InputError, match="without an occupancy in info"):
        check_structure(atoms)
    del atoms.info["occupancy"]
    check_structure(atoms)


@pytest.mark.parametrize("name", ["occupancy", "occupancies"])
@pytest.mark.parametrize(
    ("values", "ordered"), [([1, 1], True), ([0, 0], True), ([1, 0.5], False), ([1, 0], False)]
)
def test_columns_of_occupancies(name, values, ordered):
    atoms = Atoms("MgO", positions=[[0, 0, 0], [2, 0, 0]])
    atoms.set_array(name, np.array(values, float))
    if ordered:
        check_structure(atoms)
    else:
        with pytest.raises(InputError, match="partly occupied"):
            check_structure(atoms)


def test_a_pdb_file_with_partial_occupancy_is_refused(tmp_path):
    path = tmp_path / "a.pdb"
    atoms = Atoms("MgO", positions=[[0, 0, 0], [2, 0, 0]], cell=[4, 4, 4], pbc=True)
    ase.io.write(path, atoms)
    assert len(read_structures(path)[0]) == 2
    atoms.set_array("occupancy", np.array([1.0, 0.5]))
    ase.io.write(path, atoms)
    with pytest.raises(InputError, match=r"O 0\.5"):
        read_structures(path)


def test_a_crystal_of_ase_is_ordered(tmp_path):
    atoms = crystal("NaCl", [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[5.64] * 3 + [90] * 3)
    check_structure(atoms)
    write_structures(tmp_path / "a.extxyz", atoms)
    assert len(read_structures(tmp_path / "a.extxyz")[0]) == 8
