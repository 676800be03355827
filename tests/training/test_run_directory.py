import json
import os
from datetime import datetime

import pytest

from equivar_jax.config.schema import Config, DataConfig
from equivar_jax.config.settings import from_dict
from equivar_jax.datasets.load import load_dataset
from equivar_jax.errors import InputError
from equivar_jax.training.run_directory import (
    append_record,
    describe_run,
    drop_records_after,
    new_run_directory,
    read_records,
)


def test_a_run_without_a_name_is_called_by_config_and_date(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = new_run_directory("bm2", None)
    assert folder.parts[0] == "runs"
    assert abs((datetime.strptime(folder.name, "bm2-%Y%m%d-%H%M%S") - datetime.now()).total_seconds()) < 600
    assert list(tmp_path.iterdir()) == []  # nothing is made before there is something to put into it


def test_an_empty_folder_or_a_new_one_deep_down_can_be_chosen(tmp_path):
    assert new_run_directory("x", str(tmp_path)) == tmp_path
    assert new_run_directory("x", str(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert not (tmp_path / "a").exists()


def test_a_folder_in_use_is_refused(tmp_path):
    (tmp_path / "something").write_text("")
    with pytest.raises(InputError, match="not empty; choose another --run-dir"):
        new_run_directory("x", str(tmp_path))


def test_a_place_where_no_folder_can_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run", tmp_path / ("n" * 300)):
        with pytest.raises(InputError, match=r"choose another --run-dir"):
            new_run_directory("x", str(place))


def test_a_place_that_may_not_be_written_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # who tests may be root
    with pytest.raises(InputError, match=r"cannot make the run directory"):
        new_run_directory("x", str(tmp_path / "run"))


def test_a_run_is_described_by_readme_config_and_split(tmp_path, labelled_file):
    config = Config(data=DataConfig(str(labelled_file)))
    dataset = load_dataset(config)
    describe_run(tmp_path / "deep" / "run", config, dataset)
    folder = tmp_path / "deep" / "run"
    assert from_dict(Config, json.loads((folder / "config.json").read_text())) == config
    split = json.loads((folder / "split.json").read_text())
    assert {name: len(part) for name, part in split.items()} == {"training": 4, "validation": 1}
    assert sorted(split["training"] + split["validation"]) == [
        f"{labelled_file}, frame {k}" for k in range(5)
    ]
    readme = (folder / "README.md").read_text()
    assert f"--resume {folder}" in readme
    assert "[atom, electric field, displacement]" in readme


def test_a_description_that_cannot_be_written_is_an_input_error(tmp_path, labelled_file):
    config = Config(data=DataConfig(str(labelled_file)))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        describe_run(tmp_path / "file" / "run", config, load_dataset(config))


def test_records_come_back_and_later_ones_can_be_dropped(tmp_path):
    assert read_records(tmp_path) == []
    for epoch in (1, 2, 3):
        append_record(tmp_path, {"epoch": epoch, "train_loss": 0.1 + epoch / 3})
    assert read_records(tmp_path) == [{"epoch": k, "train_loss": 0.1 + k / 3} for k in (1, 2, 3)]
    drop_records_after(tmp_path, 2)
    append_record(tmp_path, {"epoch": 3, "again": True})
    assert [record["epoch"] for record in read_records(tmp_path)] == [1, 2, 3]
    assert read_records(tmp_path)[-1]["again"]


def test_a_line_cut_short_by_a_killed_process_is_passed_over(tmp_path):
    append_record(tmp_path, {"epoch": 1})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train_lo')
    assert read_records(tmp_path) == [{"epoch": 1}]
    drop_records_after(tmp_path, 1)
    append_record(tmp_path, {"epoch": 2})
    assert read_records(tmp_path) == [{"epoch": 1}, {"epoch": 2}]
