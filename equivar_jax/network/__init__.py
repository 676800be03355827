"""The Equivar network, which computes a tensor of every atom from a graph and weights (JAX, Flax)."""

from typing import TYPE_CHECKING

from equivar_jax.lazy import import_lazily

if TYPE_CHECKING:
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

__getattr__, __dir__ = import_lazily(
    __name__,
    {
        "Equivar": "model",
        "apply_sum_rule": "tensor",
        "born_effective_charges": "model",
        "cartesian_to_irreps": "tensor",
        "count_parameters": "model",
        "displace": "model",
        "irreps_to_cartesian": "tensor",
    },
)
