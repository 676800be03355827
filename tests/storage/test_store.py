import io
from pathlib import Path

import numpy as np
import pytest

from equivar_jax.errors import InputError
from equivar_jax.storage.store import ColumnWriter, open_columns, piece_starts

ROWS = {"sizes": np.arange(5, dtype=np.int32), "vectors": np.random.default_rng(0).normal(size=(7, 3))}


def written(folder, key="a key", notes=None):
    writer = ColumnWriter(folder)
    for part in (slice(0, 2), slice(2, 3), slice(3, 3), slice(3, None)):
        writer.append(**{name: array[part] for name, array in ROWS.items()})
    return writer.finish(key, notes)


@pytest.mark.parametrize("reopened", [False, True])
def test_what_was_appended_comes_back_bit_for_bit(tmp_path, reopened):
    columns = written(tmp_path / "store", notes={"seen": 3})
    if reopened:
        columns = open_columns(tmp_path / "store", "a key")
    assert columns.arrays.keys() == ROWS.keys()
    for name, array in ROWS.items():
        assert columns[name].dtype == array.dtype
        assert isinstance(columns[name], np.memmap)
        np.testing.assert_array_equal(columns[name], array)
    assert columns.notes == {"seen": 3}


def test_an_empty_column_keeps_type_and_row_shape(tmp_path):
    writer = ColumnWriter(tmp_path / "store")
    writer.append(vectors=np.zeros((0, 3), np.float32))
    columns = writer.finish("k")
    assert columns["vectors"].shape == (0, 3)
    assert open_columns(tmp_path / "store", "k")["vectors"].dtype == np.float32


def test_another_key_or_no_store_is_none_and_a_new_store_replaces_the_old(tmp_path):
    assert open_columns(tmp_path / "store", "a key") is None
    written(tmp_path / "store")
    assert open_columns(tmp_path / "store", "another key") is None
    written(tmp_path / "store", "another key")
    assert open_columns(tmp_path / "store", "another key") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_no_flipped_byte_and_no_missing_byte_is_read_as_data(tmp_path):
    written(tmp_path / "store")
    for name in ROWS:
        path = tmp_path / "store" / f"{name}.bin"
        content = path.read_bytes()
        for place in range(0, len(content), 3):
            damaged = bytearray(content)
            damaged[place] ^= 0x10
            path.write_bytes(damaged)
            with pytest.warns(RuntimeWarning, match="damaged"):
                assert open_columns(tmp_path / "store", "a key") is None
        path.write_bytes(content[:-1])
        with pytest.warns(RuntimeWarning, match="damaged"):
            assert open_columns(tmp_path / "store", "a key") is None
        path.write_bytes(content)
    assert open_columns(tmp_path / "store", "a key") is not None


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"key": "a key"}', '{"key": "a key", "columns": {"x": 1}}']
)
def test_a_damaged_manifest_is_noticed(tmp_path, manifest):
    written(tmp_path / "store")
    (tmp_path / "store" / "manifest.json").write_text(manifest)
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert open_columns(tmp_path / "store", "a key") is None


def test_a_missing_column_is_noticed(tmp_path):
    written(tmp_path / "store")
    (tmp_path / "store" / "sizes.bin").unlink()
    with pytest.warns(RuntimeWarning, match="damaged"):
        assert open_columns(tmp_path / "store", "a key") is None


def test_an_unwritable_place_is_a_warning_and_the_columns_are_there(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    with pytest.warns(RuntimeWarning, match="not cached.*EQUIVAR_CACHE"):
        columns = written(blocked / "store")
    np.testing.assert_array_equal(columns["vectors"], ROWS["vectors"])
    temporary = columns.folder
    assert temporary.exists()
    del columns
    assert not temporary.exists()


def test_a_discarded_store_leaves_nothing(tmp_path):
    writer = ColumnWriter(tmp_path / "store")
    writer.append(**ROWS)
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_mapped_columns_outlive_their_replacement(tmp_path):
    columns = written(tmp_path / "store")
    written(tmp_path / "store", "another key")
    np.testing.assert_array_equal(columns["vectors"], ROWS["vectors"])


def test_who_comes_second_takes_the_same_store_and_leaves_it_as_it_is(tmp_path):
    """Another process may be opening it at that moment."""
    first, second = ColumnWriter(tmp_path / "store"), ColumnWriter(tmp_path / "store")
    for writer in (first, second):
        writer.append(**ROWS)
    kept = first.finish("a key")
    before = (tmp_path / "store").stat().st_ino
    again = second.finish("a key")
    assert (tmp_path / "store").stat().st_ino == before
    assert again.folder == kept.folder == tmp_path / "store"
    for name, array in ROWS.items():
        np.testing.assert_array_equal(again[name], array)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_who_comes_second_replaces_a_damaged_store(tmp_path):
    writer = ColumnWriter(tmp_path / "store")
    writer.append(**ROWS)
    written(tmp_path / "store")
    (tmp_path / "store" / "sizes.bin").write_bytes(b"something else")
    np.testing.assert_array_equal(writer.finish("a key")["sizes"], ROWS["sizes"])
    np.testing.assert_array_equal(open_columns(tmp_path / "store", "a key")["sizes"], ROWS["sizes"])
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's device that is always full")
def test_a_full_disk_is_an_input_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "open", lambda *_: io.FileIO("/dev/full", "w"))
    writer = ColumnWriter(tmp_path / "store")
    with pytest.raises(InputError, match=r"No space left on device.*make room, or set EQUIVAR_CACHE"):
        writer.append(big=np.zeros(1 << 20))
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_ragged_gives_the_start_of_every_piece_and_the_end():
    assert piece_starts(np.array([2, 0, 3])).tolist() == [0, 2, 2, 5]
    assert piece_starts(np.zeros(0, np.int32)).tolist() == [0]
