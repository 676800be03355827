import threading

import jraph
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from equivar_jax.graphs.batch import Sample, collate, graph_of, prefetch
from equivar_jax.graphs.graph import build_graph, neighbour_counts
from equivar_jax.graphs.packing import Budget

STRUCTURES = [
    bulk("MgO", "rocksalt", a=4.21),
    bulk("Si") * (2, 2, 2),
    molecule("H2O"),
    bulk("NaCl", "rocksalt", a=5.6, cubic=True),
    Atoms("He"),
]


@pytest.fixture(scope="module")
def samples():
    return [
        Sample(build_graph(atoms, 3.0), np.random.default_rng(k).normal(size=(len(atoms), 3, 3)))
        for k, atoms in enumerate(STRUCTURES * 4)
    ]


def test_batch_is_a_padded_graphs_tuple_with_every_edge_once(samples):
    budget = Budget(nodes=40, edges=300, neighbours=20, graphs=6)
    batch = collate(samples[:5], budget)
    graph = batch.graph
    assert graph.n_node.sum() == 40
    assert graph.n_edge.sum() == len(graph.senders) == len(graph.receivers) == 300
    atoms = sum(map(len, STRUCTURES))
    assert batch.node_mask.tolist() == [True] * atoms + [False] * (40 - atoms)

    joined = jraph.batch_np([sample.graph for sample in samples[:5]])
    edges = len(joined.senders)
    assert 100 < edges < 300
    np.testing.assert_array_equal(graph.receivers[:edges], joined.receivers)
    np.testing.assert_array_equal(graph.senders[:edges], joined.senders)
    np.testing.assert_allclose(graph.edges["vectors"][:edges], joined.edges["vectors"], rtol=1e-6)
    assert (np.diff(graph.receivers) >= 0).all()
    for node in range(40):
        first, count = graph.nodes["first_edge"][node], graph.nodes["neighbours"][node]
        assert (graph.receivers[first : first + count] == node).all()
        assert graph.nodes["slots"][node].tolist() == [*range(first, first + count)] + [300] * (20 - count)
    assert graph.nodes["neighbours"].sum() == edges
    np.testing.assert_allclose(
        batch.tensors[:atoms], np.concatenate([s.tensors for s in samples[:5]]), rtol=1e-6
    )


def test_padding_is_harmless(samples):
    batch = collate(samples[:2], Budget(30, 200, 20, 4))
    graph, padding = batch.graph, slice(len(samples[0].graph.senders) + len(samples[1].graph.senders), None)
    np.testing.assert_allclose(np.linalg.norm(graph.edges["vectors"][padding], axis=1), 1.0)
    assert (graph.senders[padding] == 29).all()
    assert (graph.receivers[padding] == 29).all()
    assert (graph.nodes["species"][~batch.node_mask] == 0).all()
    assert (graph.nodes["neighbours"][~batch.node_mask] == 0).all()
    assert (batch.tensors[~batch.node_mask] == 0).all()
    assert graph.n_node.tolist() == [2, 16, 0, 12]


def test_no_slots_are_made_where_none_are_wanted(samples):
    assert collate(samples[:2], Budget(30, 200, 0, 4)).graph.nodes["slots"].shape == (30, 0)


def test_the_graph_of_one_structure_has_no_padding():
    graph = graph_of(STRUCTURES[3], 3.0)
    expected = build_graph(STRUCTURES[3], 3.0)
    assert (graph.n_node.tolist(), graph.n_edge.tolist()) == ([8], [len(expected.senders)])
    np.testing.assert_array_equal(graph.senders, expected.senders)
    assert graph.nodes["slots"].shape == (8, neighbour_counts(expected).max())
    lonely = graph_of(Atoms("He"), 3.0)
    assert (len(lonely.senders), lonely.nodes["slots"].shape) == (0, (1, 0))


def test_prefetch_keeps_the_order_and_passes_errors_on():
    assert list(prefetch(lambda k: k * k, range(20))) == [k * k for k in range(20)]

    def fail_at_three(k):
        if k == 3:
            raise ValueError("three")
        return k

    found = []
    with pytest.raises(ValueError, match="three"):
        found.extend(prefetch(fail_at_three, range(9)))


def test_prefetch_stops_its_thread_when_abandoned():
    before = threading.active_count()
    iterator = prefetch(lambda k: k, range(1000))
    assert next(iterator) == 0
    iterator.close()
    assert threading.active_count() == before
