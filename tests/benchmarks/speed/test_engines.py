"""The benchmark of engines: every engine of its table runs, and is compared with the first."""

import pytest

from benchmarks.speed.engines import ENGINES, Moment, measure

pytest.importorskip("ipi")


def test_every_engine_is_measured():
    found = measure(list(ENGINES), cells=2, steps=5, rounds=1)
    assert found["atoms"] == 40
    for clock in Moment._fields:
        rows = found[f"{clock}_seconds_per_step"]
        assert rows.keys() == ENGINES.keys()
        assert rows["one process"]["times_the_first"] == 1
        assert all(row["lower"] <= row["median"] <= row["upper"] for row in rows.values())
