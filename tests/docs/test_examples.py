"""The programs of `docs/examples`, in processes that may not import equivar_jax."""

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.committees import network

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
RUN = """
import runpy, sys
sys.modules["equivar_jax"] = None
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    pytest.importorskip("flatbuffers", reason="JAX serialises with it")
    return network(0, elements=(8, 12)).export(tmp_path_factory.mktemp("archive") / "model.jaxexport")


def numbers_of(program, *words):
    """What a program prints, by name."""
    command = [sys.executable, "-c", RUN, str(EXAMPLES / program), *map(str, words)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name: float(value) for name, value in (line.split(": ") for line in said.splitlines())}


@pytest.mark.slow
def test_a_crystal_moves_in_jax_md_as_it_must(archive):
    pytest.importorskip("jax_md")
    found = numbers_of("with_jax_md.py", archive, "--cells", 2, "--steps", 60)
    assert found["largest_displacement_A"] > 0.005
    # The charges of a network that nobody trained change fast along a displacement.
    assert found["largest_deviation_A"] < 0.03 * found["largest_displacement_A"]
    assert found["dipole_e_A"] == pytest.approx(found["dipole_of_known_motion_e_A"], rel=0.03)


def test_two_crystals_move_in_torch_sim_as_they_must(archive):
    pytest.importorskip("torch_sim")
    found = numbers_of("with_torch_sim.py", archive, "--steps", 20)
    assert found["largest_displacement_A"] > 0.001
    assert found["largest_deviation_A"] < 0.03 * found["largest_displacement_A"]
