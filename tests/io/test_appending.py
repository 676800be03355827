"""Outputs that grow: what is said of an ASE trajectory that cannot be gone on with."""

import errno
import os

import pytest
from ase.build import bulk
from ase.io.trajectory import TrajectoryWriter

from equivar_jax.errors import InputError
from equivar_jax.io.appending_ase import TrajectoryOutput


@pytest.fixture
def begun(tmp_path):
    """An unfinished trajectory of two frames."""
    path = tmp_path / "out.traj.part"
    output = TrajectoryOutput(path, 0)
    for _ in range(2):
        output.add(bulk("MgO", "rocksalt", a=4.21))
    output.commit()
    output.close()
    return path


def test_a_disk_that_is_full_is_no_fault_of_the_trajectory(begun, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = begun.read_bytes()
    monkeypatch.setattr(TrajectoryWriter, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        TrajectoryOutput(begun, 2)
    assert begun.read_bytes() == before
    assert list(begun.parent.iterdir()) == [begun]


def test_a_trajectory_that_was_cut_short_is_named(begun):
    begun.write_bytes(begun.read_bytes()[:100])
    with pytest.raises(InputError, match=begun.name):
        TrajectoryOutput(begun, 2)
    assert list(begun.parent.iterdir()) == [begun]
