"""The search in C++ finds the pairs that matscipy finds."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, graphene
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.graphs import graph
from equivar_jax.kernels import compiler, neighbour_list


def in_order(pairs):
    receivers, senders, vectors = pairs
    rounded = np.round(vectors, 7) + 0.0
    order = np.lexsort((*rounded.T, senders, receivers))
    return receivers[order], senders[order], vectors[order]


def assert_same(atoms, cutoff):
    positions, cell = graph._put_in_box(atoms)
    arguments = positions, cell, atoms.pbc, cutoff
    found = neighbour_list.find_pairs(*arguments)
    assert (np.diff(found[0]) >= 0).all()
    for ours, theirs in zip(in_order(found), in_order(neighbour_list._by_matscipy(*arguments)), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-9)
    return len(found[0])


@given(st.integers(0, 10_000))
@examples(200)
def test_the_pairs_of_any_cell_are_those_of_matscipy(seed):
    rng = np.random.default_rng(seed)
    cell = rng.normal(size=(3, 3)) * rng.uniform(2, 12) + np.eye(3) * rng.uniform(1, 10)
    if abs(np.linalg.det(cell)) < 8:
        cell += 10 * np.eye(3)
    atoms = Atoms(f"H{rng.integers(1, 40)}", cell=cell, pbc=rng.random(3) < 0.6)
    atoms.positions = rng.normal(size=(len(atoms), 3)) * rng.uniform(1, 30)  # also far outside the cell
    assert_same(atoms, rng.uniform(0.5, 7.0))


@pytest.mark.parametrize("cutoff", [1.0, 3.0, 6.0, 12.0])
def test_the_pairs_of_crystals_slabs_and_molecules(cutoff):
    slab = graphene(size=(2, 3, 1), vacuum=None)
    slab.pbc = (True, True, False)
    far = Atoms("H2", [[0, 0, 0], [1e5, 0, 0]])  # bins for each cutoff of this box would fill the memory
    for atoms in (bulk("NaCl", "rocksalt", 5.6), bulk("Si", cubic=True) * 3, slab, Atoms("H"), far):
        assert_same(atoms, cutoff)


def test_a_dense_cluster_in_a_large_cell_is_searched_again():
    rng = np.random.default_rng(0)
    atoms = Atoms("H60", rng.uniform(0, 2, (60, 3)), cell=[100] * 3, pbc=True)
    assert assert_same(atoms, 5.0) == 60 * 59


def test_matscipy_searches_where_there_is_no_compiler(monkeypatch):
    def none(name):
        raise compiler.NotCompiledError("no compiler")

    monkeypatch.setattr(neighbour_list, "load_library", none)
    neighbour_list._compiled.cache_clear()
    try:
        assert_same(bulk("MgO", "rocksalt", 4.2), 4.0)
        assert neighbour_list._compiled() is None
    finally:
        monkeypatch.undo()
        neighbour_list._compiled.cache_clear()
