import gzip
import json
import sqlite3

import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from helpers.dipole import crystal_and_tensors

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, scan_structures
from equivar_jax.structures import BEC, born_effective_charges


def calculated(label: np.ndarray | None, **results: object) -> Atoms:
    """As a calculation leaves a structure to ASE."""
    atoms, _ = crystal_and_tensors()
    atoms.calc = SinglePointCalculator(atoms, energy=-2.5, **results)
    if label is not None:
        atoms.calc.results[BEC] = label
    return atoms


def refusal(path, **options) -> str:
    with pytest.raises(InputError) as caught:
        read_structures(path, **options)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.traj", "a.json", "no suffix of a trajectory"])
def test_the_standard_result_has_the_field_first(tmp_path, name):
    atoms, tensors = crystal_and_tensors()
    path = tmp_path / name
    ase.io.write(path, [calculated(tensors)] * 2, format="json" if name == "a.json" else "traj")
    for index, read in enumerate(read_structures(path)):
        np.testing.assert_array_equal(born_effective_charges(read), tensors)
        np.testing.assert_array_equal(read.positions, atoms.positions)
        np.testing.assert_array_equal(read.cell.array, atoms.cell.array)
        assert read.get_potential_energy() == -2.5
        assert read.info["source"] == f"{path}, frame {index}"


@pytest.mark.parametrize("name", ["a.traj", "a.json"])
def test_the_flat_form_of_nine_columns_is_row_major(tmp_path, name):
    _, tensors = crystal_and_tensors()
    ase.io.write(tmp_path / name, calculated(tensors.reshape(5, 9)))
    (read,) = read_structures(tmp_path / name)
    np.testing.assert_array_equal(born_effective_charges(read), tensors)


@pytest.mark.parametrize("name", ["a.traj", "a.json"])
@pytest.mark.parametrize("shape", [(15, 3), (3, 15), (5, 3), (5, 9, 1), (4, 3, 3)])
def test_another_shape_is_one_frame_set_aside(tmp_path, name, shape):
    _, tensors = crystal_and_tensors()
    frames = [calculated(tensors), calculated(np.ones(shape)), calculated(tensors)]
    ase.io.write(tmp_path / name, frames)
    first, wrong, last = scan_structures(tmp_path / name)
    np.testing.assert_array_equal(born_effective_charges(first), born_effective_charges(last))
    assert str(wrong).startswith(
        f"{tmp_path / name}, frame 1: its Born effective charges are numbers of shape"
    )


@pytest.mark.parametrize("name", ["a.traj", "a.json"])
def test_numbers_that_are_not_finite_and_broken_structures_are_set_aside(tmp_path, name):
    _, tensors = crystal_and_tensors()
    tensors[3, 0, 1] = np.nan
    flat = calculated(None)
    flat.cell[2] = flat.cell[1]
    ase.io.write(tmp_path / name, [calculated(tensors), flat, Atoms()])
    found = [str(error) for error in scan_structures(tmp_path / name)]
    assert "frame 0: Born effective charge of atom 3 is not finite" in found[0]
    assert "frame 1: periodic along 3 directions, but their cell vectors span no volume" in found[1]
    assert "frame 2: no atoms" in found[2]


@pytest.mark.parametrize("name", ["a.traj", "a.json", "a.db"])
def test_structures_without_label_are_read(tmp_path, name):
    ase.io.write(tmp_path / name, [calculated(None), crystal_and_tensors()[0]])
    read = read_structures(tmp_path / name)
    assert [born_effective_charges(atoms) for atoms in read] == [None, None]
    assert read[0].get_potential_energy() == -2.5


def test_rows_bring_key_value_pairs_and_data(tmp_path):
    path = tmp_path / "a.db"
    atoms, tensors = crystal_and_tensors()
    atoms.set_initial_charges([0.5] * 5)
    with ase.db.connect(path) as database:
        # A key of this name is hidden in ASE's rows by the sum of the initial charges, 2.5.
        pairs = {"charge": 1, "run": "a", "converged": True}
        database.write(atoms, key_value_pairs=pairs, data={BEC: tensors, "epsilon_inf": 2 * np.eye(3)})
    (read,) = read_structures(path)
    np.testing.assert_array_equal(born_effective_charges(read), tensors)
    np.testing.assert_array_equal(read.info.pop("epsilon_inf"), 2 * np.eye(3))
    assert read.info == {"charge": 1, "run": "a", "converged": True, "source": f"{path}, frame 0"}


