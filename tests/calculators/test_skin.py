"""The list with a skin against a fresh search, along paths of every kind of structure."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from helpers.crystals import labelled_crystal

from equivar_jax.calculators.skin import SkinList
from equivar_jax.errors import InputError
from equivar_jax.graphs.graph import build_graph

CUTOFF = 3.0


def edges(graph):
    """Every edge with its vector, in an order of its own."""
    vectors = graph.edges["vectors"]
    order = np.lexsort((*np.round(vectors.T, 6), graph.senders, graph.receivers))
    return graph.receivers[order], graph.senders[order], vectors[order]


def assert_same_graph(found, expected):
    assert np.all(np.diff(found.receivers) >= 0)
    for ours, theirs in zip(edges(found)[:2], edges(expected)[:2], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_allclose(edges(found)[2], edges(expected)[2], rtol=0, atol=1e-12)
    assert found.n_edge.tolist() == expected.n_edge.tolist()
    assert found.n_node.tolist() == expected.n_node.tolist()
    np.testing.assert_array_equal(found.nodes["species"], expected.nodes["species"])
    assert found.globals["charge"] == expected.globals["charge"]


def water_box():
    atoms = molecule("H2O")
    atoms.center(vacuum=1.5)
    return atoms


STRUCTURES = {
    "self-images": lambda: bulk("MgO", "rocksalt", a=4.0),
    "one atom": lambda: bulk("Cu", "fcc", a=3.6),
    "triclinic": lambda: labelled_crystal(3),
    "large": lambda: bulk("MgO", "rocksalt", a=4.2, cubic=True).repeat(3),
    "slab": lambda: fcc111("Al", (2, 2, 3), vacuum=5.0),
    "molecule": water_box,
    "no cell": lambda: molecule("CH3CH2OH"),
}


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("skin", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("name", STRUCTURES)
def test_the_graph_is_that_of_a_fresh_search_all_along_a_random_walk(name, skin, wrapped):
    atoms = STRUCTURES[name]()
    neighbours = SkinList(CUTOFF, skin)
    rng = np.random.default_rng(0)
    for _ in range(40):
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        # The atoms also drift together, so that they leave the cell.
        atoms.positions += 0.04
        if wrapped:
            atoms.wrap()
        assert_same_graph(neighbours.graph(atoms), build_graph(atoms, CUTOFF))
    assert neighbours.searches == 40 if skin == 0 else 1 < neighbours.searches < 40


def pair(distance):
    return Atoms("MgO", positions=[(0, 0, 0), (distance, 0, 0)])


def test_a_search_is_made_when_an_atom_has_moved_more_than_half_the_skin():
    neighbours = SkinList(CUTOFF, 1.0)
    assert len(neighbours.graph(pair(3.9)).senders) == 0
    assert len(neighbours.graph(pair(3.45)).senders) == 0
    assert neighbours.searches == 1
    assert len(neighbours.graph(pair(3.39)).senders) == 0
    assert neighbours.searches == 2
    assert len(neighbours.graph(pair(2.95)).senders) == 2
    assert neighbours.searches == 2


def test_a_pair_from_outside_the_skin_is_found_when_both_atoms_move_towards_each_other():
    neighbours, atoms = SkinList(CUTOFF, 1.0), pair(4.01)
    assert len(neighbours.graph(atoms).senders) == 0
    atoms.positions[:, 0] += [0.51, -0.51]
    assert len(neighbours.graph(atoms).senders) == 2


@pytest.mark.parametrize("change", ["cell", "pbc", "species", "number of atoms"])
def test_another_structure_is_searched_anew(change):
    neighbours, atoms = SkinList(CUTOFF, 1.0), labelled_crystal()
    neighbours.graph(atoms)
    if change == "cell":
        atoms.cell[0, 0] += 0.3
    elif change == "pbc":
        atoms.pbc = [True, False, True]
    elif change == "species":
        atoms.numbers[0] = 20
    else:
        atoms += Atoms("H", positions=[atoms.positions[0] + 1.0])
    assert_same_graph(neighbours.graph(atoms), build_graph(atoms, CUTOFF))
    assert neighbours.searches == 2


def test_the_net_charge_is_that_of_the_structure_without_a_search():
    neighbours, atoms = SkinList(CUTOFF, 1.0), labelled_crystal()
    neighbours.graph(atoms)
    atoms.info["charge"] = -2
    assert neighbours.graph(atoms).globals["charge"].tolist() == [-2.0]
    assert neighbours.searches == 1


def test_a_caller_may_change_the_structure_and_the_graph_that_came_back():
    neighbours, atoms = SkinList(CUTOFF, 1.0), labelled_crystal()
    graph = neighbours.graph(atoms)
    graph.edges["vectors"][:] = 7.0
    graph.senders[:] = 0
    atoms.positions += [0.3, 0.0, 0.0]
    assert_same_graph(neighbours.graph(atoms), build_graph(atoms, CUTOFF))
    assert neighbours.searches == 1


def test_atoms_that_come_too_close_are_refused_as_by_a_search():
    neighbours, atoms = SkinList(CUTOFF, 2.5), pair(1.0)
    neighbours.graph(atoms)
    with pytest.raises(InputError, match=r"atoms 0 and 1 are 0.05 Å apart; remove the duplicate"):
        neighbours.graph(pair(0.05))
    assert len(neighbours.graph(pair(0.9)).senders) == 2


def test_positions_that_are_no_numbers_are_refused():
    neighbours, atoms = SkinList(CUTOFF, 1.0), labelled_crystal()
    neighbours.graph(atoms)
    atoms.positions[1, 2] = np.nan
    with pytest.raises(InputError, match="position of atom 1 is not finite"):
        neighbours.graph(atoms)


@pytest.mark.parametrize("skin", [-0.1, np.nan, np.inf])
def test_a_skin_that_is_no_length_is_refused(skin):
    with pytest.raises(InputError, match=r"a skin of .* Å is not possible; give zero or more"):
        SkinList(CUTOFF, skin)
