from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.engine_files import (
    CRYSTAL,
    EPSILON,
    TENSORS,
    crystal_charges,
    crystal_structure,
    crystal_text,
)

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.io.crystal_output import read_crystal_output
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import born_effective_charges

DIGITS = 6e-5  # of 1.2345E+00


def read(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    path = tmp_path / "crystal.out"
    path.write_text(text, encoding="iso-8859-1")
    return list(read_crystal_output(path, ReadOptions()))


def only_error(tmp_path: Path, text: str) -> str:
    (error,) = read(tmp_path, text)
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


def test_the_row_is_the_field(tmp_path):
    (atoms,) = read(tmp_path, crystal_text())
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, rtol=DIGITS, atol=DIGITS)
    (other,) = read(tmp_path, crystal_text(crystal_charges(TENSORS.transpose(0, 2, 1))))
    assert np.abs(born_effective_charges(other) - TENSORS).max() > 0.1


def test_structure_and_dielectric_tensor(tmp_path):
    path = tmp_path / "crystal.o"
    path.write_text(crystal_text())
    (atoms,) = read_structures(path)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)
    assert atoms.pbc.all()
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=1e-10)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=1e-10)
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON, atol=1e-4)


def test_the_table_of_crystal14_has_the_same_dielectric_tensor(tmp_path):
    text = crystal_text().replace("  0.000   ", "  ")
    lines = [
        "".join(f" {word}" for word in [*line.split()[:4], line.split()[5]])
        if line[2:4] in ("XX", "XY", "XZ", "YY", "YZ", "ZZ")
        else line
        for line in text.splitlines()
    ]
    (atoms,) = read(tmp_path, "\n".join(lines) + "\n")
    np.testing.assert_allclose(atoms.info["epsilon_inf"], EPSILON, atol=1e-4)


def test_the_last_structure_counts_and_a_slab_is_periodic_in_two_directions(tmp_path):
    moved = CRYSTAL.copy()
    moved.positions[1] += 0.1
    (atoms,) = read(tmp_path, crystal_text(structure=crystal_structure() + crystal_structure(2, moved)))
    np.testing.assert_allclose(atoms.positions, moved.positions, atol=1e-10)
    assert list(atoms.pbc) == [True, True, False]


def test_without_charges_there_is_a_structure_without_label(tmp_path):
    (atoms,) = read(tmp_path, crystal_text(""))
    assert born_effective_charges(atoms) is None
    assert len(atoms) == 5
    with pytest.raises(InputError, match="TERMINATION"):
        read(tmp_path, crystal_text("").replace("EEEEEEEEEE", "E"))


def test_tensors_without_their_heading_are_no_structure_without_label(tmp_path):
    with pytest.raises(InputError, match="without the heading"):
        read(tmp_path, crystal_text().replace("ATOMIC BORN", "ATOMIC B0RN"))


def test_two_outputs_in_one_file_are_two_frames(tmp_path):
    frames = read(tmp_path, crystal_text() + crystal_text(crystal_charges(1.5 * TENSORS)))
    np.testing.assert_allclose(born_effective_charges(frames[1]), 1.5 * TENSORS, rtol=DIGITS, atol=DIGITS)
    assert len(frames) == 2


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("DIRECT LATTICE VECTORS CART", "OTHER VECTORS CART", "no lattice vectors"),
        (" ATOM   2 TI", " ATOM   2 O ", "'ATOM 2 O"),
        (" ATOM   2 TI", " ATOM   3 TI", "'ATOM 3 TI"),
        ("    2    22 TI", "    7    22 TI", "expected numbers 1 to 5"),
        ("UNIT CELL:    5", "UNIT CELL:    4", "5 atoms in the table"),
        ("ATOMS IN THE UNIT CELL", "ATOMS", "that of the unit cell"),
        ("    2    22 TI", "    2    22 XX", "'Xx'"),
        ("\n   2    ", "\n   3    ", "row 3 in the place of 2"),
    ],
)
def test_doubtful_files_are_refused(tmp_path, old, new, words):
    text = crystal_text()
    assert old in text
    assert words in only_error(tmp_path, text.replace(old, new))


def test_a_trace_that_is_not_the_printed_charge_is_refused(tmp_path):
    text = crystal_text()
    digits = f"{TENSORS[0, 0, 0]:12.4E}".strip()
    assert "third of the trace" in only_error(tmp_path, text.replace(digits, digits.replace("E+00", "E-01")))


def test_an_output_cut_short_in_its_tensors_is_refused(tmp_path):
    text = crystal_text()
    for cut in range(text.index(" DYNAMIC CHARGE = 1/3"), text.index(" +++ SYMM") - 30, 41):
        assert "Born effective charges of atom" in only_error(tmp_path, text[:cut])
