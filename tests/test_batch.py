import itertools
import threading

import jraph
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from conftest import dense_batch
from hypothesis import given, settings
from hypothesis import strategies as st

from equivar_jax import batch as batching
from equivar_jax.batch import (
    Budget,
    GraphSizes,
    Sample,
    assign_budgets,
    collate,
    edge_fill,
    epoch_batches,
    pack,
    plan_budgets,
    prefetch,
)
from equivar_jax.graph import build_graph, neighbour_counts

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
    budget = Budget(nodes=40, neighbours=20, graphs=6)
    batch = collate(samples[:5], budget)
    graph = batch.graph
    assert graph.n_node.sum() == 40
    assert graph.n_edge.sum() == len(graph.senders) == 40 * 20
    atoms = sum(map(len, STRUCTURES))
    assert batch.node_mask.tolist() == [True] * atoms + [False] * (40 - atoms)
    np.testing.assert_array_equal(graph.receivers, np.repeat(np.arange(40), 20))

    joined = jraph.batch_np([sample.graph for sample in samples[:5]])
    mask = graph.edges["mask"]
    np.testing.assert_array_equal(graph.receivers[mask], joined.receivers)
    np.testing.assert_array_equal(graph.senders[mask], joined.senders)
    np.testing.assert_allclose(graph.edges["vectors"][mask], joined.edges["vectors"], rtol=1e-6)
    np.testing.assert_allclose(
        batch.tensors[:atoms], np.concatenate([s.tensors for s in samples[:5]]), rtol=1e-6
    )


def test_padding_is_harmless(samples):
    batch = collate(samples[:2], Budget(30, 20, 4))
    graph, padding = batch.graph, ~batch.graph.edges["mask"]
    np.testing.assert_allclose(np.linalg.norm(graph.edges["vectors"][padding], axis=1), 1.0)
    np.testing.assert_array_equal(graph.senders[padding], graph.receivers[padding])
    assert not graph.edges["mask"][(~batch.node_mask).nonzero()[0][0] * 20 :].any()
    assert (graph.nodes["species"][~batch.node_mask] == 0).all()
    assert (batch.tensors[~batch.node_mask] == 0).all()
    assert graph.n_node.tolist() == [2, 16, 0, 12]


def test_every_sample_fits_its_budget_and_is_packed_once(samples):
    sizes = GraphSizes.of(samples)
    for batch_size in (1, 2, 7, 100):
        budgets = plan_budgets(sizes, batch_size)
        assert len(budgets) <= batching.MAX_BUCKETS
        batches = pack(sizes, budgets, range(len(samples)))
        assert sorted(k for _, members in batches for k in members) == list(range(len(samples)))
        for bucket, members in batches:
            collate([samples[k] for k in members], budgets[bucket])  # would not fit otherwise
        assert 0 < edge_fill(sizes, budgets) <= 1


def test_similar_neighbour_counts_share_a_bucket_and_different_ones_do_not(samples):
    alike, others = GraphSizes.of(samples[:1] * 10), GraphSizes.of(samples[2:3] * 10)
    assert len(plan_budgets(alike, 4)) == 1
    assert [budget.neighbours for budget in plan_budgets(alike.joined(others), 4)] == [2, 18]


def test_structures_of_one_size_fill_their_batches(samples):
    (budget,) = plan_budgets(sizes := GraphSizes.of([samples[0]] * 8), 4)
    assert budget == Budget(nodes=16, neighbours=18, graphs=5)
    assert [len(members) for _, members in pack(sizes, [budget], range(8))] == [4, 4]


def test_epochs_are_shuffled_reproducibly(samples):
    budgets = plan_budgets(sizes := GraphSizes.of(samples), 2)
    first = epoch_batches(sizes, budgets, seed=3, epoch=0)
    assert first == epoch_batches(sizes, budgets, seed=3, epoch=0)
    assert first != epoch_batches(sizes, budgets, seed=3, epoch=1)
    assert first != epoch_batches(sizes, budgets, seed=4, epoch=0)


def test_what_no_budget_holds_is_refused(samples):
    with pytest.raises(ValueError, match="no budget holds 16 atoms"):
        assign_budgets(GraphSizes.of(samples[1:2]), [Budget(16, 20, 2)])


@given(degrees=st.lists(st.integers(0, 60), min_size=1, max_size=40), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_bucket_limits_are_the_cheapest(degrees, seed):
    """Against trying every choice of up to three limits."""
    degrees = np.array(degrees)
    counts = np.random.default_rng(seed).integers(1, 30, len(degrees))
    limits = batching._degree_limits(degrees, counts)
    values = sorted(set(np.maximum(degrees, 1).tolist()))
    assert limits == sorted(limits)
    assert limits[-1] == values[-1]

    def cost(choice):
        return sum(
            int(n) * min(limit for limit in choice if limit >= d)
            for d, n in zip(degrees, counts, strict=True)
        )

    best = {
        size: min(cost((*chosen, values[-1])) for chosen in itertools.combinations(values[:-1], size - 1))
        for size in range(1, min(batching.MAX_BUCKETS, len(values)) + 1)
    }
    assert cost(limits) == best[len(limits)]
    for size in range(2, len(limits) + 1):
        assert best[size] <= (1 - batching.WORTHWHILE_SAVING) * best[size - 1]


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


def test_dense_slots_hold_each_nodes_neighbours_from_the_front():
    batch = dense_batch([STRUCTURES[3]], neighbours=9)
    mask = batch.graph.edges["mask"].reshape(-1, 9)
    counts = neighbour_counts(build_graph(STRUCTURES[3], 3.0))
    np.testing.assert_array_equal(mask.sum(axis=1)[:8], counts)
    assert (np.diff(mask.astype(int), axis=1) <= 0).all()
