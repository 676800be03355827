"""The comparison of two builds, with numbers in the place of processes."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.speed.first_second import rows
from benchmarks.speed.first_second.__main__ import compare, keep_row
from benchmarks.speed.first_second.builds import Build
from benchmarks.speed.first_second.rows import QUICK, Row, Target
from benchmarks.speed.report import first_second_section

MACHINE = {"processor": "a processor", "cores": 2, "device": "cpu", "commit": "bbb"}


@pytest.fixture
def builds(tmp_path):
    found = tuple(Build(name, tmp_path, tmp_path / name) for name in ("old", "new"))
    for build in found:
        build.folder.mkdir()
    return found


@pytest.fixture
def results(builds):
    """Medians of 9 and 2.5 of a start, 40 and 4 of a loop, and one number that only the new build has.

    They are of three rounds, after one that is not counted.
    """
    asked, times = [], {"old": iter([0.0, 9.0, 90.0, 8.0]), "new": iter([0.0, 2.5, 0.1, 20.0])}

    def measure(build, _):
        asked.append(build.name)
        loop = {"old": 40.0, "new": 4.0}[build.name]
        return {
            "start": next(times[build.name]),
            "loop": loop,
            **({} if build.name == "old" else {"only new": 1.0}),
        }

    targets = {"start": Target("times faster", 3, 5), "loop": Target("at most", 3)}
    row = Row(measure, warm_up=True, targets=targets)
    found = compare(row, builds, QUICK, repeats=3)
    assert asked == ["old", "new"] * 4
    return found


def test_medians_are_compared_with_what_must_be_reached(results):
    start, loop, only_new = results
    assert (start["old"], start["new"], start["times_faster"], start["reached"]) == (9.0, 2.5, 3.6, True)
    assert (loop["old"], loop["new"], loop["times_faster"], loop["reached"]) == (40.0, 4.0, 10.0, False)
    assert (only_new["old"], only_new["times_faster"], only_new["reached"]) == (None, None, None)


def test_the_table_has_a_line_for_each_number(results):
    row = {"commits": ["aaa", "bbb"], "results": results}
    text = first_second_section({**MACHINE, "rows": {"first_prediction": row}})
    lines = text.splitlines()
    assert "| start | 9 s | 2.5 s | 3.6 | 3x | 5x | yes | aaa / bbb |" in lines
    assert "| loop | 40 s | 4 s | 10 | at most 3 s |  | no | aaa / bbb |" in lines
    assert "| only new |  | 1 s |  |  |  |  | aaa / bbb |" in lines
    assert "Not measured" in first_second_section(None)


def test_a_row_replaces_itself_and_leaves_the_others(tmp_path):
    path = tmp_path / "result.json"
    for name, value in (("help", 1), ("first_prediction", 2), ("help", 3)):
        keep_row(path, MACHINE, name, {"value": value})
    kept = json.loads(path.read_text())["rows"]
    assert list(kept.items()) == [("first_prediction", {"value": 2}), ("help", {"value": 3})]


def test_a_build_with_other_tensors_is_refused(builds):
    old, new = builds
    for build in builds:
        for how in ("loop", "list"):
            np.save(build.folder / f"{how}.npy", np.eye(3)[None])
    rows.require_same_tensors(old, new)
    np.save(new.folder / "list.npy", np.eye(3)[None] + 1e-3)
    with pytest.raises(RuntimeError, match="new build, as a list"):
        rows.require_same_tensors(old, new)


def test_c_plus_plus_is_not_compiled_in_the_time_of_a_row(builds):
    old, _ = builds
    (old.cache / "compiled").mkdir(parents=True)
    (old.cache / "native.so").touch()
    (old.cache / "compiled/program").touch()
    with old.fresh_cache(kernels=True) as cache:
        assert [path.name for path in cache.iterdir()] == ["native.so"]
    with old.fresh_cache(kernels=False) as cache:
        assert not list(cache.iterdir())
    with pytest.raises(RuntimeError, match=r"again\.so"), old.fresh_cache(kernels=True) as cache:
        (cache / "again.so").touch()


def test_the_package_of_the_build_is_the_one_that_is_imported(builds):
    """Not the one that is installed: the folder of the build is empty here."""
    old, _ = builds
    elsewhere = Build("old", Path("/nowhere"), old.folder / "new folder")
    with pytest.raises(RuntimeError, match=r"was imported|No module named"):
        elsewhere.prepare()
