"""Files that ASE reads in another meaning: LAMMPS's types and units, i-PI's PDB files, mixed sites."""

import ase.io
import numpy as np
import pytest
from ase import units

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures

BOX = "ITEM: NUMBER OF ATOMS\n2\nITEM: BOX BOUNDS pp pp pp\n0 4.21\n0 4.21\n0 4.21\n"
DATA = (
    "LAMMPS data file\n\n2 atoms\n2 atom types\n\n0 4.21 xlo xhi\n0 4.21 ylo yhi\n0 4.21 zlo zhi\n\n{}"
    "Atoms # atomic\n\n1 1 0.0 0.0 0.0\n2 2 2.1 2.1 2.1\n"
)


def dump(path, titles, rows, unit=""):
    """Two frames of a LAMMPS dump; the second has its atoms in another order."""
    text = f"ITEM: UNITS\n{unit}\n" if unit else ""
    for step, lines in ((0, rows), (10, rows[::-1])):
        text += f"ITEM: TIMESTEP\n{step}\n{BOX}ITEM: ATOMS {titles}\n" + "\n".join(lines) + "\n"
    path.write_text(text)
    return path


def refusal(path):
    with pytest.raises(InputError) as caught:
        read_structures(path)
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("titles", ["id type x y z", "id type xs ys zs", "id type xu yu zu vx vy vz"])
def test_a_dump_of_types_is_refused_with_the_fix(tmp_path, titles):
    count = len(titles.split()) - 2
    rows = [f"1 1 {'0.0 ' * count}", f"2 2 {'0.5 ' * count}"]
    message = refusal(dump(tmp_path / "md.lammpstrj", titles, rows))
    assert "without elements" in message
    assert "dump_modify ID element" in message


def test_a_dump_with_elements_is_read_in_the_order_of_its_ids(tmp_path):
    path = dump(tmp_path / "md.lammpstrj", "id type element x y z", ["2 1 O 2 2 2", "1 2 Mg 0 0 0"])
    assert [atoms.get_chemical_formula("reduce") for atoms in read_structures(path)] == ["MgO", "MgO"]


def test_carbon_for_every_type_is_lammps_default_and_refused(tmp_path):
    path = dump(tmp_path / "md.lammpstrj", "id type element x y z", ["1 1 C 0 0 0", "2 2 C 2 2 2"])
    assert "2 types that are all the element C" in refusal(path)
    diamond = dump(tmp_path / "c.lammpstrj", "id type element x y z", ["1 1 C 0 0 0", "2 1 C 1 1 1"])
    assert read_structures(diamond)[0].get_chemical_formula() == "C2"


def test_masses_stand_for_elements_only_if_they_are_theirs(tmp_path):
    good = dump(tmp_path / "a.lammpstrj", "id type mass x y z", ["1 1 24.305 0 0 0", "2 2 15.9994 2 2 2"])
    assert read_structures(good)[0].get_chemical_formula("reduce") == "MgO"
    # ASE takes tritium for helium.
    bad = dump(tmp_path / "b.lammpstrj", "id type mass x y z", ["1 1 3.016 0 0 0", "2 2 15.9994 2 2 2"])
    assert "'3.016' is that of no element" in refusal(bad)


@pytest.mark.parametrize(("unit", "speed"), [("metal", 1e-3), ("real", 1.0), ("", 1e-3)])
def test_velocities_have_the_unit_that_the_dump_states(tmp_path, unit, speed):
    """A velocity of 1 in the file, in Å/fs."""
    titles, rows = "id type element x y z vx vy vz", ["1 1 Mg 0 0 0 0 0 0", "2 2 O 2 2 2 1 0 0"]
    atoms = read_structures(dump(tmp_path / "md.lammpstrj", titles, rows, unit))[0]
    assert atoms.get_velocities()[1, 0] * units.fs == pytest.approx(speed)


@pytest.mark.parametrize("unit", ["lj", "electron", "si"])
def test_a_dump_in_other_units_is_refused(tmp_path, unit):
    path = dump(tmp_path / "md.lammpstrj", "id type element x y z", ["1 1 Mg 0 0 0", "2 2 O 2 2 2"], unit)
    assert f"in units '{unit}'" in refusal(path)


def test_a_data_file_of_types_is_refused(tmp_path):
    path = tmp_path / "a.lammps-data"
    path.write_text(DATA.format(""))
    assert ase.io.read(path, format="lammps-data").get_chemical_formula() == "HHe"
    assert "types only" in refusal(path)


