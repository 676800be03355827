import e3nn_jax as e3nn
import jax.numpy as jnp
import numpy as np
import pytest
from helpers.examples import examples
from hypothesis import given
from hypothesis import strategies as st

from equivar_jax.network.plan import READOUT
from equivar_jax.network.tensor import (
    apply_sum_rule,
    cartesian_to_irreps,
    graph_of_node,
    irreps_to_cartesian,
)


def test_change_of_basis_is_orthogonal_and_invertible(float64):
    components = jnp.asarray(np.random.default_rng(0).normal(size=(7, 9)))
    tensors = irreps_to_cartesian(components)
    np.testing.assert_allclose(cartesian_to_irreps(tensors), components, atol=1e-13)
    np.testing.assert_allclose((tensors**2).sum((1, 2)), (components**2).sum(1), rtol=1e-13)


def test_parts_are_trace_antisymmetric_and_symmetric_traceless(float64):
    basis = irreps_to_cartesian(jnp.eye(9))
    np.testing.assert_allclose(basis[0], np.eye(3) / np.sqrt(3), atol=1e-14)
    for part in basis[1:4]:
        np.testing.assert_allclose(part, -part.T, atol=1e-14)
    for part in basis[4:]:
        np.testing.assert_allclose(part, part.T, atol=1e-14)
        assert abs(float(jnp.trace(part))) < 1e-14


@given(seed=st.integers(0, 1000), improper=st.booleans())
@examples(10)
def check_equivariance(seed, improper):
    rng = np.random.default_rng(seed)
    matrix = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    matrix *= np.linalg.det(matrix) * (-1 if improper else 1)
    components = rng.normal(size=9)
    irreps = "+".join(map(str, READOUT))
    turned = e3nn.IrrepsArray(irreps, components).transform_by_matrix(jnp.asarray(matrix)).array
    expected = matrix @ irreps_to_cartesian(jnp.asarray(components)) @ matrix.T
    np.testing.assert_allclose(irreps_to_cartesian(turned), expected, atol=1e-6)


def test_components_transform_as_their_irreps(float64):
    check_equivariance()


def test_sum_rule_holds_in_each_graph_and_keeps_differences(float64):
    rng = np.random.default_rng(1)
    tensors = jnp.asarray(rng.normal(size=(9, 3, 3)))
    counts, charges = jnp.array([3, 4, 2]), jnp.array([0.0, -2.0, 0.0])
    corrected = apply_sum_rule(tensors, counts, charges)
    np.testing.assert_allclose(corrected[:3].sum(0), 0, atol=1e-14)
    np.testing.assert_allclose(corrected[3:7].sum(0), -2 * np.eye(3), atol=1e-14)
    np.testing.assert_allclose(corrected[3] - corrected[6], tensors[3] - tensors[6], atol=1e-14)
    np.testing.assert_allclose(apply_sum_rule(corrected, counts, charges), corrected, atol=1e-14)


@pytest.mark.parametrize("counts", [[1, 0, 3], [4, 0, 0]])
def test_graphs_without_atoms_do_no_harm(counts):
    owner = graph_of_node(jnp.array(counts), 4)
    assert owner.tolist() == np.repeat(np.arange(3), counts).tolist()
    assert bool(jnp.isfinite(apply_sum_rule(jnp.ones((4, 3, 3)), jnp.array(counts), jnp.zeros(3))).all())
