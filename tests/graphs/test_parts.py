import jax
import numpy as np
import pytest
from ase.build import bulk

from equivar_jax.graphs import Budget, GraphSizes, Sample, build_graph, collate, epoch_batches, plan_budgets
from equivar_jax.graphs.parts import divide, fits, plan_parts


def some_sizes(number=60, seed=0):
    """Graphs of very different sizes."""
    rng = np.random.default_rng(seed)
    atoms = rng.integers(2, 60, number)
    return GraphSizes(atoms, atoms * rng.integers(6, 20, number), np.full(number, 20))


@pytest.mark.parametrize("parts", [1, 2, 3, 8])
def test_every_structure_of_a_batch_is_in_one_part(parts):
    sizes, members = some_sizes(), [5, 3, 40, 17, 2, 33, 8]
    found = divide(sizes, members, parts)
    assert len(found) == parts
    assert sorted(place for part in found for place in part) == list(range(len(members)))
    assert all(part == sorted(part) for part in found)


def test_parts_have_nearly_equal_work():
    sizes, members = some_sizes(), list(range(40))
    edges = [int(sizes.edges[[members[k] for k in part]].sum()) for part in divide(sizes, members, 4)]
    assert max(edges) < 1.05 * sum(edges) / 4


def test_a_batch_of_fewer_structures_than_parts_leaves_some_empty():
    assert sorted(map(len, divide(some_sizes(), [7, 9], 4))) == [0, 0, 1, 1]


def test_the_parts_of_what_was_measured_fit_and_are_smaller_than_the_whole():
    sizes = some_sizes()
    budgets = plan_budgets(sizes, 16, dense=False)
    batches = epoch_batches(sizes, budgets, 0, 0)
    (usual,) = plan_parts([(sizes, batches)], budgets, 4)
    for _, members in batches:
        for part in divide(sizes, members, 4):
            assert fits(sizes, [members[k] for k in part], usual)
    (whole,) = budgets
    assert usual.nodes < 0.5 * whole.nodes
    assert usual.edges < 0.5 * whole.edges


def test_the_shape_of_parts_never_exceeds_that_of_the_whole():
    sizes = GraphSizes(np.array([20, 2, 2]), np.array([300, 8, 8]), np.array([20, 4, 4]))
    budgets = plan_budgets(sizes, 1, dense=False)
    usual = plan_parts([(sizes, [(0, [0]), (0, [1, 2])])], budgets, 2)
    assert [(budget.nodes, budget.edges) for budget in usual] == [(24, 320)]
    assert [(budget.nodes, budget.edges) for budget in budgets] == [(24, 320)]


@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        (Budget(5, 72, 0, 3), True),
        (Budget(4, 72, 0, 3), False),  # no node left for padding
        (Budget(5, 71, 0, 3), False),
        (Budget(5, 72, 0, 2), False),  # no graph left for padding
    ],
)
def test_a_shape_holds_structures_with_a_node_and_a_graph_for_padding(budget, expected):
    sizes = GraphSizes(np.array([2, 2]), np.array([36, 36]), np.array([18, 18]))
    assert fits(sizes, [0, 1], budget) is expected


def test_a_batch_of_nothing_is_all_padding_in_the_shape_of_others():
    budget = Budget(8, 64, 20, 3)
    empty = collate([], budget)
    graph = build_graph(bulk("MgO", "rocksalt", a=4.21), 3.0)
    other = collate([Sample(graph, np.ones((2, 3, 3)))], budget)
    assert not empty.node_mask.any()
    assert empty.graph.n_node.tolist() == [0, 0, 8]
    assert empty.graph.n_edge.tolist() == [0, 0, 64]
    assert (empty.graph.senders == 7).all()

    for one, same in zip(jax.tree.leaves(empty), jax.tree.leaves(other), strict=True):
        assert (one.shape, one.dtype) == (same.shape, same.dtype)