@pytest.mark.parametrize("first_index", [None, "field", "displacement"])
def test_a_key_names_an_entry_of_data_and_the_user_its_order(tmp_path, first_index):
    path = tmp_path / "a.db"
    atoms, tensors = crystal_and_tensors()
    stored = tensors.transpose(0, 2, 1) if first_index == "displacement" else tensors
    with ase.db.connect(path) as database:
        database.write(atoms, data={"Z": stored.reshape(5, 9), BEC: np.zeros((5, 3, 3))})
        database.write(atoms, data={BEC: np.zeros((5, 3, 3))})
    labelled, without = read_structures(path, "Z", first_index)
    np.testing.assert_array_equal(born_effective_charges(labelled), tensors)
    assert born_effective_charges(without) is None


def test_two_labels_in_a_row_are_refused(tmp_path):
    path = tmp_path / "a.json"
    _, tensors = crystal_and_tensors()
    ase.db.connect(path).write(calculated(tensors), data={BEC: tensors})
    assert "both a result and an entry of data" in refusal(path)


def test_more_rows_than_are_fetched_at_a_time_keep_their_order(tmp_path):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        for number in range(600):
            database.write(Atoms("H"), number=number)
        del database[100]
    assert [atoms.info["number"] for atoms in read_structures(path)] == [*range(99), *range(100, 600)]


def test_reading_leaves_the_file_as_it_is(tmp_path):
    path = tmp_path / "a.db"
    with ase.db.connect(path) as database:
        database.write(Atoms("H"))
    before = path.read_bytes()
    read_structures(path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")] == ["a.db"]


def test_an_sqlite_file_of_another_program_is_refused_and_not_changed(tmp_path):
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE notes (text TEXT)")
    connection.close()
    before = path.read_bytes()
    assert "without ASE's table" in refusal(path)
    assert path.read_bytes() == before


def test_orders_and_keys_that_the_formats_do_not_leave_open_are_refused(tmp_path):
    ase.io.write(tmp_path / "a.traj", calculated(None))
    ase.io.write(tmp_path / "a.db", calculated(None))
    assert "leave out the first index ('displacement')" in refusal(
        tmp_path / "a.traj", first_index="displacement"
    )
    assert "leave out the first index ('field')" in refusal(tmp_path / "a.db", first_index="field")
    assert "leave out the key" in refusal(tmp_path / "a.traj", key="becs")


def test_compressed_files_are_read(tmp_path):
    _, tensors = crystal_and_tensors()
    ase.io.write(tmp_path / "a.traj", calculated(tensors))
    path = tmp_path / "a.traj.gz"
    path.write_bytes(gzip.compress((tmp_path / "a.traj").read_bytes()))
    (read,) = read_structures(path)
    np.testing.assert_array_equal(born_effective_charges(read), tensors)
    assert read.info["source"] == f"{path}, frame 0"


@pytest.mark.parametrize("name", ["a.traj", "a.db", "a.json"])
def test_empty_and_damaged_files_are_one_line(tmp_path, name):
    path = tmp_path / name
    _, tensors = crystal_and_tensors()
    ase.io.write(path, [calculated(tensors)] * 3)
    whole = path.read_bytes()
    good = 0
    for kept in np.linspace(1, len(whole) - 1, 40).astype(int):
        path.write_bytes(whole[:kept])
        found: list[Atoms | InputError] = []
        try:
            found.extend(scan_structures(path))
        except InputError as error:
            found.append(error)
        assert all(str(one).startswith(str(path)) for one in found if isinstance(one, InputError))
        for atoms in found:
            if isinstance(atoms, Atoms):
                np.testing.assert_array_equal(
                    born_effective_charges(atoms), tensors if name != "a.db" else None
                )
                good += 1
    assert good < 3 * 40


def test_a_database_without_rows_is_refused(tmp_path):
    with ase.db.connect(tmp_path / "a.db") as database:
        del database[database.write(Atoms("H"))]
    assert "no structures in the database" in refusal(tmp_path / "a.db")


def test_json_of_another_kind_is_no_database(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"model": {"channels": 4}}))
    assert "not a structure file that ASE can read" in refusal(path)
