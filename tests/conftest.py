"""Fixtures that many modules share."""

import contextlib
import dataclasses
import functools
import io
import re
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal

from equivar_jax import train
from equivar_jax.batch import Sample, collate
from equivar_jax.config import ModelConfig
from equivar_jax.graph import build_graph, neighbour_counts
from equivar_jax.io import write_structures
from equivar_jax.model import Equivar, born_effective_charges
from equivar_jax.packing import Budget
from equivar_jax.structures import with_born_effective_charges

SMALL = ModelConfig(channels=16, interactions=3, mean_neighbours=9.0)


@pytest.fixture
def small_config():
    """A network of every kind of path, small enough to compile in a second."""
    return SMALL


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    """The dtype, with JAX set to it."""
    with jax.enable_x64(True) if request.param == "float64" else contextlib.nullcontext():
        yield np.dtype(request.param).type


@pytest.fixture
def float64():
    """JAX in double precision."""
    with jax.enable_x64(True):
        yield np.float64


@pytest.fixture
def calcium_titanate():
    """A low-symmetry 20-atom perovskite, thermally displaced."""
    atoms = crystal(
        ["Ca", "Ti", "O", "O"],
        [(0.036, 0.25, 0.993), (0, 0, 0.5), (0.484, 0.25, 0.071), (0.289, 0.037, 0.711)],
        spacegroup=62,
        cellpar=[5.44, 7.64, 5.38, 90, 90, 90],
    )
    atoms.info.clear()
    atoms.rattle(0.08, seed=1)
    return atoms


def dense_batch(structures, cutoff=3.0, dtype=np.float32, nodes=None, neighbours=None, edges=None):
    """All structures in one batch, just large enough or of a given shape."""
    samples = [Sample(build_graph(atoms, cutoff), None) for atoms in structures]
    most = max(int(neighbour_counts(sample.graph).max(initial=1)) for sample in samples)
    nodes = nodes or sum(map(len, structures)) + 1
    edges = edges or sum(len(sample.graph.senders) for sample in samples) + 3
    budget = Budget(nodes, edges, neighbours or max(most, 1), len(samples) + 1)
    return collate(samples, budget, dtype)


@functools.cache
def random_params(config: ModelConfig, dtype=np.float32, seed=0):
    """Weights with non-zero biases, so that nothing vanishes by accident."""
    batch = dense_batch([Atoms("H")], dtype=dtype)
    model = Equivar(dataclasses.replace(config, kernel="reference"))
    params = jax.jit(model.init)(jax.random.key(seed), batch.graph)
    leaves, tree = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    leaves = [leaf + 0.1 * rng.normal(size=leaf.shape) for leaf in leaves]
    return jax.tree.unflatten(tree, [jax.numpy.asarray(leaf, dtype) for leaf in leaves])


def predict(config, params, atoms, dtype=np.float32, **shape):
    """Tensors of one structure after the sum rule, without padding."""
    batch = dense_batch([atoms], config.cutoff, dtype, **shape)
    return np.asarray(_tensors(Equivar(config), params, batch.graph))[: len(atoms)]


_tensors = jax.jit(born_effective_charges, static_argnums=0)


# For the tests of settings, training, prediction and evaluation.


@pytest.fixture(scope="session", autouse=True)
def cache_folder(tmp_path_factory):
    """Where generated data and compiled programs go while tests run."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EQUIVAR_CACHE", str(folder))
        yield folder


class Trained(NamedTuple):
    """A finished run and what it printed."""

    folder: Path
    output: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory, cache_folder):
    """`configs/test.py` with a moving average of the weights, from beginning to end."""
    folder, output = tmp_path_factory.mktemp("runs") / "trained", io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(io.StringIO()):
        train.main(["--config", "test.py", "--run-dir", str(folder), "--train.ema_decay", "0.5"])
    return Trained(folder, output.getvalue())


def labelled_crystal(seed=0, scale=1.0):
    """Three atoms without any symmetry; their tensors are far from symmetric and sum to zero."""
    rng = np.random.default_rng(seed)
    places = [[0.05, 0.02, 0.1], [0.5, 0.45, 0.4], [0.2, 0.6, 0.8]]
    cell = np.array([[4.1, 0.0, 0.0], [0.3, 4.4, 0.0], [-0.2, 0.5, 5.3]]) * scale
    atoms = Atoms("MgOTi", cell=cell, scaled_positions=places, pbc=True)
    atoms.positions += rng.normal(scale=0.05, size=(3, 3))
    tensors = np.array([2.0, -2.0, 0.0])[:, None, None] * np.eye(3) + rng.normal(scale=0.7, size=(3, 3, 3))
    return with_born_effective_charges(atoms, tensors - tensors.mean(axis=0))


def assert_no_absolute_path(folder):
    """No text of a checkpoint that is handed on says where it was made."""
    texts = [path for path in folder.rglob("*") if path.is_file() and path.suffix in ("", ".txt", ".json")]
    texts = [path for path in texts if path.parent.name != "d"]  # chunks of arrays
    assert {"metadata", "_METADATA", "commit_success.txt"} <= {path.name for path in texts}
    for path in texts:
        assert not re.search(rb"(^|[\s\"'])/\w", path.read_bytes()), path


def titanate(repeat=1, seed=0):
    """Cubic CaTiO3, rattled, in a supercell of `repeat` cells along x; its elements are all trained on."""
    cell = Atoms(
        "CaTiO3",
        cell=[3.9] * 3,
        pbc=True,
        scaled_positions=[(0, 0, 0), (0.5, 0.5, 0.5), (0, 0.5, 0.5), (0.5, 0, 0.5), (0.5, 0.5, 0)],
    )
    atoms = cell.repeat((repeat, 1, 1))
    atoms.rattle(0.05, seed=seed)
    return atoms


def written(path, structures, **infos):
    for k, atoms in enumerate(structures):
        atoms.info.update({name: values[k] for name, values in infos.items()})
    write_structures(path, structures)
    return str(path)


@pytest.fixture
def labelled_file(tmp_path):
    """A file of five labelled crystals."""
    path = tmp_path / "labelled.extxyz"
    write_structures(path, [labelled_crystal(seed) for seed in range(5)])
    return path


@pytest.fixture
def complaint(capsys):
    """The one line with which a program refuses its input."""

    def refuse(main, *arguments):
        with pytest.raises(SystemExit) as stop:
            main([str(word) for word in arguments])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ")
        assert error.endswith("\n")
        assert error.count("\n") == 1
        return error.removeprefix("error: ").strip()

    return refuse
