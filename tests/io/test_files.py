"""Files that appear complete or not at all."""

import os

import pytest

from equivar_jax.io.files import write_whole


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "told.json"
    for text in ("ü", "longer than before\n"):
        write_whole(path, text)
        assert path.read_text(encoding="utf-8") == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_completed_leaves_the_one_before(tmp_path):
    path = tmp_path / "told.json"
    write_whole(path, "before")
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "no UTF-8: \ud800")
    assert path.read_text() == "before"


def test_another_process_that_writes_the_same_file_does_not_take_away_what_is_being_written(
    tmp_path, monkeypatch
):
    path, own = tmp_path / "cached.json", os.getpid()
    replace = type(path).replace

    def overtaken(partial, target):
        with monkeypatch.context() as patch:
            patch.setattr(type(path), "replace", replace)
            patch.setattr(os, "getpid", lambda: own + 1)
            write_whole(path, "theirs", is_shared=True)
        return replace(partial, target)

    monkeypatch.setattr(type(path), "replace", overtaken)
    write_whole(path, "ours", is_shared=True)
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]
