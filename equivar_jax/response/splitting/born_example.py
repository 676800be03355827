"""A model of sodium chloride of springs and dipoles, whose LO-TO splitting is known exactly."""

import numpy as np
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import DynamicalMatrixGL
from phonopy.physical_units import get_calculator_physical_units

from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of
from equivar_jax.response.units import VACUUM_PERMITTIVITY

# PBE, from the NaCl example of phonopy (its files POSCAR-unitcell and BORN).
_LATTICE_CONSTANT = 5.6903014761756712  # Å
_CHARGE = 1.086875  # e
_EPSILON_INF = 2.43533967
_STATIC = 5.90
"""Static dielectric constant (Ashcroft and Mermin, Solid State Physics, table of the alkali halides)."""
_ACROSS = 0.05
"""Ratio of the spring constants across and along a bond; small, as for ions that repel by contact."""


def sodium_chloride(repeat: int = 2) -> Phonopy:
    """Make NaCl as a phonopy object with force constants of a supercell and NAC parameters.

    The force constants are those of springs between nearest neighbours plus the dipole-dipole part that
    phonopy subtracts before it interpolates (`dipole_force_constants`). So they include the dipoles, as those
    from DFT do, and what phonopy interpolates is exactly the springs. The stiffness follows from the static
    dielectric constant, since there is one polar mode:

        omega_TO² = Z² e² / (eps0 V mu (eps_static - eps_inf)).

    Args:
        repeat: Number of primitive cells along each axis of the supercell.
    """
    phonon = phonon_of(rock_salt("NaCl", _LATTICE_CONSTANT, cubic=False), (repeat,) * 3, "P")
    charges = np.array([_CHARGE, -_CHARGE])[:, None, None] * np.eye(3)
    factor = get_calculator_physical_units(None).nac_factor
    phonon.nac_params = {"born": charges, "dielectric": _EPSILON_INF * np.eye(3), "factor": factor}
    dipoles = dipole_force_constants(phonon)
    supercell = atoms_of(phonon.supercell)
    chlorine = phonon.supercell.numbers == 17
    # In the polar mode of the cubic crystal the ions move against each other; this is its force constant.
    stiffness = _CHARGE**2 / (VACUUM_PERMITTIVITY * phonon.primitive.volume * (_STATIC - _EPSILON_INF))
    of_dipoles = -dipoles[0, chlorine, 0, 0].sum()
    along = (stiffness - of_dipoles) / (2.0 + 4.0 * _ACROSS)
    phonon.force_constants = dipoles + nearest_neighbour_springs(supercell, along, _ACROSS * along)
    return phonon


def dipole_force_constants(phonon: Phonopy) -> Float[np.ndarray, "supercell supercell 3 3"]:
    """Compute the part of the force constants of a supercell that phonopy attributes to the ions' dipoles.

    By the method of Gonze and Lee (Phys. Rev. B 55, 10355 (1997)) phonopy subtracts this part, interpolates
    the rest, and adds the part again at each wave vector. Force constants of springs alone do not contain it,
    and phonopy would subtract what was never there; with this part added they are complete. The dipoles are
    Gaussian clouds, since phonopy leaves out the real-space half of the Ewald sum.

    Args:
        phonon: A phonopy object with NAC parameters; it is not changed.

    Returns:
        Force constants [atom, atom, direction, direction], in eV/Å² if phonopy's calculator has eV and Å.
    """
    atoms = len(phonon.supercell)
    none = np.zeros((atoms, atoms, 3, 3))
    matrix = DynamicalMatrixGL(phonon.supercell, phonon.primitive, none, nac_params=phonon.nac_params)
    matrix.make_Gonze_nac_dataset()
    return none - np.asarray(matrix.short_range_force_constants)
