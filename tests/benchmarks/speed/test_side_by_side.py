"""Trainings side by side beside one: the benchmark trains what it says."""

import json

import pytest

from benchmarks.speed import side_by_side


@pytest.mark.slow
def test_every_way_is_timed_and_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(side_by_side, "FRAMES", 3)
    monkeypatch.setattr(side_by_side, "SUPERCELL", (1, 1, 1))
    monkeypatch.setattr(side_by_side, "EPOCHS", 2)
    output = tmp_path / "found.json"
    side_by_side.main(["--rounds", "1", "--configs", "test.py", "--output", str(output)])
    (row,) = json.loads(output.read_text())["results"]
    assert row["times_faster"]["one"] == 1
    for name, time in row["ms_per_atom"].items():
        assert time > 0
        assert row["times_faster"][name] == pytest.approx(row["ms_per_atom"]["one"] / time)
