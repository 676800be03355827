"""Deuterium and tritium in XYZ, POSCAR and XDATCAR are hydrogen with their mass."""

import ase.io
import numpy as np
import pytest
from ase import Atoms

from equivar_jax.io import read_structures, write_structures

D, T = pytest.approx(2.014, abs=1e-3), pytest.approx(3.016, abs=1e-3)
POSCAR = """{comment}
1.0
6 0 0
0 6 0
0 0 6
{symbols}{counts}
Direct
0.5 0.5 0.5
0.62 0.59 0.5
0.37 0.59 0.5
0.1 0.1 0.1
"""


@pytest.mark.parametrize(
    ("symbols", "masses"),
    [
        ("O D H", [15.999, D, 1.008, 1.008]),
        ("O T D", [15.999, T, D, D]),
        ("D_h O H/ab12", [D, 15.999, 1.008, 1.008]),
    ],
)
def test_poscar(tmp_path, symbols, masses):
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR.format(comment="ice", symbols=f"{symbols}\n", counts="1 1 2"))
    (atoms,) = read_structures(path)
    assert sorted(atoms.numbers) == [1, 1, 1, 8]
    assert list(atoms.get_masses()) == masses
    assert atoms.info["source"] == f"{path}, frame 0"
    assert atoms.get_scaled_positions()[3] == pytest.approx([0.1] * 3)


def test_poscar_of_vasp_4_has_its_elements_in_the_comment(tmp_path):
    path = tmp_path / "old.poscar"
    path.write_text(POSCAR.format(comment="O D", symbols="", counts="1 3"))
    assert list(read_structures(path)[0].get_masses()) == [15.999, D, D, D]


def test_poscar_without_isotopes_has_no_masses_of_its_own(tmp_path):
    path = tmp_path / "POSCAR"
    path.write_text(POSCAR.format(comment="D", symbols="O H\n", counts="1 3"))
    assert not read_structures(path)[0].has("masses")


@pytest.mark.parametrize("repeated", [False, True])
def test_xdatcar(tmp_path, repeated):
    """Also with the header before every frame, as a changing cell has it."""
    header = "ice\n1.0\n6 0 0\n0 6 0\n0 0 6\nO D\n1 2\n"
    places = "0.5 0.5 0.5\n0.6 0.6 0.5\n0.4 0.6 {}\n"
    text = header
    for k in range(3):
        text += (
            (header if repeated and k else "")
            + f"Direct configuration=     {k + 1}\n"
            + places.format(0.5 + k / 100)
        )
    path = tmp_path / "XDATCAR"
    path.write_text(text)
    frames = read_structures(path)
    assert [round(float(atoms.get_scaled_positions()[2, 2]), 6) for atoms in frames] == [0.5, 0.51, 0.52]
    assert all(list(atoms.get_masses()) == [15.999, D, D] for atoms in frames)


@pytest.mark.parametrize("header", ["", "Properties=species:S:1:pos:R:3 ", "Properties=pos:R:3:species:S:1 "])
def test_xyz(tmp_path, header):
    rows = [("Li", "0 0 0"), ("D", "2.04 0 0"), ("t", "0 2.04 0"), ("H", "0 0 2.04")]
    lines = [f"{p} {s}" if "pos:R:3:species" in header else f"{s} {p}" for s, p in rows]
    path = tmp_path / "a.xyz"
    path.write_text("\n".join(["4", f'Lattice="8 0 0 0 8 0 0 0 8" {header}pbc="T T T"', *lines]) + "\n")
    (atoms,) = read_structures(path)
    assert str(atoms.symbols) == "LiH3"
    assert list(atoms.get_masses()) == [6.94, D, T, 1.008]
    write_structures(tmp_path / "b.extxyz", atoms)
    np.testing.assert_array_equal(read_structures(tmp_path / "b.extxyz")[0].get_masses(), atoms.get_masses())


def test_masses_of_the_file_come_first(tmp_path):
    path = tmp_path / "a.extxyz"
    path.write_text('1\nLattice="8 0 0 0 8 0 0 0 8" Properties=species:S:1:pos:R:3:masses:R:1\nD 0 0 0 2.5\n')
    assert read_structures(path)[0].get_masses().tolist() == [2.5]


def test_cif_has_the_same_isotope(tmp_path):
    """ASE reads D from a CIF with the mass of the nucleus, 2.01355."""
    path = tmp_path / "a.cif"
    ase.io.write(path, Atoms("LiH", cell=[4, 4, 4], scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], pbc=True))
    path.write_text(path.read_text().replace("  H  ", "  D  "))
    assert read_structures(path)[0].get_masses()[1] == D
