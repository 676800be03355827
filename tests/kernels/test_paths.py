import numpy as np
import pytest

from equivar_jax.kernels import HIDDEN, PATHS, Irrep, offsets, plan_products
from equivar_jax.kernels.paths import EDGE


def test_paths_are_fifteen_of_the_seventeen_that_parity_and_angular_momentum_allow():
    allowed = {(node, edge, out) for node in HIDDEN for edge in EDGE for out in HIDDEN if out in node * edge}
    assert len(allowed) == 17
    assert set(PATHS) <= allowed
    assert len(set(PATHS)) == 15


def test_a_full_layer_has_47_components():
    plan = plan_products(HIDDEN, HIDDEN)
    assert plan.output_components == 47
    assert plan.input_components == 12
    assert all(plan.products_to(ir) for ir in HIDDEN)


def test_first_layer_has_three_products_and_no_pseudovector():
    plan = plan_products(HIDDEN[:1], HIDDEN)
    assert [product.path for product in plan.products] == [0, 6, 11]
    assert not plan.products_to(Irrep.parse("1e"))


def test_slices_lie_one_after_the_other():
    plan = plan_products(HIDDEN, HIDDEN)
    assert [product.out.start for product in plan.products[1:]] == [
        product.out.stop for product in plan.products[:-1]
    ]
    assert offsets(HIDDEN) == (0, 1, 4, 7, 12)


@pytest.mark.parametrize("index", range(len(PATHS)))
def test_products_of_unit_variables_have_unit_variance(index):
    plan = plan_products((PATHS[index][0],), (PATHS[index][2],))
    (product,) = [product for product in plan.products if product.path == index]
    np.testing.assert_allclose((product.coefficients() ** 2).sum(axis=(0, 1)), 1.0, rtol=1e-12)