@pytest.mark.parametrize(
    ("sections", "formula", "masses"),
    [
        ("Masses\n\n1 24.3\n2 16.0\n\n", "MgO", [24.3, 16.0]),
        ("Atom Type Labels\n\n1 Li\n2 H\n\n", "LiH", [6.94, 1.008]),
        ("Atom Type Labels\n\n1 Li\n2 H\n\nMasses\n\n1 6.015\n2 3.016\n\n", "LiH", [6.015, 3.016]),
    ],
)
def test_a_data_file_with_elements_is_read(tmp_path, sections, formula, masses):
    path = tmp_path / "a.lammps-data"
    path.write_text(DATA.format(sections))
    (atoms,) = read_structures(path)
    assert str(atoms.symbols) == formula
    assert atoms.get_masses() == pytest.approx(masses, rel=1e-4)


def test_a_data_file_with_masses_of_no_element_is_refused(tmp_path):
    path = tmp_path / "a.lammps-data"
    path.write_text(DATA.format("Masses\n\n1 24.3\n2 3.016\n\n"))
    assert "which is not that of" in refusal(path)


@pytest.mark.parametrize("units_of", ["positions{atomic_unit} cell{atomic_unit}", "forces{angstrom}"])
def test_a_pdb_file_of_ipi_in_other_units_is_refused(tmp_path, units_of):
    path = tmp_path / "run.pdb"
    lines = [
        f"TITLE   Step: 0 Bead: 0 {units_of}",
        "CRYST1    7.956    7.956    7.956  90.00  90.00  90.00 P 1           1",
        "ATOM      1   Mg   1     1       0.000   0.000   0.000  0.00  0.00            0",
        "END",
    ]
    path.write_text("\n".join(lines) + "\n")
    assert "i-PI's" in refusal(path)
    path.write_text("\n".join(lines).replace(units_of, "positions{angstrom} cell{angstrom}") + "\n")
    assert read_structures(path)[0].cell.lengths() == pytest.approx([7.956] * 3)


def test_a_netcdf_dump_of_lammps_is_refused(tmp_path):
    path = tmp_path / "a.nc"
    path.write_bytes(b"CDF\x02" + bytes(64) + b"program\0\0\0\0\x06LAMMPS" + bytes(64))
    assert "no elements" in refusal(path)


def test_a_mixture_of_castep_is_refused(tmp_path):
    path = tmp_path / "a.cell"
    path.write_text(
        "%BLOCK LATTICE_CART\n4 0 0\n0 4 0\n0 0 4\n%ENDBLOCK LATTICE_CART\n%BLOCK POSITIONS_FRAC\n"
        "Ba 0 0 0 MIXTURE:( 1 0.6)\nSr 0 0 0 MIXTURE:( 1 0.4)\n%ENDBLOCK POSITIONS_FRAC\n"
    )
    assert "shared by several elements" in refusal(path)


def test_velocities_of_a_dump_need_no_unit_to_keep_fixed_atoms(tmp_path):
    titles, rows = "id type element x y z vx vy vz", ["1 1 Mg 0 0 0 0 0 0", "2 2 O 2 2 2 0.5 0 0"]
    first, second = read_structures(dump(tmp_path / "md.lammpstrj", titles, rows, "real"))
    np.testing.assert_array_equal(first.get_momenta(), second.get_momenta())


@pytest.mark.parametrize(
    ("lattice", "share", "fault"),
    [
        ("LATT -1", "1.0", None),
        ("LATT -1", "11.00000", None),
        ("LATT -1", "0.5", "O 0.5"),
        ("LATT -1", "10.25", "O 0.25"),
        ("LATT 1", "1.0", "no symmetry of SHELX"),
        ("LATT -1\nSYMM -X, -Y, -Z", "1.0", "SYMM"),
    ],
)
def test_a_shelx_file_is_read_only_if_it_has_every_atom(tmp_path, lattice, share, fault):
    path = tmp_path / "a.res"
    head = f"TITL a\nCELL 1.0 4 4 4 90 90 90\n{lattice}\nSFAC Mg O\n"
    path.write_text(f"{head}Mg 1 0.0 0.0 0.0 1.0\nO 2 0.5 0.5 0.5 {share}\nEND\n")
    if fault is None:
        assert str(read_structures(path)[0].symbols) == "MgO"
    else:
        assert fault in refusal(path)
