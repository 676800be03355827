"""The taught networks that are kept beside the benchmarks."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from helpers.crystals import assert_no_absolute_path

from benchmarks.common.timing import RESULTS
from benchmarks.real_data.parts import TEST_FRAMES, parts
from equivar_jax import load
from equivar_jax.network.model import count_parameters
from equivar_jax.reports.evaluation import evaluate_model

TAUGHT = Path(__file__).parents[2] / "benchmarks" / "taught"
AIM = {"BaTiO3-300K": 0.012, "SiO2-300K": 0.005}
"""Mean absolute error in e on the last frames."""
DATA = os.environ.get("EQUIVAR_DATA")


@pytest.mark.skipif(DATA is None, reason="EQUIVAR_DATA is not set")
@pytest.mark.parametrize("name", TEST_FRAMES)
def test_they_reach_the_aim_on_the_last_frames_and_the_error_that_the_table_says(name):
    _, test, _ = parts(name, Path(DATA))
    assert len(test) == TEST_FRAMES[name]
    mae = evaluate_model(load(TAUGHT / name), test).overall.mae
    assert mae < AIM[name]
    rows = json.loads((RESULTS / "accuracy" / "real_taught.json").read_text())["rows"]
    row = next(row for row in rows if row["label"] == f"{name}, BM3 taught, seed 0")
    assert f"{mae:.4f}" == f"{row['tests']['test']['overall']['mae']:.4f}"
    lines = (TAUGHT / "README.md").read_text().splitlines()
    assert any(
        line.startswith(f"| `{name}` |") and f"| {mae:.4f} ({len(test)} frames) |" in line for line in lines
    )


@pytest.mark.parametrize("name", TEST_FRAMES)
def test_they_are_small_obey_the_sum_rule_and_name_no_place(name):
    model = load(TAUGHT / name)
    assert count_parameters(model.params) == 844_745
    crystal = {"BaTiO3-300K": bulk("BaO", "rocksalt", a=5.5), "SiO2-300K": bulk("SiO", "zincblende", a=4.6)}
    tensors = model.predict(crystal[name])
    assert np.abs(tensors).max() > 0.5
    np.testing.assert_allclose(tensors.sum(axis=0), 0.0, atol=1e-5)
    assert_no_absolute_path(TAUGHT / name)
