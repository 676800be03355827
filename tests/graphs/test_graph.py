import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.neighborlist import neighbor_list
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import build_graph, neighbour_counts

STRUCTURES = {
    "primitive MgO": bulk("MgO", "rocksalt", a=4.21),
    "one atom": bulk("Cu"),
    "molecule": molecule("CH3CH2OH"),
    "slab": fcc111("Al", (1, 1, 2), vacuum=2.0),
    "wire": Atoms("C2", positions=[[0, 0, 0], [0.5, 0.2, 1.1]], cell=[0, 0, 2.5], pbc=[False, False, True]),
    "single atom": Atoms("H"),
}


def edges(receivers, senders, vectors):
    return sorted(zip(receivers.tolist(), senders.tolist(), *np.round(vectors.T, 7) + 0.0, strict=True))


@pytest.mark.parametrize("cutoff", [3.0, 5.5])
@pytest.mark.parametrize("name", STRUCTURES)
def test_edges_are_those_of_ase(name, cutoff):
    atoms = STRUCTURES[name]
    graph = build_graph(atoms, cutoff)
    assert edges(graph.receivers, graph.senders, graph.edges["vectors"]) == edges(
        *neighbor_list("ijD", atoms, cutoff)
    )


@given(seed=st.integers(0, 10_000), periodic=st.tuples(st.booleans(), st.booleans(), st.booleans()))
@examples(40)
def test_edges_are_those_of_ase_in_any_cell(seed, periodic):
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(2.5, 5, 3)) + rng.uniform(-1.5, 1.5, (3, 3))
    if abs(np.linalg.det(cell)) < 5:
        cell += 4 * np.eye(3)
    atoms = Atoms("OTi", positions=rng.uniform(-9, 9, (2, 3)), cell=cell, pbc=periodic)
    expected = neighbor_list("ijD", atoms, 4.0)
    if np.linalg.norm(expected[2], axis=1).min(initial=9) < 0.2:
        return
    graph = build_graph(atoms, 4.0)
    np.testing.assert_allclose(
        edges(graph.receivers, graph.senders, graph.edges["vectors"]), edges(*expected), atol=1e-6
    )


def test_primitive_mgo_has_all_36_edges_where_minimum_image_has_2():
    graph = build_graph(STRUCTURES["primitive MgO"], 3.0)
    assert len(graph.senders) == 36
    assert neighbour_counts(graph).tolist() == [18, 18]


def test_vectors_point_from_receiver_to_sender():
    graph = build_graph(Atoms("HO", positions=[[0, 0, 0], [0, 0, 1]]), 2.0)
    assert graph.receivers.tolist() == [0, 1]
    assert graph.senders.tolist() == [1, 0]
    np.testing.assert_allclose(graph.edges["vectors"], [[0, 0, 1], [0, 0, -1]])


def test_edges_are_sorted_by_receiver_and_come_in_pairs():
    graph = build_graph(STRUCTURES["primitive MgO"], 5.0)
    assert (np.diff(graph.receivers) >= 0).all()
    there = edges(graph.receivers, graph.senders, graph.edges["vectors"])
    back = edges(graph.senders, graph.receivers, -graph.edges["vectors"])
    assert there == back


def test_net_charge_is_carried():
    ion = Atoms("O", info={"charge": -2})
    assert build_graph(ion, 3.0).globals["charge"].tolist() == [-2.0]
    assert build_graph(Atoms("O"), 3.0).globals["charge"].tolist() == [0.0]


@pytest.mark.parametrize(
    ("atoms", "message"),
    [
        (Atoms(), "no atoms"),
        (Atoms("H", positions=[[np.nan, 0, 0]]), "position of atom 0 is not finite"),
        (Atoms("H2", positions=[[0, 0, 0], [0, 0, 0.01]]), "atoms 0 and 1 are 0.01 Å apart"),
        (Atoms("H", cell=[3, 3, 0], pbc=True), "span no volume"),
        (Atoms("H", cell=[[1, 0, 0], [2, 0, 0], [0, 0, 3]], pbc=True), "span no volume"),
        (Atoms("X"), "atomic number 0"),
        (
            Atoms("H", cell=[0.01, 0.01, 0.01], pbc=True),
            "a cell of 1e-06 Å³ is too small .* cell vectors in Å",
        ),
        (Atoms("H8", cell=[0.16, 0.16, 0.16], pbc=True), "a cell of 0.0041 Å³ is too small"),
        (Atoms("H", cell=[0.01, 0.01, 0], pbc=[1, 1, 0]), "a cell of 0.0001 Å² is too small"),
        (Atoms("H", cell=[0, 0.01, 0], pbc=[0, 1, 0]), "a cell of 0.01 Å is too small"),
    ],
)
def test_what_is_no_structure_is_refused_with_its_source(atoms, message):
    atoms.info["source"] = "here.cif, frame 7"
    with pytest.raises(InputError, match="here.cif, frame 7: .*" + message):
        build_graph(atoms, 3.0)


@pytest.mark.parametrize("periodic", [(1, 0, 0), (1, 1, 0), (1, 1, 1)])
def test_the_densest_lattices_of_the_shortest_distance_are_not_refused(periodic):
    """A chain, a triangular net and a face-centred cube: nothing is denser."""
    shortest = 0.1001
    net = {
        1: [[1, 0, 0], [0, 0, 0], [0, 0, 0]],
        2: [[1, 0, 0], [0.5, 3**0.5 / 2, 0], [0, 0, 0]],
        3: np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2**0.5,
    }[sum(periodic)]
    graph = build_graph(Atoms("H", cell=shortest * np.array(net), pbc=periodic), 1.01 * shortest)
    assert len(graph.senders) == {1: 2, 2: 6, 3: 12}[sum(periodic)]
