import pickle

import numpy as np
import pytest
from ase import Atoms
from helpers.crystals import labelled_crystal

from equivar_jax.errors import InputError
from equivar_jax.storage.structure_table import cached_table
from equivar_jax.structures import born_effective_charges


def same(one, other):
    assert one.numbers.tolist() == other.numbers.tolist()
    for name in ("positions", "pbc"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    np.testing.assert_array_equal(one.cell.array, other.cell.array)
    labels = born_effective_charges(one), born_effective_charges(other)
    if labels[1] is None:
        assert labels[0] is None
    else:
        np.testing.assert_array_equal(*labels)


@pytest.fixture
def structures():
    molecule = Atoms("OH2", [[0, 0, 0], [0, 0.7, 0.6], [0, -0.7, 0.6]], info={"charge": -1.0})
    crystals = [labelled_crystal(k) for k in range(4)]
    crystals[2].info.update(
        epsilon_inf=np.diag([2.0, 3.0, 4.0]), name="Zirkonium ü", kept=[1, 2], lost=object()
    )
    return [*crystals[:3], molecule, crystals[3]]


def test_structures_come_back_exactly(tmp_path, structures):
    for table in [cached_table(tmp_path / "t", "k", lambda: structures) for _ in range(2)]:
        assert len(table) == 5
        for one, other in zip(table, structures, strict=True):
            same(one, other)
        info = table[2].info
        np.testing.assert_array_equal(info["epsilon_inf"], np.diag([2.0, 3.0, 4.0]))
        assert (info["name"], info["kept"], "lost" in info) == ("Zirkonium ü", [1, 2], False)
        assert table[3].info["charge"] == -1.0
        assert table.labelled.tolist() == [True, True, True, False, True]
        np.testing.assert_array_equal(table.tensors(4), born_effective_charges(structures[4]))
        assert table.tensors(3) is None
        assert table.elements.tolist() == sorted({z for atoms in structures for z in atoms.numbers.tolist()})


def test_a_part_is_a_table_without_copies(tmp_path, structures):
    table = cached_table(tmp_path / "t", "k", lambda: structures)
    part = table.subset([4, 0, 3])
    for chosen in (part, table[::-2].subset([0, 2, 1]).subset([0, 1, 2])):
        assert len(chosen) == 3
        same(chosen[0], structures[4])
        same(chosen[1], structures[0])
    assert part.columns is table.columns
    assert part.subset([2]).elements.tolist() == [1, 8]
    same(part[-1], structures[3])
    with pytest.raises(IndexError):
        part[3]


def test_a_structure_is_the_readers_own_and_changing_it_changes_nothing(tmp_path, structures):
    table = cached_table(tmp_path / "t", "k", lambda: structures)
    atoms = table[0]
    atoms.positions += 1
    born_effective_charges(atoms)[:] = 0
    same(table[0], structures[0])


def test_only_the_same_key_is_taken_from_the_cache(tmp_path, structures):
    made = []

    def make():
        made.append(True)
        return structures

    for key in ("a", "a", "b", "b", "a"):
        cached_table(tmp_path / "t", key, make)
    assert len(made) == 3


def test_a_failure_leaves_no_half_table(tmp_path, structures):
    def half():
        yield structures[0]
        raise InputError("file x: cut short; copy it again")

    with pytest.raises(InputError, match="cut short"):
        cached_table(tmp_path / "t", "k", half)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_table_is_a_table(tmp_path):
    table = cached_table(tmp_path / "t", "k", list)
    assert (len(table), table.elements.tolist(), list(table)) == (0, [], [])


def test_a_table_opens_itself_in_another_process(tmp_path, structures):
    table = cached_table(tmp_path / "t", "k", lambda: structures).subset([3, 1])
    sent = pickle.dumps(table)
    assert len(sent) < 1000
    for one, other in zip(pickle.loads(sent), table, strict=True):
        same(one, other)
