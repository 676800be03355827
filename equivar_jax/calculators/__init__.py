"""ASE calculators: the network, any potential in a uniform electric field, published potentials by name."""

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.calculators.polarised import make_dipole_function
from equivar_jax.calculators.potentials import POTENTIALS, Potential, load_potential

__all__ = [
    "POTENTIALS",
    "Charges",
    "EquivarCalculator",
    "FieldCalculator",
    "Potential",
    "load_potential",
    "make_charge_function",
    "make_dipole_function",
]
