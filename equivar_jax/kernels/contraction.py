"""The Clebsch-Gordan coefficients of a plan as the C++ functions read them."""

import numpy as np

from equivar_jax.kernels.paths import ProductPlan

_FIRST_HARMONIC = (0, 1, 4)


def contraction_terms(plan: ProductPlan) -> dict[str, np.ndarray]:
    """List the Clebsch-Gordan coefficients that are not zero: row of the result, row of U, and value.

    Row `out` of the sums is the sum of `coefficient` times row `u` of the edge products U. The rows of U are
    the components m of the features for each harmonic s, one harmonic after the other.
    """
    rows = []
    for product in plan.products:
        coefficients = product.coefficients()
        for m, s, out in zip(*np.nonzero(np.abs(coefficients) > 1e-12), strict=True):
            harmonic = _FIRST_HARMONIC[product.degree] + s
            u = harmonic * plan.input_components + product.node.start + m
            rows.append((product.out.start + out, u, coefficients[m, s, out]))
    out, u, coefficient = zip(*sorted(rows), strict=True)
    return {
        "out": np.array(out, np.int32),
        "u": np.array(u, np.int32),
        "coefficient": np.array(coefficient, np.float64),
    }
