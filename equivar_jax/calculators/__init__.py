"""ASE calculators: one for the network itself, and one for any potential in a uniform electric field."""

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.calculators.polarised import make_dipole_function

__all__ = [
    "Charges",
    "EquivarCalculator",
    "FieldCalculator",
    "make_charge_function",
    "make_dipole_function",
]
