"""From a structure to spectra: relaxation, force constants, Born charges, and all that follows from them."""

from equivar_jax.response.crystal.forces import compute_force_constants, displaced
from equivar_jax.response.crystal.relaxation import Relaxation, relax
from equivar_jax.response.crystal.results import Crystal, collect, crystal_of
from equivar_jax.response.crystal.stages import Forces, Settings, make_forces
from equivar_jax.response.crystal.supercell import supercell_matrix

__all__ = [
    "Crystal",
    "Forces",
    "Relaxation",
    "Settings",
    "collect",
    "compute_force_constants",
    "crystal_of",
    "displaced",
    "make_forces",
    "relax",
    "supercell_matrix",
]
