"""ASE calculators: the network, any potential in a field, published potentials by name; a field in LAMMPS."""

from equivar_jax.calculators.born import EquivarCalculator
from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.calculators.lammps import LammpsField
from equivar_jax.calculators.lammps_library import open_lammps
from equivar_jax.calculators.lammps_structure import field_in_lammps_axes
from equivar_jax.calculators.polarised import make_dipole_function
from equivar_jax.calculators.potentials import POTENTIALS, Potential, load_potential

__all__ = [
    "POTENTIALS",
    "Charges",
    "EquivarCalculator",
    "FieldCalculator",
    "LammpsField",
    "Potential",
    "field_in_lammps_axes",
    "load_potential",
    "make_charge_function",
    "make_dipole_function",
    "open_lammps",
]
