"""What settings add to the published network keeps every symmetry, and does what it says."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from helpers.crystals import random_structure
from helpers.networks import SMALL, predict, random_params
from scipy.stats import ortho_group

from equivar_jax.config.files import load_config
from equivar_jax.graphs.batch import Sample, graph_of
from equivar_jax.graphs.graph import build_graph
from equivar_jax.kernels import HIDDEN
from equivar_jax.network.initial_weights import start_from_labels
from equivar_jax.network.model import Equivar, born_effective_charges, displace
from equivar_jax.network.periodic_table import period_and_group, periodic_table
from equivar_jax.network.plan import square_plan
from equivar_jax.prediction.layerwise import tensors_layer_by_layer

ADDED = {
    "edge_hidden": 16,
    "periodic_table": True,
    "self_connection": True,
    "node_products": True,
    "gates": True,
    "element_shift": True,
}
FULL = dataclasses.replace(SMALL, interactions=2, envelope=True, **ADDED)
SHIPPED = {
    name: dataclasses.replace(
        load_config(name).model,
        cutoff=SMALL.cutoff,
        channels=16,
        interactions=2,
        edge_hidden=16,
        mean_neighbours=SMALL.mean_neighbours,
    )
    for name in ("bm3", "bm3_deep")
}


@pytest.mark.parametrize("config", SHIPPED.values(), ids=SHIPPED)
def test_orthogonal_operations_turn_the_tensors(config, float64):
    params = random_params(config, float64)
    for seed in range(2):
        atoms, matrix = random_structure(seed), ortho_group.rvs(3, random_state=seed)
        turned = Atoms(
            atoms.numbers, positions=atoms.positions @ matrix.T, cell=atoms.cell.array @ matrix.T, pbc=True
        )
        found, expected = (
            predict(config, params, a, float64, nodes=32, neighbours=40) for a in (turned, atoms)
        )
        expected = np.einsum("ac,bd,ncd->nab", matrix, matrix, expected)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


@pytest.mark.slow  # as of the published networks
def test_order_of_atoms_supercell_and_padding_change_nothing(float64):
    params, atoms = random_params(FULL, float64), random_structure(4)
    expected = predict(FULL, params, atoms, float64)
    order = np.random.default_rng(0).permutation(8)
    np.testing.assert_allclose(predict(FULL, params, atoms[order], float64), expected[order], atol=1e-11)
    double = predict(FULL, params, atoms.repeat((2, 1, 1)), float64, nodes=40, neighbours=45)
    np.testing.assert_allclose(double, np.tile(expected, (2, 1, 1)), atol=1e-11)


@functools.partial(jax.jit, static_argnums=1)
def value_and_gradients(params, kernel, u, graph):
    def total(params, u):
        model = Equivar(dataclasses.replace(FULL, kernel=kernel))
        return jnp.sum(jnp.sin(born_effective_charges(model, params, displace(graph, u))))

    return jax.value_and_grad(total, (0, 1))(params, u)


@pytest.mark.slow  # as of the published networks
@pytest.mark.parametrize("kernel", ["native", "chunked"])
def test_kernels_agree_in_values_and_gradients(calcium_titanate, kernel, float64):
    params = random_params(FULL, float64)
    graph = graph_of(calcium_titanate, FULL.cutoff, float64)
    u = jnp.zeros((20, 3))
    value, gradients = value_and_gradients(params, kernel, u, graph)
    expected, expected_gradients = value_and_gradients(params, "reference", u, graph)
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), gradients, expected_gradients)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


def test_gradients_are_finite_where_an_atom_has_no_neighbour(float64):
    params, graph = random_params(FULL, float64), graph_of(Atoms("O"), FULL.cutoff, float64)
    gradients = jax.jit(jax.grad(lambda p: jnp.sum(Equivar(FULL).apply(p, graph) ** 2)))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))


@pytest.mark.slow
def test_layer_by_layer_gives_the_numbers_of_the_whole(calcium_titanate):
    model, params = Equivar(FULL), random_params(FULL)
    atoms = calcium_titanate.repeat((2, 1, 1))
    whole = jax.jit(model.apply)(params, graph_of(atoms, FULL.cutoff))
    found = tensors_layer_by_layer(model, params, build_graph(atoms, FULL.cutoff), 7)
    np.testing.assert_allclose(found, whole, atol=1e-5 * float(np.abs(whole).max()))


def test_tensors_are_continuous_where_an_atom_leaves_the_neighbourhood(float64):
    params = random_params(FULL, float64)
    inside, outside = (
        predict(FULL, params, Atoms("MgO", positions=[[0, 0, 0], [0, 0, r]]), float64, edges=8, neighbours=2)
        for r in (FULL.cutoff - 1e-5, FULL.cutoff + 1e-5)
    )
    np.testing.assert_allclose(inside, outside, atol=1e-8)


def test_edges_know_the_species_at_both_ends(float64):
    """In the published network the answer is linear in the embedding, so contributions of ends add up."""
    config = dataclasses.replace(SMALL, interactions=1, edge_hidden=16)

    def scalar(config, receiver, sender):
        atoms = Atoms([receiver, sender], positions=[[0, 0, 0], [0, 0, 2.0]])
        graph = graph_of(atoms, config.cutoff, float64)
        params = random_params(config, float64)
        return np.asarray(jax.jit(Equivar(config).apply)(params, graph))[0, 0, 0]

    def interaction(config):
        pairs = [("Mg", "O"), ("Ca", "S"), ("Mg", "S"), ("Ca", "O")]
        a, b, c, d = (scalar(config, *pair) for pair in pairs)
        return abs(a + b - c - d)

    assert interaction(dataclasses.replace(SMALL, interactions=1)) < 1e-12
    assert interaction(config) > 1e-3


def test_squares_have_unit_variance():
    plan = square_plan(HIDDEN, HIDDEN)
    x = np.random.default_rng(0).normal(size=(200_000, 12))
    products = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1) @ plan.coefficients
    constant = np.zeros_like(products[0])  # the mean of a scalar of equal irreps is not zero
    for path, (out, start) in enumerate(zip(plan.outputs, np.cumsum(plan.dims) - plan.dims, strict=True)):
        columns = slice(start, start + out.dim)
        np.testing.assert_allclose(products[:, columns].var(axis=0), 1.0, rtol=0.05, err_msg=str(path))
        constant[columns] = products[:, columns].mean(axis=0)
    assert np.abs(constant[plan.dims[: plan.outputs.count(HIDDEN[0])].sum() :]).max() < 0.02


def test_relatives_start_alike():
    table = np.asarray(periodic_table(jax.random.key(0), (100, 20_000)))
    overlap = table @ table.T / table.shape[1]
    np.testing.assert_allclose(np.diag(overlap), 1.0, atol=0.05)
    for one, other, expected in ((12, 20, 1 / 3), (12, 13, 1 / 3), (12, 8, 0.0), (57, 71, 1 / 3)):
        assert overlap[one, other] == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(
    ("number", "place"),
    [
        (1, (1, 1)), (2, (1, 18)), (8, (2, 16)), (13, (3, 13)), (22, (4, 4)), (30, (4, 12)), (39, (5, 3)),
        (56, (6, 2)), (57, (6, 0)), (70, (6, 0)), (71, (6, 3)), (72, (6, 4)), (82, (6, 14)), (92, (7, 0)),
    ],
)  # fmt: skip
def test_periods_and_groups(number, place):
    assert period_and_group(number) == place


def test_element_tables_start_at_the_labels(float64):
    atoms = bulk("MgO", "rocksalt", a=4.21)
    graph = build_graph(atoms, 3.0)
    labels = [np.array([2 * np.eye(3), -2 * np.eye(3)]), np.array([2.4 * np.eye(3), -2.4 * np.eye(3)])]
    params = start_from_labels(random_params(FULL, float64), [Sample(graph, label) for label in labels])
    shift, scale = (params["params"][name] for name in ("element_shift", "element_scale"))
    np.testing.assert_allclose([shift[12], shift[8], shift[22]], [2.2, -2.2, 0.0])
    np.testing.assert_allclose([scale[12], scale[22]], [0.2 / 3**0.5, 1.0])
