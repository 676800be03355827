"""The taught networks that are kept beside the benchmarks."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk
from helpers.crystals import assert_no_absolute_path

from benchmarks.accuracy.result_file import find_row, keep_row
from benchmarks.common.timing import RESULTS
from benchmarks.real_data import keep_taught
from benchmarks.real_data.keep_taught import TAUGHT
from benchmarks.real_data.parts import TEST_FRAMES, divide_set
from equivar_jax import load
from equivar_jax.network.model import count_parameters
from equivar_jax.reports.evaluation import evaluate_model

pytestmark = pytest.mark.skipif(
    not any(TAUGHT.glob("*/checkpoints")), reason="a source distribution comes without the networks"
)
AIM = {"BaTiO3-300K": 0.012, "SiO2-300K": 0.005}
"""Mean absolute error in e on the last frames of the file, which are of the states trained on."""
DATA = os.environ.get("EQUIVAR_DATA")


@pytest.mark.slow  # large frames
@pytest.mark.skipif(DATA is None, reason="EQUIVAR_DATA is not set")
@pytest.mark.parametrize("name", TEST_FRAMES)
def test_they_reach_the_aim_on_the_last_frames_and_the_error_that_the_table_says(name):
    _, test, _ = divide_set(name, Path(DATA))
    assert len(test) == TEST_FRAMES[name]
    mae = evaluate_model(load(TAUGHT / name), test).overall.mae
    assert mae < AIM[name]
    row = find_row(RESULTS / "accuracy" / "real_taught.json", f"{name}, BM3 taught, seed 0")
    assert f"{mae:.4f}" == f"{row['tests']['test']['overall']['mae']:.4f}"
    lines = (TAUGHT / "README.md").read_text().splitlines()
    assert any(
        line.startswith(f"| `{name}` |") and f"| {mae:.4f} ({len(test)} frames) |" in line for line in lines
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", TEST_FRAMES)
def test_they_are_small_obey_the_sum_rule_and_name_no_place(name):
    model = load(TAUGHT / name)
    assert count_parameters(model.params) == 844_745
    crystal = {"BaTiO3-300K": bulk("BaO", "rocksalt", a=5.5), "SiO2-300K": bulk("SiO", "zincblende", a=4.6)}
    tensors = model.predict(crystal[name])
    assert np.abs(tensors).max() > 0.5
    np.testing.assert_allclose(tensors.sum(axis=0), 0.0, atol=1e-5)
    assert_no_absolute_path(TAUGHT / name)


def test_a_run_is_kept_in_the_place_of_the_network_that_was_there(tmp_path, complaint):
    """The networks themselves as runs that were finished."""
    results, runs, target = tmp_path / "rows.json", tmp_path / "runs", tmp_path / "taught"
    words = ["--results", str(results), "--runs", str(runs), "--target", str(target)]
    assert "no row of BaTiO3-300K" in complaint(keep_taught.main, *words)
    for name in TEST_FRAMES:
        keep_row(results, {}, {"label": f"{name}, BM3 taught, seed 0", "run": name})
    assert "train the network" in complaint(keep_taught.main, *words)
    for name in TEST_FRAMES:
        shutil.copytree(TAUGHT / name, runs / name)
        for marker in (runs / name).rglob("commit_success.txt"):
            marker.write_text(f"{runs}")
        (target / name / "checkpoints" / "best" / "9").mkdir(parents=True)
    keep_taught.main(words)
    for name in TEST_FRAMES:
        kept, there = (
            {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
            for folder in (target / name, TAUGHT / name)
        )
        assert kept == there
        assert not (target / name / "checkpoints" / "best" / "9").exists()
