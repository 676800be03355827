"""The example of the page on LAMMPS, as a user runs it."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers.lammps_runs import open_or_skip

from equivar_jax import calculators

FOLDER = Path(__file__).parents[3] / "docs" / "engines"


def table_of(log):
    """The last table of a log of LAMMPS."""
    lines = log.read_text().splitlines()
    begin = max(k for k, line in enumerate(lines) if line.split()[:1] == ["Step"])
    end = next(k for k in range(begin, len(lines)) if lines[k].startswith("Loop time"))
    return np.array([[float(word) for word in line.split()] for line in lines[begin + 1 : end]])


@pytest.mark.slow
def test_the_pulse_does_work_and_the_energy_with_it_is_conserved(tmp_path):
    open_or_skip().close()
    command = [sys.executable, str(FOLDER / "lammps" / "pulse.py"), "200", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    table = table_of(tmp_path / "log.lammps")
    total, field_energy, dipole = table[:, 4], table[:, 5], table[:, 6]
    assert table[-1, 0] == 200
    assert np.ptp(field_energy) > 0.1
    assert np.ptp(total) < 0.01
    assert np.ptp(dipole) > 1
    assert f"work of the field {-1e3 * field_energy[-1]:.1f}" in done.stdout
    assert (tmp_path / "MgO.restart").is_file()
    assert (tmp_path / "MgO.born.npz").is_file()


def test_the_page_names_what_is_there():
    page = (FOLDER / "lammps.md").read_text()
    for name in ("LammpsField", "open_lammps", "field_in_lammps_axes"):
        assert hasattr(calculators, name)
        assert f"`{name}" in page
    named = set(re.findall(r"born\.(\w+)", page)) - {"npz"}
    assert {"command", "write_restart", "work"} <= named
    assert all(hasattr(calculators.LammpsField, name) for name in named)
