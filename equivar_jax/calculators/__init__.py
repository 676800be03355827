"""ASE calculators: the network itself, and any potential in a uniform field."""

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges, function_of
from equivar_jax.calculators.field import FieldCalculator

__all__ = [
    "Charges",
    "EquivarCalculator",
    "FieldCalculator",
    "function_of",
]
