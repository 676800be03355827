"""The scripts for clusters run where a Slurm is played."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from equivar_jax import load

SCRIPTS = Path(__file__).parents[1] / "docs" / "cluster"


def submit(name, folder, words, **variables):
    """Run a script with programs of a folder's `bin`, and return its standard output."""
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "EQUIVAR_ENVIRONMENT": str(folder),
        **variables,
    }
    done = subprocess.run(
        ["bash", SCRIPTS / name, *map(str, words)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def programs(tmp_path):
    """A virtual environment in which nothing has to be activated."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "activate").write_text("true\n")

    def add(name, text):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    add("srun", 'exec "$@"')
    add("equivar", 'exec python -m equivar_jax "$@"')
    return tmp_path


@pytest.mark.slow  # a process for each task
def test_the_tasks_of_the_sweep_can_be_joined(programs):
    data, out = programs / "in.extxyz", programs / "out.csv"
    for k in range(5):
        bulk("MgO", "rocksalt", a=4.1 + 0.05 * k).write(data, append=True)
    for task in ("4", "5"):
        array = {"SLURM_ARRAY_TASK_ID": task, "SLURM_ARRAY_TASK_COUNT": "2", "SLURM_ARRAY_TASK_MIN": "4"}
        submit("sweep.sh", programs, ["-o", out, data], **array)
    words = ["bash", "-c", f"equivar predict --join -o {out}"]
    path = f"{programs / 'bin'}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(words, env={**os.environ, "PATH": path}, check=True, capture_output=True)
    assert np.loadtxt(out, delimiter=",", skiprows=1, usecols=10, quotechar='"').tolist() == [
        k for k in range(5) for _ in range(2)
    ]


@pytest.mark.slow  # compiles
def test_the_giant_structure_gets_its_tensors(programs):
    data, out = programs / "in.extxyz", programs / "Z.npy"
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True)
    atoms.write(data)
    flags = "--xla_force_host_platform_device_count=3"
    submit("giant.sh", programs, [data, out], SLURM_NTASKS="1", XLA_FLAGS=flags)
    np.testing.assert_allclose(np.load(out), load(member=0).predict(atoms), atol=2e-5)
