from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from helpers.engine_files import CRYSTAL, TENSORS, cp2k_charges, cp2k_text

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.io.cp2k import read_cp2k
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import born_effective_charges


def read(tmp_path: Path, text: str) -> list[Atoms | InputError]:
    path = tmp_path / "cp2k.out"
    path.write_text(text, encoding="iso-8859-1")
    return list(read_cp2k(path, ReadOptions()))


def only_error(tmp_path: Path, text: str) -> str:
    (error,) = read(tmp_path, text)
    assert isinstance(error, InputError)
    assert "\n" not in str(error)
    return str(error)


def test_the_row_is_the_displacement(tmp_path):
    (atoms,) = read(tmp_path, cp2k_text())
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, atol=6e-7)
    (other,) = read(tmp_path, cp2k_text(cp2k_charges(TENSORS.transpose(0, 2, 1))))
    assert np.abs(born_effective_charges(other) - TENSORS).max() > 0.1


def test_structure_and_periodicity(tmp_path):
    path = tmp_path / "cp2k.out"
    path.write_text(cp2k_text(periodic="XY"))
    (atoms,) = read_structures(path)
    assert list(atoms.symbols) == list(CRYSTAL.symbols)
    assert list(atoms.pbc) == [True, True, False]
    np.testing.assert_allclose(atoms.cell.array, CRYSTAL.cell.array, atol=6e-4)
    np.testing.assert_allclose(atoms.positions, CRYSTAL.positions, atol=6e-7)
    path.write_text(cp2k_text(periodic="NONE"))
    assert not read_structures(path)[0].pbc.any()


def test_a_charged_cell_may_have_the_sum_of_its_charge(tmp_path):
    charged = TENSORS + 2 * np.eye(3) / 5
    (atoms,) = read(tmp_path, cp2k_text(cp2k_charges(charged), charge=2))
    assert atoms.info["charge"] == 2
    assert "miss the charge of the cell by 2.00 e" in only_error(tmp_path, cp2k_text(cp2k_charges(charged)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (cp2k_text(""), "without atomic polar tensors"),
        (cp2k_text(run="GEO_OPT"), "run of type GEO_OPT"),
        (cp2k_text(2 * cp2k_charges()), "2 sets"),
    ],
)
def test_what_has_no_structure_of_its_own_is_refused(tmp_path, text, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("IN ANGSTROM", "IN BOHR", "expected one in Å"),
        ("Vector b [angstrom]", "Vector q [angstrom]", "lattice vectors"),
        ("APT | Atom  2", "APT | Atom  3", "tensor of atom 2"),
        ("APT | Write the total", "APT | Atom  6 - GAPT", "not those of 5 atoms"),
        ("\n      2    1 Ti", "\n      7    1 Ti", "not complete"),
        (" GAPT        ", " GAPT       1", "third of the trace"),
        (" DFT| Charge", " DFT| Other", "charge of the cell"),
    ],
)
def test_doubtful_files_are_refused(tmp_path, old, new, words):
    text = cp2k_text()
    assert old in text
    assert words in only_error(tmp_path, text.replace(old, new))


def test_an_output_cut_short_in_its_tensors_is_refused(tmp_path):
    text = cp2k_text()
    for cut in range(text.index("APT | Atom  1"), text.index("APT | Write the total") - 5, 23):
        assert "tomic polar tensor" in only_error(tmp_path, text[:cut])
