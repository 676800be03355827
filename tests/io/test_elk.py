from pathlib import Path

import numpy as np
import pytest
from helpers.dipole import crystal_and_tensors
from helpers.elk_files import elk_set

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, scan_structures, structure_files
from equivar_jax.structures import born_effective_charges

ATOMS, TENSORS = crystal_and_tensors()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_structures(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_lines_are_the_field_files_the_displacement_and_the_sign_is_reversed(tmp_path):
    path = elk_set(tmp_path, ATOMS, TENSORS)
    (atoms,) = read_structures(path)
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, rtol=1e-9)
    assert np.abs(TENSORS - TENSORS.transpose(0, 2, 1)).max() > 0.1
    np.testing.assert_allclose(atoms.cell.array, ATOMS.cell.array, atol=1e-6)
    np.testing.assert_allclose(atoms.positions, ATOMS.positions, atol=1e-6)
    assert list(atoms.symbols) == list(ATOMS.symbols)


def test_any_file_of_the_set_stands_for_it_and_a_folder_has_it_once(tmp_path):
    first = elk_set(tmp_path, ATOMS, TENSORS)
    (atoms,) = read_structures(tmp_path / "BEC_S03_A002_P3.OUT")
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, rtol=1e-9)
    assert structure_files(tmp_path) == [first]
    (again,) = read_structures(tmp_path)
    np.testing.assert_allclose(born_effective_charges(again), TENSORS, rtol=1e-9)


@pytest.mark.parametrize("name", ["BEC_S01_A001_P1.OUT", "BEC_S02_A001_P3.OUT", "BEC_S03_A001_P2.OUT"])
def test_a_set_that_is_not_complete_is_refused(tmp_path, name):
    elk_set(tmp_path, ATOMS, TENSORS)
    (tmp_path / name).unlink()
    assert f"{name} is missing" in refusal(tmp_path / "BEC_S03_A003_P1.OUT")
    (tmp_path / name).write_text("")
    assert "empty" in refusal(tmp_path / "BEC_S03_A003_P1.OUT")


def test_a_set_of_another_crystal_is_refused(tmp_path):
    path = elk_set(tmp_path, ATOMS, TENSORS)
    for p in (1, 2, 3):
        (tmp_path / f"BEC_S03_A003_P{p}.OUT").rename(tmp_path / f"BEC_S02_A002_P{p}.OUT")
    assert "O3PbTi" in refusal(path)
    elk_set(tmp_path, ATOMS, TENSORS)
    assert "files of 6 atoms" in refusal(path)


def test_two_species_of_one_element_keep_their_order(tmp_path):
    path = elk_set(tmp_path, ATOMS, TENSORS)
    for p in (1, 2, 3):  # the last oxygen becomes a species of its own
        (tmp_path / f"BEC_S03_A003_P{p}.OUT").rename(tmp_path / f"BEC_S04_A001_P{p}.OUT")
    (atoms,) = read_structures(path)
    np.testing.assert_allclose(born_effective_charges(atoms), TENSORS, rtol=1e-9)


FAULTS = {
    "of task 478": (lambda text: text.replace(" : ip =    1", "   0.1"), "as task 208 writes them"),
    "another order": (lambda text: text.replace("ip =    2", "ip =    3"), "as task 208 writes them"),
    "a line less": (lambda text: text.rpartition(" : ip")[0].rpartition("\n")[0], "as task 208 writes them"),
    "asterisks": (lambda text: "*" * 18 + text[18:], "finite"),
}


@pytest.mark.parametrize(("damage", "found"), FAULTS.values(), ids=FAULTS)
def test_damage_is_named(tmp_path, damage, found):
    path = elk_set(tmp_path, ATOMS, TENSORS)
    damaged = tmp_path / "BEC_S02_A001_P1.OUT"
    text = damaged.read_text()
    assert damage(text) != text
    damaged.write_text(damage(text))
    assert found in refusal(path)


def test_without_a_structure_its_file_is_named(tmp_path):
    path = elk_set(tmp_path, ATOMS, TENSORS)
    (tmp_path / "GEOMETRY.OUT").unlink()
    assert "no GEOMETRY.OUT" in refusal(path)
    assert all(isinstance(found, InputError) for found in scan_structures(tmp_path))
