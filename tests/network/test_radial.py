import jax
import jax.numpy as jnp
import numpy as np

from equivar_jax.kernels.moments import GAUSSIAN_SQUARE_SUM
from equivar_jax.network.radial import cosine_envelope, gaussian_basis


def test_gaussians_equal_the_published_formula(float64):
    r, width = np.linspace(0.1, 3.2, 50), 3.0 / 31
    expected = np.exp(-((r[:, None] - np.linspace(0, 3, 32)) ** 2) / (2 * width**2))
    np.testing.assert_allclose(gaussian_basis(jnp.asarray(r), 3.0, 32), expected, rtol=1e-12)


def test_squares_sum_to_the_stated_constant_inside(float64):
    values = gaussian_basis(jnp.linspace(0.5, 2.5, 101), 3.0, 32)
    np.testing.assert_allclose(jnp.sum(values**2, axis=-1), GAUSSIAN_SQUARE_SUM, rtol=1e-3)


def test_envelope_and_its_slope_vanish_at_the_cutoff(float64):
    slope = jax.grad(lambda r: cosine_envelope(r, 3.0))
    assert float(cosine_envelope(jnp.asarray(0.0), 3.0)) == 1.0
    assert float(cosine_envelope(jnp.asarray(1.5), 3.0)) == np.float64(0.5)
    for r in (3.0 - 1e-9, 3.0, 3.5):
        assert abs(float(cosine_envelope(jnp.asarray(r), 3.0))) < 1e-12
        assert abs(float(slope(jnp.asarray(r)))) < 1e-7
