import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.graphs import packing
from equivar_jax.graphs.batch import Sample, collate
from equivar_jax.graphs.graph import build_graph
from equivar_jax.graphs.packing import (
    Budget,
    GraphSizes,
    assign_budgets,
    edge_fill,
    epoch_batches,
    pack,
    plan_budgets,
)

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


def test_every_sample_fits_its_budget_and_is_packed_once(samples):
    sizes = GraphSizes.of(s.graph for s in samples)
    for batch_size, dense in itertools.product((1, 2, 7, 100), (True, False)):
        budgets = plan_budgets(sizes, batch_size, dense)
        assert dense or len(budgets) == 1
        assert len(budgets) <= packing.MAX_BUCKETS
        batches = pack(sizes, budgets, range(len(samples)))
        assert sorted(k for _, members in batches for k in members) == list(range(len(samples)))
        for bucket, members in batches:
            collate([samples[k] for k in members], budgets[bucket])  # would not fit otherwise
        assert 0 < edge_fill(sizes, budgets) <= 1


def test_similar_neighbour_counts_share_a_bucket_and_different_ones_do_not(samples):
    alike, others = (GraphSizes.of([samples[k].graph] * 10) for k in (0, 2))
    assert len(plan_budgets(alike, 4)) == 1
    assert [budget.neighbours for budget in plan_budgets(alike.join(others), 4)] == [2, 18]


def test_structures_of_one_size_fill_their_batches(samples):
    (budget,) = plan_budgets(sizes := GraphSizes.of([samples[0].graph] * 8), 4)
    assert budget == Budget(nodes=16, edges=160, neighbours=18, graphs=5)
    assert [len(members) for _, members in pack(sizes, [budget], range(8))] == [4, 4]
    assert edge_fill(sizes, [budget]) == 8 * 36 / (2 * 160)


def test_small_structures_fill_what_large_ones_leave():
    atoms = np.array([6, 6, 6, 3, 3, 3])
    sizes = GraphSizes(atoms, 10 * atoms, np.full(6, 10))
    budget = Budget(nodes=10, edges=90, neighbours=0, graphs=10)
    batches = pack(sizes, [budget], range(6))
    assert sorted(members for _, members in batches) == [[0, 3], [1, 4], [2, 5]]
    assert edge_fill(sizes, [budget]) == 1.0


def test_epochs_are_shuffled_reproducibly(samples):
    budgets = plan_budgets(sizes := GraphSizes.of(s.graph for s in samples), 2)
    first = epoch_batches(sizes, budgets, seed=3, epoch=0)
    assert first == epoch_batches(sizes, budgets, seed=3, epoch=0)
    assert first != epoch_batches(sizes, budgets, seed=3, epoch=1)
    assert first != epoch_batches(sizes, budgets, seed=4, epoch=0)


def test_what_no_budget_holds_is_refused(samples):
    with pytest.raises(ValueError, match="no budget holds 16 atoms"):
        assign_budgets(GraphSizes.of([samples[1].graph]), [Budget(16, 900, 20, 2)])


@given(degrees=st.lists(st.integers(0, 60), min_size=1, max_size=40), seed=st.integers(0, 99))
@examples(60)
def test_bucket_limits_are_the_cheapest(degrees, seed):
    """Against trying every choice of up to three limits."""
    degrees = np.array(degrees)
    counts = np.random.default_rng(seed).integers(1, 30, len(degrees))
    limits = packing._degree_limits(degrees, counts)
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
        for size in range(1, min(packing.MAX_BUCKETS, len(values)) + 1)
    }
    assert cost(limits) == best[len(limits)]
    for size in range(2, len(limits) + 1):
        assert best[size] <= (1 - packing.WORTHWHILE_SAVING) * best[size - 1]
