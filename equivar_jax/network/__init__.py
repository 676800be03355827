"""The Equivar network, which computes a tensor of every atom from a graph and weights (JAX, Flax)."""

from equivar_jax.network.model import Equivar, born_effective_charges, count_parameters, displace
from equivar_jax.network.tensor import apply_sum_rule, cartesian_to_irreps, irreps_to_cartesian

__all__ = [
    "Equivar",
    "apply_sum_rule",
    "born_effective_charges",
    "cartesian_to_irreps",
    "count_parameters",
    "displace",
    "irreps_to_cartesian",
]
