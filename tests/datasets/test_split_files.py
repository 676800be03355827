import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.datasets.split_files import file_and_frame, read_parts
from equivar_jax.errors import InputError

SOURCES = [f"a.extxyz, frame {k}" for k in (0, 1, 3, 4, 5)]  # frame 2 was set aside


def written(folder, training, validation):
    path = folder / "split.json"
    path.write_text(json.dumps({"training": training, "validation": validation}))
    return path


def places(sources, path):
    return tuple(part.tolist() for part in read_parts(sources, path))


@given(st.permutations(range(9)), st.integers(1, 8), st.integers(0, 8))
def test_a_written_split_comes_back_whatever_was_added_or_reordered(tmp_path_factory, order, training, added):
    names = [f"a.extxyz, frame {k}" for k in range(9)]
    stored = {"training": names[:training], "validation": names[training:]}
    data = [names[k] for k in order] + [f"b.extxyz, frame {k}" for k in range(added)]
    found = read_parts(data, written(tmp_path_factory.mktemp("split"), **stored))
    for part, name in zip(found, stored, strict=True):
        assert (np.diff(part) > 0).all()
        assert {data[k] for k in part} == set(stored[name])


def test_integers_are_the_numbers_in_the_file_so_frames_set_aside_shift_nothing(tmp_path):
    assert places(SOURCES, written(tmp_path, [0, 3], [5])) == ([0, 2], [4])
    with pytest.raises(InputError, match=r"split\.json: 1 of the 3 structures .* frame 2 is one"):
        read_parts(SOURCES, written(tmp_path, [0, 2], [5]))


def test_a_run_directory_gives_its_split(tmp_path):
    written(tmp_path, SOURCES[:2], SOURCES[3:])
    (tmp_path / "train.txt").write_text("1 2 3")
    assert places(SOURCES, tmp_path) == ([0, 1], [3, 4])


def test_a_folder_of_lists_is_read_and_a_test_part_left_alone(tmp_path):
    (tmp_path / "train_idx.txt").write_text("5\n0\n\n3 ")
    np.save(tmp_path / "valid.npy", np.array([4], dtype=np.int32))
    (tmp_path / "test.txt").write_text("1")
    (tmp_path / "training.log").write_text("about something else")
    assert places(SOURCES, tmp_path) == ([0, 2, 4], [3])


def test_other_names_of_the_two_lists_are_understood(tmp_path):
    (tmp_path / "mine.json").write_text('{"train": [1], "test": [0], "val": [4]}')
    assert places(SOURCES, tmp_path / "mine.json") == ([1], [3])


@pytest.mark.parametrize(
    ("training", "validation", "message"),
    [
        ([0, 1], [1], r"frame 1 is in both parts \(1 such names\)"),
        ([0, 0], [1], "frame 0 is twice in one part"),
        (SOURCES[:2], SOURCES[1:3], "'a.extxyz, frame 1' is in both parts"),
        ([-1], [0], "1 of the 2 structures .* frame -1 is one"),
        ([0, 99], [98], r"2 of the 3 structures .* frame 99 is one \(the data begin with frame 0\)"),
        (
            ["b.extxyz, frame 0", *SOURCES[:2]],
            SOURCES[2:],
            r"1 of the 6 .*'b\.extxyz, frame 0' is one \(the data begin with 'a\.extxyz, frame 0'\)",
        ),
        ([0, SOURCES[1]], [1], "the lists hold int, str; write either"),
        ([0.0], [1], "the lists hold float, int"),
        ([True], [False], "the lists hold bool"),
        ([[0]], [[1]], "the lists hold list"),
        ({"0": 1}, [1], "the two parts must be lists"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, training, validation, message):
    with pytest.raises(InputError, match=message) as refusal:
        read_parts(SOURCES, written(tmp_path, training, validation))
    assert str(refusal.value).startswith(f"{tmp_path / 'split.json'}: ")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["a.extxyz, frame 0", "b.extxyz, frame 1"], [0, 1]),
        (["demonstration ZrO2 0", "demonstration ZrO2 1"], [0, 1]),
    ],
)
def test_integers_that_could_mean_several_structures_are_refused(tmp_path, sources, names):
    with pytest.raises(InputError, match="integers count the frames of one file"):
        read_parts(sources, written(tmp_path, names[:1], names[1:]))


def test_two_structures_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"two structures of the data are 'a\.extxyz, frame 1'"):
        read_parts([*SOURCES, SOURCES[1]], written(tmp_path, SOURCES[:1], SOURCES[1:2]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a JSON file"),
        (b"\xff\xfe", "not a JSON file"),
        (b"[1, 2]", r"one list train\.\.\. and one val\.\.\. are needed, found none"),
        (b'{"training": [1]}', "are needed, found training"),
        (b'{"training": [1], "train": [2], "val": [3]}', "are needed, found training, train, val"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "split.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_parts(SOURCES, path)


def test_a_path_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"absent\.json: cannot be read .*--data\.split_path"):
        read_parts(SOURCES, tmp_path / "absent.json")
    with pytest.raises(InputError, match=r"are needed, found none; .* train\.txt and val\.txt in a folder"):
        read_parts(SOURCES, tmp_path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("train.txt", lambda path: path.write_text("0 1.5")),
        ("train.txt", lambda path: path.write_bytes(b"\xff\xff")),
        ("train.npy", lambda path: np.save(path, np.array([0.0, 1.0]))),
        ("train.npy", lambda path: np.save(path, np.array([[0, 1]]))),
        ("train.npy", lambda path: np.save(path, np.array([{}]), allow_pickle=True)),
        ("train.npy", lambda path: path.write_bytes(b"")),
    ],
)
def test_lists_that_are_no_integers_are_refused(tmp_path, name, write):
    (tmp_path / "val.txt").write_text("3")
    write(tmp_path / name)
    with pytest.raises(InputError, match=rf"{name}: not a list of integers"):
        read_parts(SOURCES, tmp_path)


def test_file_and_frame_of_a_source():
    assert file_and_frame("runs/a, frame 2.extxyz, frame 13") == ("runs/a, frame 2.extxyz", 13)
    assert file_and_frame("demonstration ZrO2 7") == ("demonstration ZrO2 7", None)
