"""A model of sodium chloride: springs and dipoles, with the exact LO-TO splitting of its charges."""

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
"""Spring constant across the bond over that along it: small, as for ions that repel by contact."""


def sodium_chloride(repeat: int = 2) -> Phonopy:
    """NaCl with force constants of a supercell, and with its charges set.

    The force constants are those of springs between nearest neighbours, plus the dipole-dipole part that
    phonopy takes off before it interpolates (`dipole_force_constants`). As in force constants from DFT the
    dipoles are in it, and what phonopy interpolates is exactly the springs. They are as stiff as the static
    dielectric constant asks for, of one polar mode:

        omega_TO² = Z² e² / (eps0 V mu (eps_static - eps_inf)).

    Args:
        repeat: The supercell is so many primitive cells along each axis.
    """
    phonon = phonon_of(rock_salt("NaCl", _LATTICE_CONSTANT, cubic=False), (repeat,) * 3, "P")
    charges = np.array([_CHARGE, -_CHARGE])[:, None, None] * np.eye(3)
    factor = get_calculator_physical_units(None).nac_factor
    phonon.nac_params = {"born": charges, "dielectric": _EPSILON_INF * np.eye(3), "factor": factor}
    dipoles = dipole_force_constants(phonon)
    supercell = atoms_of(phonon.supercell)
    chlorine = phonon.supercell.numbers == 17
    # A cubic crystal has one polar mode, the ions against each other, and one stiffness of it.
    stiffness = _CHARGE**2 / (VACUUM_PERMITTIVITY * phonon.primitive.volume * (_STATIC - _EPSILON_INF))
    of_dipoles = -dipoles[0, chlorine, 0, 0].sum()
    along = (stiffness - of_dipoles) / (2.0 + 4.0 * _ACROSS)
    phonon.force_constants = dipoles + nearest_neighbour_springs(supercell, along, _ACROSS * along)
    return phonon


def dipole_force_constants(phonon: Phonopy) -> Float[np.ndarray, "supercell supercell 3 3"]:
    """The part of the force constants of a supercell that phonopy attributes to the ions' dipoles.

    By the method of Gonze and Lee (Phys. Rev. B 55, 10355 (1997)) phonopy takes it off, interpolates the
    rest, and puts it back at each wave vector. Force constants of nothing but springs hold no such part:
    phonopy would take off what was never there. With this added they are whole. The dipoles are Gaussian
    clouds, since phonopy leaves out the real-space half of the Ewald sum.

    Args:
        phonon: phonopy's object with NAC parameters; it is left as it is.

    Returns:
        eV/Å² for a calculator of eV and Å, [atom, atom, direction, direction].
    """
    atoms = len(phonon.supercell)
    none = np.zeros((atoms, atoms, 3, 3))
    matrix = DynamicalMatrixGL(phonon.supercell, phonon.primitive, none, nac_params=phonon.nac_params)
    matrix.make_Gonze_nac_dataset()
    return none - np.asarray(matrix.short_range_force_constants)
