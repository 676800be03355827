import numpy as np
import pytest
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import (
    Step,
    check_elements,
    finish_structure,
    parse_numbers,
    parse_rows,
    select_frames,
)
from equivar_jax.structures import born_effective_charges


@pytest.mark.parametrize(
    "text", [None, "", "1 2", "1 2 3 4", "1 2 x", "1 2 nan", "1 -inf 2", "1 ***** 3", "1-2-3"]
)
def test_anything_but_so_many_finite_numbers_is_refused(text):
    with pytest.raises(InputError, match="file, frame 2: positions: expected 3 finite numbers, found"):
        parse_numbers(text, 3, "file, frame 2", "positions")


def test_numbers_are_read_as_they_are_printed():
    assert parse_numbers(" -0.5  1.0E+02 3\n", 3, "file", "cell") == [-0.5, 100.0, 3.0]
    read = parse_rows(["1 2 3", " 4 5 6\n"], 2, "file", "cell")
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, [[1, 2, 3], [4, 5, 6]])


def test_every_line_must_be_there():
    with pytest.raises(InputError, match="cell: expected 3 lines, found 2"):
        parse_rows(["1 2 3", "4 5 6"], 3, "file", "cell")


@pytest.mark.parametrize("symbols", [[], ["O", "Qq"], ["X"], [""]])
def test_elements_must_be_known(symbols):
    with pytest.raises(InputError, match="expected chemical elements"):
        check_elements(symbols, "file")


def test_all_steps_count_where_none_has_tensors():
    one, two = Atoms("H"), Atoms("He")
    error = InputError("damaged")
    assert list(select_frames([Step(False, one), Step(False, two)])) == [one, two]
    assert list(select_frames([Step(False, one), Step(True, two), Step(True, error)])) == [two, error]


def test_a_finished_structure_has_source_label_and_dielectric_tensor():
    atoms = Atoms("MgO", positions=[[0, 0, 0], [0, 0, 2]], cell=[4, 4, 4], pbc=True)
    tensors = np.arange(18.0).reshape(2, 3, 3)
    result = finish_structure(atoms, "file, frame 0", tensors, 3 * np.eye(3))
    np.testing.assert_array_equal(born_effective_charges(result), tensors)
    np.testing.assert_array_equal(result.info["epsilon_inf"], 3 * np.eye(3))
    assert result.info["source"] == "file, frame 0"
    with pytest.raises(InputError, match="file, frame 0: the cell is not finite"):
        finish_structure(Atoms("H", cell=[np.nan] * 3), "file, frame 0")
