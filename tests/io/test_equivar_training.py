import json

import numpy as np
import pytest
from helpers.dipole import crystal_and_tensors

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures, scan_structures
from equivar_jax.structures import born_effective_charges


def frame_text(target: object, identifier: str = "mp-1", columns: str = "") -> str:
    atoms, tensors = crystal_and_tensors()
    cell = " ".join(map(repr, atoms.cell.array.ravel().tolist()))
    rows = [
        f"{symbol} "
        + " ".join(map(repr, [*position.tolist(), *(tensor.ravel().tolist() if columns else [])]))
        for symbol, position, tensor in zip(atoms.symbols, atoms.positions, tensors, strict=True)
    ]
    properties = f"species:S:1:pos:R:3{columns}"
    entry = json.dumps(target).replace('"', '\\"')
    comment = f'Lattice="{cell}" Properties={properties} target="_JSON {entry}" id={identifier}'
    return "\n".join(["5", comment, *rows]) + "\n"


def flat(tensors: np.ndarray) -> list[list[float]]:
    return tensors.reshape(-1, 9).tolist()


@pytest.fixture
def file(tmp_path):
    def write(*frames: str):
        path = tmp_path / "training.xyz"
        path.write_text("".join(frames))
        return path

    return write


@pytest.mark.parametrize("first_index", ["field", "displacement"])
def test_the_user_says_the_index_order(file, first_index):
    _, tensors = crystal_and_tensors()
    stored = tensors if first_index == "field" else tensors.transpose(0, 2, 1)
    path = file(frame_text(flat(stored)), frame_text(flat(stored), "17"))
    first, second = read_structures(path, first_index=first_index)
    np.testing.assert_array_equal(born_effective_charges(first), tensors)
    np.testing.assert_array_equal(born_effective_charges(second), tensors)
    assert [atoms.info["id"] for atoms in (first, second)] == ["mp-1", 17]
    assert "target" not in first.info
    assert first.info["source"] == f"{path}, frame 0"


def test_without_the_order_the_file_is_refused_with_the_remedy(file):
    path = file(frame_text(flat(np.ones((5, 3, 3)))))
    for key in (None, "target"):
        with pytest.raises(InputError, match=r"frame 0: .*--data\.first_index field or .* displacement"):
            list(scan_structures(path, key))


def test_a_column_is_taken_before_the_entry_unless_the_key_names_the_entry(file):
    _, tensors = crystal_and_tensors()
    path = file(frame_text(flat(2 * tensors), columns=":becs:R:9"))
    (atoms,) = read_structures(path)
    np.testing.assert_array_equal(born_effective_charges(atoms), tensors)
    (atoms,) = read_structures(path, "target", "field")
    np.testing.assert_array_equal(born_effective_charges(atoms), 2 * tensors)
    assert "becs" in atoms.arrays


def test_another_key_leaves_the_entry_alone(file):
    (atoms,) = read_structures(file(frame_text(flat(np.ones((5, 3, 3))))), "becs")
    assert born_effective_charges(atoms) is None
    assert atoms.info["target"].shape == (5, 9)


@pytest.mark.parametrize("target", [1.5, "a word", [1, 2, 3], [[1, 2], [3, 4]]])
def test_an_entry_of_another_kind_is_no_label(file, target):
    (atoms,) = read_structures(file(frame_text(target)))
    assert born_effective_charges(atoms) is None
    assert "target" in atoms.info


WRONG = {
    "a row short": ([[0.0] * 9] * 4, "numbers of shape (4, 9), expected (5, 3, 3)"),
    "a number that is none": ([[None, *[0.0] * 8]] * 5, "no array of real numbers"),
    "a word": ([["a", *[0.0] * 8]] * 5, "no array of real numbers"),
    "truth values": ([[True] * 9] * 5, "no array of real numbers"),
    "not finite": ([[float("nan"), *[0.0] * 8]] * 5, "atom 0 is not finite"),
    "rows of different lengths": ([[0.0] * 9] * 4 + [[0.0] * 8], "not a valid extended XYZ frame"),
}


@pytest.mark.parametrize(("target", "found"), WRONG.values(), ids=WRONG.keys())
def test_a_faulty_entry_is_one_frame_set_aside(file, target, found):
    good = frame_text(flat(np.ones((5, 3, 3))))
    first, wrong, last = scan_structures(file(good, frame_text(target), good), first_index="field")
    assert isinstance(wrong, InputError)
    np.testing.assert_array_equal(born_effective_charges(first), np.ones((5, 3, 3)))
    np.testing.assert_array_equal(born_effective_charges(last), np.ones((5, 3, 3)))
    assert "frame 1: " in str(wrong)
    assert found in str(wrong)
