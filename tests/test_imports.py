"""What an import loads: `--help` and light modules do not wait for JAX and the scientific libraries."""

import subprocess
import sys

import pytest

from equivar_jax.__main__ import COMMANDS
from equivar_jax.response.__main__ import TASKS

JAX = {"e3nn_jax", "flax", "jax", "jaxlib", "jraph", "optax", "orbax"}
LIBRARIES = "ase jaxtyping matplotlib matscipy numpy phonopy scipy spglib sympy yaml"
HEAVY = JAX | set(LIBRARIES.split())
HELP = [
    *([name, "--help"] for name in COMMANDS),
    *(["response", task, "--help"] for task in TASKS),
    ["data", "check", "--help"],
    ["predict"],
    ["train", "--no-such-setting", "1"],
    ["response", "born", "--no-such-option"],
]


def loaded(code):
    """Names of all packages that are loaded after the code has run in a process of its own."""
    show = "\nimport sys; print('loaded', *{name.partition('.')[0] for name in sys.modules})"
    process = subprocess.run([sys.executable, "-c", code + show], check=True, capture_output=True, text=True)
    return set(process.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_and_complaints_about_the_command_line_load_nothing_heavy(words):
    code = (
        "import contextlib\nfrom equivar_jax.__main__ import main\n"
        f"with contextlib.suppress(SystemExit):\n    main({words!r})"
    )
    assert loaded(code) & HEAVY == set()


@pytest.mark.parametrize("name", ["train", "cross_validate", "data", "response", "predict"])
def test_a_program_of_its_own_is_as_quick_to_help(name):
    code = (
        "import contextlib, runpy, sys\nsys.argv = ['x', '--help']\nwith contextlib.suppress(SystemExit):\n"
    )
    assert loaded(code + f"    runpy.run_module('equivar_jax.{name}', run_name='__main__')") & HEAVY == set()


@pytest.mark.parametrize(
    "code",
    [
        "import equivar_jax",
        "import equivar_jax.config",
        "from equivar_jax import predict",
        "import equivar_jax.predict, equivar_jax.train, equivar_jax.evaluate, equivar_jax.committee",
        "from equivar_jax.weights import shipped_checkpoint; shipped_checkpoint()",
    ],
)
def test_importing_loads_nothing_heavy(code):
    assert loaded(code) & HEAVY == set()


@pytest.mark.parametrize("room", ["graphs", "hygiene", "io", "storage", "uncertainty"])
def test_rooms_that_compute_in_numpy_do_not_load_jax(room):
    assert loaded(f"import equivar_jax.{room}") & JAX == set()


def test_a_network_needs_neither_e3nn_jax_nor_sympy():
    found = loaded("from equivar_jax.network import Equivar; import equivar_jax.calculators")
    assert "jax" in found
    assert found & {"e3nn_jax", "matplotlib", "orbax", "phonopy", "sympy", "tyro"} == set()


def test_a_prediction_on_a_cpu_needs_no_jax():
    """Neither that of one crystal nor that of a list; nor do weights of one's own."""
    code = """
import os
os.environ["JAX_PLATFORMS"] = "cpu"
from ase import Atoms
from equivar_jax import load, predict
vectors = [[0, 2.1, 2.1], [2.1, 0, 2.1], [2.1, 2.1, 0]]
cell = Atoms("MgO", scaled_positions=[[0, 0, 0], [0.5] * 3], cell=vectors, pbc=True)
predict(cell, uncertainty=True)
load("shipped", member=0).predict([cell, cell])
"""
    assert loaded(code) & (JAX | {"matplotlib", "phonopy", "spglib", "sympy", "tyro"}) == set()


def test_graphs_are_those_of_jraph():
    code = """
from ase.build import bulk
from equivar_jax.graphs import graph_of
graph = graph_of(bulk("MgO", "rocksalt", a=4.2), 3.0)
import jraph
assert type(graph) is jraph.GraphsTuple
"""
    assert "jraph" in loaded(code)
