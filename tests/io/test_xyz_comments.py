"""Comment lines of XYZ in other spellings: keys in any case, and cells of i-PI in every form and unit."""

import warnings

import numpy as np
import pytest
from ase import units
from ase.cell import Cell
from helpers.crystals import labelled_crystal

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, write_structures
from equivar_jax.io.xyz_comments import ClusterWarning
from equivar_jax.structures import born_effective_charges

LENGTH = {"atomic_unit": units.Bohr, "angstrom": 1.0, "nanometer": 10.0, "picometer": 0.01, "meter": 1e10}


def standard():
    """A triclinic crystal with a along x and b in the plane of x and y, as i-PI's abcABC means it."""
    atoms = labelled_crystal()
    return atoms, Cell.fromcellpar(atoms.cell.cellpar())


def written(path, cell, places, kind, units_of, tail=" Step: 3  Bead: 0 "):
    """A frame as i-PI writes it; `units_of` are the units of cell and positions."""
    cell_unit, unit = units_of
    numbers = {
        "abcABC": lambda: [*(cell.lengths() / LENGTH[cell_unit]), *cell.angles()],
        "H": lambda: (cell.array.T / LENGTH[cell_unit]).ravel(),
        "GENH": lambda: (cell.array / LENGTH[cell_unit]).ravel(),
    }[kind]()
    brackets = "()" if kind == "abcABC" else "{}"
    comment = f"# CELL{brackets[0]}{kind}{brackets[1]}: " + "  ".join(f"{number:.12g}" for number in numbers)
    comment += f" {tail} positions{{{unit}}}  cell{{{cell_unit}}}"
    rows = [
        f"{symbol:>8} " + " ".join(f"{x / LENGTH[unit]:.13e}" for x in place)
        for symbol, place in zip(("Mg", "O", "Ti"), places, strict=True)
    ]
    path.write_text("\n".join(["3", comment, *rows]) + "\n")
    return path


@pytest.mark.parametrize("kind", ["abcABC", "H", "GENH"])
@pytest.mark.parametrize(("cell_unit", "unit"), [*zip(LENGTH, [*LENGTH][1:] + [*LENGTH][:1], strict=True)])
def test_every_cell_and_unit_of_ipi_is_the_same_crystal(tmp_path, kind, cell_unit, unit):
    atoms, cell = standard()
    if kind == "GENH":  # any orientation
        cell = atoms.cell
    places = cell.cartesian_positions(atoms.get_scaled_positions())
    (found,) = read_structures(written(tmp_path / "run.pos_0.xyz", cell, places, kind, (cell_unit, unit)))
    assert found.symbols.get_chemical_formula() == "MgOTi"
    assert found.pbc.all()
    assert found.cell.array == pytest.approx(cell.array, abs=1e-8)
    assert found.positions == pytest.approx(places, abs=1e-8)


def test_ipi_is_told_by_content(tmp_path):
    atoms, cell = standard()
    places = cell.cartesian_positions(atoms.get_scaled_positions())
    path = written(tmp_path / "run.pos_0", cell, places, "abcABC", ("angstrom", "angstrom"))
    assert read_structures(path)[0].cell.volume == pytest.approx(cell.volume)


@pytest.mark.parametrize(
    ("comment", "found"),
    [
        ("# CELL(abcABC): 4 4 4 90 90 90 Step: 0 Bead: 0", "without the units"),
        ("# CELL(abcABC): 4 4 4 90 90 90 Step: 0 positions{angstrom}", "without the units"),
        ("# CELL(abcABC): 4 4 4 90 90 90 positions{cubit} cell{angstrom}", "'cubit' is not known"),
        ("# CELL(abcABC): 4 4 4 90 90 90 positions{angstrom} cell{ell}", "'ell' is not known"),
        ("# CELL(abcABC): 4 4 4 90 90 90 velocities{atomic_unit} cell{atomic_unit}", "file of velocities"),
        ("# CELL(abcABC): 4 4 4 90 90 90 forces{ev/ang} cell{angstrom}", "file of forces|without the units"),
        ("# CELL(abcABC): 4 4 4 90 90 positions{angstrom} cell{angstrom}", "6 numbers of CELL"),
        ("# CELL(abcABC): 4 4 0 90 90 90 positions{angstrom} cell{angstrom}", "6 numbers of CELL"),
        ("# CELL{XYZ}: 4 4 4 positions{angstrom} cell{angstrom}", "6 numbers of CELL"),
        ("cell: 10.0 10.0 10.0", "a cell in the comment line"),
        ('box="10 10 10"', "a cell in the comment line"),
        ("%PBC  10.0 10.0 10.0 90 90 90", "a cell in the comment line"),
        ("energy=1.0 unit_cell=[10, 0, 0, 0, 10, 0, 0, 0, 10]", "a cell in the comment line"),
    ],
)
def test_a_cell_that_is_not_understood_is_named(tmp_path, comment, found):
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n{comment}\nMg 0 0 0\nO 2 2 2\n")
    with pytest.raises(InputError, match=found) as caught:
        read_structures(path)
    assert str(caught.value).startswith(f"{path}, frame 0: ")


@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.capitalize])
def test_keys_in_any_case_are_read(tmp_path, spelling):
    path = tmp_path / "a.extxyz"
    write_structures(path, labelled_crystal())
    text = path.read_text()
    for key in ("Lattice", "Properties", "pbc"):
        assert f"{key}=" in text
        text = text.replace(f"{key}=", f"{spelling(key)}=")
    path.write_text(text)
    (found,) = read_structures(path)
    np.testing.assert_array_equal(found.cell.array, labelled_crystal().cell.array)
    np.testing.assert_array_equal(born_effective_charges(found), born_effective_charges(labelled_crystal()))


def test_a_key_inside_a_value_is_no_key(tmp_path):
    path = tmp_path / "a.extxyz"
    path.write_text('1\nnote="from lattice=4 and pbc=T" Lattice="4 0 0 0 4 0 0 0 4"\nAr 0 0 0\n')
    assert read_structures(path)[0].info["note"] == "from lattice=4 and pbc=T"


def test_one_key_in_two_spellings_is_refused(tmp_path):
    path = tmp_path / "a.extxyz"
    path.write_text('1\nlattice="5 0 0 0 5 0 0 0 5" Lattice="4 0 0 0 4 0 0 0 4"\nAr 0 0 0\n')
    with pytest.raises(InputError, match="lattice and Lattice in one comment line"):
        read_structures(path)


def test_that_there_is_no_cell_is_said_once(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(3 * "2\nwater, in part\nO 0 0 0\nH 0 0 0.96\n")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        frames = read_structures(path)
    assert len(frames) == 3
    assert not any(atoms.pbc.any() for atoms in frames)
    assert [warning.category for warning in said] == [ClusterWarning]
    assert "molecule or cluster" in str(said[0].message)


@pytest.mark.parametrize("comment", ['pbc="F F F"', 'Properties=species:S:1:pos:R:3 pbc="F F F"'])
def test_a_molecule_that_says_so_brings_no_word(tmp_path, comment):
    path = tmp_path / "a.xyz"
    path.write_text(f"2\n{comment}\nO 0 0 0\nH 0 0 0.96\n")
    assert not read_structures(path)[0].pbc.any()
