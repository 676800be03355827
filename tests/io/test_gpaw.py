from pathlib import Path

import ase.io
import numpy as np
import pytest
from helpers.dipole import crystal_and_tensors
from helpers.gpaw_files import charges_json, gpaw_folder

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, structure_files
from equivar_jax.structures import born_effective_charges

ATOMS, TENSORS = crystal_and_tensors()


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_structures(path)
    assert "\n" not in str(caught.value)
    assert str(path.parent) in str(caught.value)
    return str(caught.value)


def test_the_first_index_is_the_field(tmp_path):
    (atoms,) = read_structures(gpaw_folder(tmp_path, ATOMS, TENSORS))
    np.testing.assert_array_equal(born_effective_charges(atoms), TENSORS)
    assert np.abs(TENSORS - TENSORS.transpose(0, 2, 1)).max() > 0.1
    np.testing.assert_allclose(atoms.positions, ATOMS.positions, atol=1e-12)
    np.testing.assert_allclose(atoms.cell.array, ATOMS.cell.array, atol=1e-12)


def test_arrays_as_ase_writes_them(tmp_path):
    path = gpaw_folder(tmp_path, ATOMS, TENSORS)
    arrays = {
        "Z_avv": {"__ndarray__": [[5, 3, 3], "float64", TENSORS.ravel().tolist()]},
        "indices_a": {"__ndarray__": [[5], "int64", [0, 1, 2, 3, 4]]},
    }
    path.write_text(charges_json(ATOMS, TENSORS, **arrays))
    (atoms,) = read_structures(path)
    np.testing.assert_array_equal(born_effective_charges(atoms), TENSORS)


def test_a_folder_has_the_structure_once(tmp_path):
    path = gpaw_folder(tmp_path, ATOMS, TENSORS)
    (tmp_path / "structure.json").rename(tmp_path / "structure.txt")
    ase.io.write(tmp_path / "a.cif", ATOMS)
    assert structure_files(tmp_path) == [path]


def test_the_structure_must_be_the_only_one_with_these_elements(tmp_path):
    path = gpaw_folder(tmp_path, ATOMS, TENSORS)
    (tmp_path / "structure.json").unlink()
    assert "no file beside it has exactly one structure of" in refusal(path)
    moved = ATOMS.copy()
    moved.positions[1] += 0.01
    ase.io.write(tmp_path / "a.traj", moved)
    ase.io.write(tmp_path / "b.xyz", ATOMS[::-1], format="extxyz")
    np.testing.assert_allclose(read_structures(path)[0].positions, moved.positions)
    ase.io.write(tmp_path / "c.cif", ATOMS)
    assert "a.traj, c.cif" in refusal(path)
    ase.io.write(tmp_path / "gs.traj", ATOMS)  # the name says that it is the ground state
    np.testing.assert_allclose(read_structures(path)[0].positions, ATOMS.positions)


FAULTS = {
    "some atoms": ({"indices_a": [0, 2]}, "all atoms"),
    "odd indices": ({"indices_a": {"a": [[1], 2]}}, "all atoms"),
    "too few tensors": ({"Z_avv": TENSORS[:4].tolist()}, "shape (5, 3, 3)"),
    "a row less": ({"Z_avv": [*TENSORS[:4].tolist(), TENSORS[4, :2].tolist()]}, "shape (5, 3, 3)"),
    "words": ({"Z_avv": [[["a"] * 3] * 3] * 5}, "shape (5, 3, 3)"),
    "nothing": ({"Z_avv": None}, "shape (5, 3, 3)"),
    "not finite": ({"Z_avv": [[[float("nan")] * 3] * 3] * 5}, "not finite"),
    "no elements": ({"sym_a": None}, "sym_a"),
    "unknown elements": ({"sym_a": ["Qq"] * 5}, "Qq"),
    "damaged array": ({"Z_avv": {"__ndarray__": [[5, 3, 3], "float64", [1.0]]}}, "shape (5, 3, 3)"),
}


@pytest.mark.parametrize(("changes", "found"), FAULTS.values(), ids=FAULTS)
def test_damage_is_named(tmp_path, changes, found):
    path = gpaw_folder(tmp_path, ATOMS, TENSORS)
    path.write_text(charges_json(ATOMS, TENSORS, **changes))
    assert found in refusal(path)


def test_a_file_cut_short_is_refused(tmp_path):
    path = gpaw_folder(tmp_path, ATOMS, TENSORS)
    path.write_text(path.read_text()[:-30])
    assert "not a JSON file" in refusal(path)
