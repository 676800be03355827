"""Constants that keep the variance of features at one."""

import math

SOFTPLUS_SECOND_MOMENT = 0.2842636221740419
"""Second moment of `log(1 + e^x) - log 2` for a unit normal variable x."""
SILU_SECOND_MOMENT = 0.3557755
"""Second moment of `x / (1 + e^-x)` for a unit normal variable x."""
GAUSSIAN_SQUARE_SUM = math.pi**0.5
"""Sum over the centres of the squares of the Gaussians, for r well inside the grid.

`sum_g exp(-(r - mu_g)^2 / dmu^2) = sqrt(pi)` for centres mu_g spaced by dmu, by Poisson summation.
"""
