"""The cost of a step of LAMMPS, and charges of every k-th step, at sizes that take seconds."""

import json

import numpy as np
import pytest
from helpers.lammps_runs import open_or_skip

from benchmarks.speed import engines_lammps


def test_charges_along_a_line_have_no_error_once_the_line_is_known():
    true = np.arange(40.0)[:, None, None, None] * np.ones((1, 2, 3, 3))
    held, line = (engines_lammps._with_interval(true, 5, extrapolate) - true for extrapolate in (False, True))
    assert not line[10:].any()
    assert held[10:].min() == -4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::equivar_jax.uncertainty.domain.DomainWarning")
def test_the_result_is_put_beside_those_of_others(tmp_path, monkeypatch):
    open_or_skip().close()
    output = tmp_path / "engines.json"
    output.write_text('{"other": 1}')
    options = ["--repeat", "2", "2", "2", "--steps", "2", "--rounds", "1", "--trajectory", "45", "--output"]
    monkeypatch.setattr("sys.argv", ["engines_lammps", *options, str(output)])
    engines_lammps.main()
    found = json.loads(output.read_text())
    assert found["other"] == 1
    step = found["lammps"]["step"]
    assert step["atoms"] == 64
    assert step["wall"]["ratio"] == pytest.approx(
        step["wall"]["together"] / (step["wall"]["potential"] + step["wall"]["network"])
    )
    for temperature in found["lammps"]["intervals"]:
        errors = {(row["every"], row["extrapolate"]): row["mean_e"] for row in temperature["rows"]}
        assert errors[2, True] < errors[2, False] < errors[5, False] < 0.05
