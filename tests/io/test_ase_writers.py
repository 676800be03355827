import ase.db
import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.constraints import FixAtoms
from helpers.dipole import crystal_and_tensors

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, write_structures
from equivar_jax.structures import BEC, born_effective_charges, with_born_effective_charges


def labelled(**info: object) -> Atoms:
    atoms, tensors = crystal_and_tensors()
    atoms.info.update(info)
    atoms = with_born_effective_charges(atoms, tensors / 3)
    atoms.calc.results["energy"] = -1 / 3
    return atoms


def test_ase_itself_reads_the_label_of_a_trajectory_exactly(tmp_path):
    atoms = labelled()
    other = with_born_effective_charges(Atoms("H"), np.arange(9.0).reshape(1, 3, 3) / 7)
    write_structures(tmp_path / "a.traj", [atoms, other])
    read, second = ase.io.read(tmp_path / "a.traj", ":")
    np.testing.assert_array_equal(read.calc.results[BEC], crystal_and_tensors()[1] / 3)
    np.testing.assert_array_equal(second.calc.results[BEC], other.calc.results[BEC])
    assert read.get_potential_energy() == -1 / 3
    assert read == atoms


def test_ase_itself_has_the_label_of_a_database_in_the_data_of_the_row(tmp_path):
    write_structures(tmp_path / "a.db", labelled(run="a", charge=1))
    with ase.db.connect(tmp_path / "a.db") as database:
        row, read = database.get(run="a"), database.get_atoms(1)
    np.testing.assert_array_equal(row.data[BEC], crystal_and_tensors()[1] / 3)
    assert row.energy == -1 / 3
    assert read == labelled()
    assert read.get_potential_energy() == -1 / 3


INFO = {
    "id": "mp-1", "charge": -2, "mass": 3.5, "run": 7, "ratio": 0.1, "name": "12", "converged": True,
    "CO": 1.0, "epsilon_inf": np.arange(9.0).reshape(3, 3) / 7, "list": [1, "a", None],
    "nested": {"a": [1.5]}, "é ü": "ß", "infinite": float("inf"),
}  # fmt: skip


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_labels_and_info_come_back(tmp_path, name):
    atoms = labelled(**INFO)
    atoms.calc.results["born_effective_charges_spread"] = 0.25
    atoms.set_tags([1, 2, 3, 4, 5])
    atoms.set_initial_charges([0.5] * 5)
    atoms.set_constraint(FixAtoms([0]))
    write_structures(tmp_path / name, [atoms, labelled()])
    read, second = read_structures(tmp_path / name)
    np.testing.assert_array_equal(born_effective_charges(read), born_effective_charges(atoms))
    np.testing.assert_array_equal(born_effective_charges(second), born_effective_charges(atoms))
    assert read == atoms
    assert read.constraints[0].index.tolist() == [0]
    assert read.info.pop("source") == f"{tmp_path / name}, frame 0"
    assert read.info.pop("born_effective_charges_spread") == 0.25
    np.testing.assert_array_equal(read.info.pop("epsilon_inf"), INFO["epsilon_inf"])
    assert read.info == {key: value for key, value in INFO.items() if key != "epsilon_inf"}
    assert {type(value) for value in read.info.values()} <= {str, int, float, bool, list, dict}


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_a_label_stays_with_a_structure_that_was_moved_after_it(tmp_path, name):
    atoms = labelled()
    atoms.positions += 0.1  # ASE would take the result for out of date, and drop it without a word
    write_structures(tmp_path / name, atoms)
    (read,) = read_structures(tmp_path / name)
    np.testing.assert_array_equal(born_effective_charges(read), born_effective_charges(atoms))
    np.testing.assert_array_equal(read.positions, atoms.positions)


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_an_existing_file_is_replaced_only_by_a_complete_one(tmp_path, name):
    path = tmp_path / name
    write_structures(path, [labelled()] * 3)
    before = path.read_bytes()
    with pytest.raises(InputError, match="the entry 'object' of type object cannot be stored by ASE"):
        write_structures(path, [labelled(), labelled(object=object())])
    assert path.read_bytes() == before
    with pytest.raises(InputError, match="no structures to write"):
        write_structures(path, [])
    assert path.read_bytes() == before
    write_structures(path, labelled())
    assert len(read_structures(path)) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
@pytest.mark.parametrize(
    ("label", "found"), [(np.ones((5, 9)), "shape"), (np.full((5, 3, 3), np.inf), "not finite")]
)
def test_a_faulty_label_is_refused(tmp_path, name, label, found):
    atoms = labelled()
    atoms.calc.results[BEC] = label
    with pytest.raises(InputError, match=found):
        write_structures(tmp_path / name, atoms)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_a_name_in_info_and_in_the_results_is_refused(tmp_path, name):
    atoms = labelled(spread=1.0)
    atoms.calc.results["spread"] = 2.0
    with pytest.raises(InputError, match=r"'spread' is both in atoms\.info and in the results"):
        write_structures(tmp_path / name, atoms)


@pytest.mark.parametrize("name", ["a.traj", "a.db"])
def test_a_key_that_is_no_word_is_refused(tmp_path, name):
    atoms = labelled()
    atoms.info[3] = 4
    with pytest.raises(InputError, match="the entry 3 of type int"):
        write_structures(tmp_path / name, atoms)
