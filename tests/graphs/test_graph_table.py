import numpy as np
import pytest
from ase import Atoms
from helpers.crystals import labelled_crystal

from equivar_jax import parallel
from equivar_jax.errors import InputError
from equivar_jax.graphs import graph_table
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.graph_table import cached_samples
from equivar_jax.graphs.packing import GraphSizes
from equivar_jax.storage.structure_table import cached_table
from equivar_jax.structures import born_effective_charges


@pytest.fixture
def structures():
    isolated = Atoms("Ar", cell=[20, 20, 20], pbc=True)
    molecule = Atoms("OH2", [[0, 0, 0], [0, 0.7, 0.6], [0, -0.7, 0.6]], info={"charge": -1.0})
    return [*(labelled_crystal(k) for k in range(5)), isolated, molecule]


@pytest.fixture
def table(tmp_path, structures):
    return cached_table(tmp_path / "structures", "k", lambda: structures)


def check(samples, structures, cutoff):
    assert len(samples) == len(structures)
    for sample, atoms in zip(samples, structures, strict=True):
        expected = build_graph(atoms, cutoff)
        for name in ("senders", "receivers", "n_node", "n_edge"):
            np.testing.assert_array_equal(getattr(sample.graph, name), getattr(expected, name))
        np.testing.assert_array_equal(sample.graph.nodes["species"], expected.nodes["species"])
        np.testing.assert_array_equal(sample.graph.globals["charge"], expected.globals["charge"])
        np.testing.assert_array_equal(
            sample.graph.edges["vectors"], expected.edges["vectors"].astype(np.float32)
        )
        label = born_effective_charges(atoms)
        assert (sample.tensors is None) == (label is None)
        assert label is None or np.array_equal(sample.tensors, label)


def test_samples_are_the_graphs_with_their_labels(tmp_path, table, structures):
    for _ in range(2):
        samples = cached_samples(tmp_path / "graphs", "k", table, 3.5)
        check(samples, structures, 3.5)
        check(samples[1:3], structures[1:3], 3.5)
    chosen = [6, 2, 5]
    check(samples.subset(chosen), [structures[k] for k in chosen], 3.5)
    check(samples.subset(chosen).subset([1]), [structures[2]], 3.5)


def test_sizes_are_those_of_the_graphs(tmp_path, table, structures):
    samples = cached_samples(tmp_path / "graphs", "k", table, 3.5)
    expected = GraphSizes.of(build_graph(atoms, 3.5) for atoms in structures)
    for one, other in zip(samples.subset([6, 1]).sizes, expected, strict=True):
        np.testing.assert_array_equal(one, other[[6, 1]])


def test_worker_processes_build_the_same_graphs(tmp_path, table, structures, monkeypatch):
    monkeypatch.setattr(graph_table, "CHUNK", 2)
    monkeypatch.setattr(graph_table, "POOL_PAYS_FROM", 1)
    monkeypatch.setattr(parallel, "available_cores", lambda: 2)
    part = table.subset([6, 0, 1, 2, 5])
    check(cached_samples(tmp_path / "graphs", "k", part, 3.5), [structures[k] for k in (6, 0, 1, 2, 5)], 3.5)


def test_only_the_same_key_is_taken_from_the_cache(tmp_path, table, structures, monkeypatch):
    cached_samples(tmp_path / "graphs", "3.5", table, 3.5)
    check(cached_samples(tmp_path / "graphs", "2.5", table, 2.5), structures, 2.5)
    monkeypatch.setattr(graph_table, "_build", lambda *_: pytest.fail("built again"))
    check(cached_samples(tmp_path / "graphs", "2.5", table, 2.5), structures, 2.5)


def test_an_impossible_structure_is_named_and_nothing_is_kept(tmp_path):
    twice = Atoms("H2", [[0, 0, 0], [0, 0, 0.01]], info={"source": "file, frame 7"})
    table = cached_table(tmp_path / "structures", "k", lambda: [twice])
    with pytest.raises(InputError, match="file, frame 7: atoms 0 and 1 are"):
        cached_samples(tmp_path / "graphs", "k", table, 3.0)
    assert [path.name for path in tmp_path.iterdir()] == ["structures"]


def test_no_structures_are_no_samples(tmp_path):
    samples = cached_samples(tmp_path / "g", "k", cached_table(tmp_path / "s", "k", list), 3.0)
    assert (len(samples), samples.sizes.atoms.tolist()) == (0, [])
