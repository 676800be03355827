"""The benchmark on a GPU, tried on a CPU: every row, cuts, and rows that have no numbers."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu.record import FAILED, MEASURED, UNMEASURED, Record
from benchmarks.gpu.rows import FULL, TINY, Group, Row, make_groups
from benchmarks.gpu.tables import make_page
from benchmarks.speed.scaling import PUBLISHED


def names(sizes):
    return [row.name for group in make_groups(sizes) for row in group.rows]


def read(folder):
    return json.loads((folder / "gpu.json").read_text())


def test_every_row_has_a_name_of_its_own_and_the_sizes_that_are_asked_for():
    assert len(set(names(FULL))) == len(names(FULL))
    for name in ("bm1.py", "bm2.py"):
        for atoms in (4_000, 100_000):
            for kind in ("inference", "training"):
                assert f"network {name} {atoms} {kind}" in names(FULL)
    assert "giant bm2.py 10000000" in names(FULL)
    assert {name.split()[0] for name in names(FULL)} == {name.split()[0] for name in names(TINY)}


def test_what_was_not_measured_is_said_beside_targets_and_published_times(tmp_path):
    gpu.make_page_again(tmp_path / "gpu.json", make_groups(FULL))
    page = (tmp_path / "gpu.md").read_text()
    assert "| bm1.py | 4,000 | inference | unmeasured | 1 | 0.3 |  |" in page
    assert "| bm2.py | 100,000 | training | unmeasured | 1.5 | 0.5 |  |" in page
    for name, published in PUBLISHED.items():
        assert (
            f"| S2 | {name} | inference | 20 atoms | unmeasured | {1e3 * published['inference']:.0f} |"
            in page
        )
    assert page.count("unmeasured") == len(names(FULL))  # the copy is in the text above the tables
    assert (tmp_path / "gpu.png").read_bytes().startswith(b"\x89PNG")


def test_times_of_a_cpu_do_not_go_where_those_of_a_gpu_belong(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--tiny"])
    assert "give another --output" in capsys.readouterr().err


def group(name, action, seconds=1.0):
    return Group((Row(name, {"table": "giant", "config": "x", "atoms": 1}, lambda: action),), seconds)


def record(folder, groups):
    return Record(folder / "gpu.json", {}, [(row.name, row.about) for one in groups for row in one.rows])


def test_a_row_that_fails_or_no_longer_fits_leaves_the_others(tmp_path):
    numbers = {
        "us_per_atom": {"median": 2.0}, "measured_atoms": 1, "first_call_seconds": 1.0, "graph_seconds": 1.0,
    }  # fmt: skip

    def fail():
        raise MemoryError("no room\nfor it")

    groups = [group("fails", fail), group("long", lambda: numbers, 100.0), group("short", lambda: numbers)]
    made = record(tmp_path, groups)
    gpu.fill(groups, made, lambda: 50.0, tiny=False)
    rows = read(tmp_path)["rows"]
    assert [rows[name]["status"] for name in ("fails", "long", "short")] == [FAILED, UNMEASURED, MEASURED]
    assert rows["fails"]["reason"] == "MemoryError: no room"
    assert rows["long"]["reason"] == "50 s were left, and its group may take 100"
    assert "failed: MemoryError: no room" in (tmp_path / "gpu.md").read_text()


def test_a_cut_leaves_what_was_measured_and_takes_nothing_more(tmp_path):
    groups = [group("first", dict), group("second", dict)]
    made = record(tmp_path, groups)
    made.enter("first", FAILED, reason="why")
    assert read(tmp_path)["rows"]["first"]["status"] == FAILED  # after every row
    made.close("cut after 8 minutes", seconds=480.0)
    made.enter("second", MEASURED)
    assert read(tmp_path)["rows"]["second"] == {
        "status": UNMEASURED, "reason": "cut after 8 minutes", "table": "giant", "config": "x", "atoms": 1,
    }  # fmt: skip
    assert "480 s in all" in (tmp_path / "gpu.md").read_text()


@pytest.mark.slow  # compiles every network
def test_a_tiny_run_fills_every_row_by_the_same_code(tmp_path):
    gpu.main(["--tiny", "--minutes", "60", "--output", str(tmp_path / "gpu.json")])
    found = read(tmp_path)
    assert found["tiny"]
    assert list(found["rows"]) == names(TINY)
    for name, row in found["rows"].items():
        assert row["status"] == MEASURED, (name, row)
        times = row["forward"]["equivar_jax"] if row["table"] == "layers" else row.get("us_per_atom")
        assert row["table"] == "rates" or times["median"] > 0
    assert "unmeasured" not in make_page(found)


@pytest.mark.slow  # a process of its own
def test_the_minutes_hold_whatever_is_being_compiled(tmp_path):
    words = ("--tiny", "--minutes", "0.01", "--output", str(tmp_path / "gpu.json"))
    command = [sys.executable, "-m", "benchmarks.gpu", *words]
    finished = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ})
    assert finished.returncode == 0, finished.stderr
    rows = read(tmp_path)["rows"].values()
    assert {row["reason"] for row in rows if row["status"] == UNMEASURED} == {"cut after 0.01 minutes"}
