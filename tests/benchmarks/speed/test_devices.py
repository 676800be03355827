"""A step divided among devices beside one on a single device: the benchmark times what it says."""

import json

import pytest
from helpers.launch import run_python


@pytest.mark.slow
def test_steps_on_one_two_and_four_devices_are_timed_and_compared(tmp_path):
    output = tmp_path / "found.json"
    words = ("--config", "test.py", "--structures", 4, "--repeats", 2, "--output", output)
    run_python(["-m", "benchmarks.speed.devices", *words])
    found = json.loads(output.read_text())
    assert set(found["strong"]) == set(found["weak"]) == {"1", "2", "4"}
    one = found["strong"]["1"]["median"]
    for kind, ratio in (("strong", "times_faster"), ("weak", "efficiency")):
        for times in found[kind].values():
            assert times["median"] > 0
            assert times[ratio] == pytest.approx(one / times["median"])
    assert "Virtual devices of one CPU share its cores" in found["remark"]
