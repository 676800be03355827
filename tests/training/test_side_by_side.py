"""Members of a committee that are trained side by side, in processes of their own."""

import contextlib
import io
import json
import os

import numpy as np
import pytest

from equivar_jax import ensemble, load, processes, train
from equivar_jax.training.run_directory import read_records

WORDS = (
    *("--config", "test.py", "--model.interactions", "1", "--train.epochs", "2"),
    *("--train.schedule", "constant", "--members", "2", "--train.seed", "5", "--run-dir"),
)


def run(*words):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        train.main([str(word) for word in words])
    return output.getvalue()


@pytest.fixture
def side_by_side(monkeypatch):
    monkeypatch.setattr(ensemble, "SHORTEST", 0)
    monkeypatch.setattr(ensemble, "available_cores", lambda: 2)
    monkeypatch.setattr(processes, "_cores", lambda: [min(os.sched_getaffinity(0))] * 2)


@pytest.mark.usefixtures("side_by_side")
def test_they_are_the_networks_that_one_process_trains(tmp_path, monkeypatch):
    said = run(*WORDS, tmp_path / "side")
    assert "2 members, 2 side by side" in said
    assert said.count("is finished: ") == 2
    assert "2 members of" in said  # joined and calibrated as ever
    assert "everything is in" in (tmp_path / "side" / "member-1.log").read_text()
    monkeypatch.setattr(ensemble, "SHORTEST", np.inf)
    assert "side by side" not in run(*WORDS, tmp_path / "turn")
    for number in range(2):
        side, turn = (tmp_path / how / f"member-{number}" for how in ("side", "turn"))
        losses = [[record["train_loss"] for record in read_records(one)] for one in (side, turn)]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
        assert load(side).metadata.config.train.seed == 5 + number


@pytest.mark.usefixtures("side_by_side")
def test_what_is_left_is_trained_and_a_folder_without_settings_is_refused(tmp_path, complaint):
    run(*WORDS, tmp_path / "two")
    again = run("--resume", tmp_path / "two", "--train.epochs", 3)
    assert "2 members, 2 side by side" in again
    assert [len(read_records(tmp_path / "two" / f"member-{k}")) for k in range(2)] == [3, 3]
    assert json.loads((tmp_path / "two" / "members.json").read_text())["config"]["train"]["epochs"] == 3
    assert "begin with equivar train --members" in complaint(ensemble.main, tmp_path, "0")
