"""A network whose tensors are derivatives of a polarisation: symmetries, derivatives, closed paths."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, make_supercell
from helpers.crystals import labelled_crystal, random_structure
from helpers.networks import dense_batch, random_params
from scipy.stats import ortho_group

from equivar_jax.config import ModelConfig
from equivar_jax.network.forms import make_network
from equivar_jax.network.model import displace

CONFIG = ModelConfig(
    radial_functions=6,
    envelope=True,
    embedding=4,
    channels=8,
    interactions=2,
    mean_neighbours=9.0,
    form="polarisation",
    edge_hidden=4,
    node_products=True,
    self_connection=True,
)
NETWORK = make_network(CONFIG)
SHAPE = {"nodes": 24, "neighbours": 40, "edges": 400}


@pytest.fixture
def params(float64):
    """Random weights in double precision; no charge is zero."""
    return random_params(CONFIG, float64)


def graph_of(*structures):
    """One compiled shape for all structures here, with padding."""
    batch = dense_batch(structures, CONFIG.cutoff, np.float64, **SHAPE)
    return jax.tree.map(jnp.asarray, batch.graph)


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, graph, displacements):
    return network.apply(params, displace(graph, displacements))


@jax.jit
def _dipole(params, graph, displacements):
    moved = displace(graph, displacements)
    return NETWORK.apply(params, moved, displacements, method="dipole_of_cell")[0]


def still(graph):
    return jnp.zeros((len(graph.nodes["species"]), 3))


def raw_tensors(params, atoms):
    """As the network gives them: no sum rule is applied."""
    graph = graph_of(atoms)
    return np.asarray(_apply(NETWORK, params, graph, still(graph)))[: len(atoms)]


@pytest.mark.parametrize("seed", range(3))
def test_rotation_reflection_inversion_and_permutation(params, seed):
    atoms = random_structure(seed)
    matrix = ortho_group.rvs(3, random_state=seed) if seed else -np.eye(3)
    order = np.random.default_rng(seed).permutation(len(atoms))
    turned = Atoms(
        atoms.numbers, positions=atoms.positions @ matrix.T, cell=atoms.cell.array @ matrix.T, pbc=True
    )[order]
    expected = np.einsum("ac,bd,ncd->nab", matrix, matrix, raw_tensors(params, atoms))[order]
    np.testing.assert_allclose(raw_tensors(params, turned), expected, atol=1e-10)
    # The order of indices shows: transposed tensors would be off by much more than the tolerance.
    assert np.abs(expected - expected.transpose(0, 2, 1)).max() > 1e-3


@pytest.mark.parametrize("matrix", [np.diag([2, 2, 2]), [[1, 1, 0], [0, 1, 2], [1, 0, 1]]])
def test_a_supercell_has_the_tensors_of_its_cell(params, matrix):
    atoms = bulk("MgO", "rocksalt", a=4.21)
    atoms.positions[1] += [0.1, -0.05, 0.2]
    atoms.set_array("origin", np.arange(2))
    large = make_supercell(atoms, np.array(matrix))
    assert len(large) > len(atoms)
    expected = raw_tensors(params, atoms)[large.arrays["origin"]]
    np.testing.assert_allclose(raw_tensors(params, large), expected, atol=1e-10)


def test_tensors_are_central_differences_of_the_dipole_with_the_field_first(params):
    atoms = random_structure(4)
    graph, found = graph_of(atoms), raw_tensors(params, atoms)
    for atom, direction in np.ndindex(len(atoms), 3):
        step = np.zeros(still(graph).shape)
        step[atom, direction] = 1e-5
        slope = (_dipole(params, graph, step) - _dipole(params, graph, -step)) / 2e-5
        np.testing.assert_allclose(found[atom, :, direction], slope, atol=1e-8)


@pytest.mark.parametrize("charge", [0.0, -2.0])
def test_the_sum_rule_holds_without_being_applied(params, charge):
    atoms = random_structure(5)
    atoms.info["charge"] = charge
    found = raw_tensors(params, atoms)
    np.testing.assert_allclose(found.sum(axis=0), charge * np.eye(3), atol=1e-12)
    assert np.abs(found).max() > 0.1


def test_company_and_padding_change_nothing(params):
    structures = [random_structure(6), labelled_crystal(), Atoms("He")]
    graph, stop = graph_of(*structures), 0
    together = np.asarray(_apply(NETWORK, params, graph, still(graph)))
    for atoms in structures:
        start, stop = stop, stop + len(atoms)
        np.testing.assert_allclose(together[start:stop], raw_tensors(params, atoms), atol=1e-12)


def test_gradients_are_finite_everywhere(params):
    """Of an atom without neighbours, of padding, and of a padding edge of no length."""
    graph = graph_of(labelled_crystal(), Atoms("O"))
    vectors = graph.edges["vectors"].at[-1].set(0.0)

    @jax.jit
    def gradients(params, displacements, vectors):
        def total(*arguments):
            params, displacements, vectors = arguments
            moved = displace(graph._replace(edges={"vectors": vectors}), displacements)
            return jnp.sum(NETWORK.apply(params, moved) ** 3)

        return jax.grad(total, (0, 1, 2))(params, displacements, vectors)

    found = gradients(params, still(graph), vectors)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))
    by_position = np.abs(found[1]).max(axis=1)
    assert by_position[:3].min() > 0
    assert by_position[3:].max() == 0
    charges = found[0]["params"]["element_charge"]
    assert np.abs(charges[0]) == 0  # of padding


def closed_path(atoms, points=48):
    """Displacements and their steps along a closed curve, on which every atom has a plane of its own."""
    rng = np.random.default_rng(0)
    cosine, sine = 0.15 * rng.normal(size=(2, SHAPE["nodes"], 3))
    cosine[len(atoms) :], sine[len(atoms) :] = 0.0, 0.0
    angles = 2 * np.pi * np.arange(points) / points
    for angle in angles:
        moved = np.cos(angle) * cosine + np.sin(angle) * sine
        yield moved, (np.cos(angle) * sine - np.sin(angle) * cosine) * 2 * np.pi / points


def test_the_integral_along_a_closed_path_is_zero_and_of_the_direct_form_it_is_not(params):
    """By the trapezoid rule, which converges exponentially for a periodic function."""
    atoms = labelled_crystal()
    graph = graph_of(atoms)
    direct = dataclasses.replace(CONFIG, form="direct")
    works = {}
    for config, weights in ((CONFIG, params), (direct, random_params(direct, np.float64))):
        terms = [
            np.einsum("iab,ib->a", _apply(make_network(config), weights, graph, moved), step)
            for moved, step in closed_path(atoms)
        ]
        works[config.form] = np.abs(sum(terms)).max(), np.abs(terms).sum()
    assert works["polarisation"][0] < 1e-7 * works["polarisation"][1]
    assert works["direct"][0] > 1e-3 * works["direct"][1]


def test_second_derivatives_forwards_backwards_and_by_finite_differences(params):
    atoms = labelled_crystal()
    graph, count = graph_of(atoms), len(atoms)

    def tensors(u):
        moved = displace(graph, jnp.zeros_like(still(graph)).at[:count].set(u))
        return NETWORK.apply(params, moved)[:count]

    at = jnp.zeros((count, 3))
    forwards, backwards = (jax.jit(mode(tensors))(at) for mode in (jax.jacfwd, jax.jacrev))
    np.testing.assert_allclose(backwards, forwards, atol=1e-11)
    # The order of the two displacements does not matter: there is a polarisation.
    np.testing.assert_allclose(forwards, np.einsum("iabjc->jacib", forwards), atol=1e-11)
    values = jax.jit(tensors)
    for atom, direction in ((0, 1), (2, 2)):
        step = np.zeros((count, 3))
        step[atom, direction] = 1e-5
        slope = (values(step) - values(-step)) / 2e-5
        np.testing.assert_allclose(forwards[..., atom, direction], slope, atol=1e-7)
    assert np.abs(forwards).max() > 1e-2


def test_one_number_added_to_all_charges_changes_nothing(params):
    atoms = random_structure(7)
    moved = {**params["params"], "element_charge": params["params"]["element_charge"] + 0.7}
    np.testing.assert_allclose(raw_tensors({"params": moved}, atoms), raw_tensors(params, atoms), atol=1e-12)
