"""NAC parameters for phonopy: Born charges in its order of atoms, and eps_inf, both symmetrised."""

import warnings

import numpy as np
from ase import Atoms
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import NacParams
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.symmetry import symmetrize_borns_and_epsilon

from equivar_jax.io.phonopy_born import SYMMETRY_TOLERANCE
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of, require_right_handed
from equivar_jax.structures import LARGEST_ASYMMETRY, check_tensors


class BrokenSymmetryWarning(UserWarning):
    """Warns that tensors are far from the symmetry of their crystal, or from the sum rule."""


class ChargedCellWarning(UserWarning):
    """Warns that phonopy makes the tensors of a charged cell neutral."""


def nac_params(
    crystal: Atoms | Phonopy,
    born_effective_charges: Float[np.ndarray, "atoms 3 3"],
    epsilon_inf: Float[np.ndarray, "3 3"],
    charge: float = 0.0,
) -> NacParams:
    """Make phonopy's parameters of the non-analytical term (NAC) from tensors.

    phonopy imposes the symmetry of the crystal and the sum rule. If that changes the tensors much, a
    `BrokenSymmetryWarning` is given. phonopy's sum rule is that of a neutral cell: in one of charge Q it
    takes Q/N off the diagonal of every atom's tensor, of which a `ChargedCellWarning` tells.

    Args:
        crystal: A structure, for whose primitive cell phonopy's "auto" is taken, or a phonopy object.
        born_effective_charges: Z of the atoms of the structure, or of phonopy's unit cell, in their order;
            [atom, field, displacement] in e.
        epsilon_inf: Electronic dielectric tensor, dimensionless.
        charge: Net charge Q of phonopy's unit cell in e; of a structure, that in its info comes first.

    Returns:
        A value for `Phonopy.nac_params`: `born`, the tensors of the atoms of phonopy's primitive cell in its
        order, float64 [atom, field, displacement] in e; `dielectric`; `factor`, e²/(4 pi eps0) in the units
        of phonopy's calculator.

    Raises:
        InputError: Tensors have another shape or are not finite, or the structure is not a crystal, or the
            lattice vectors of a phonopy object are left-handed.
    """
    phonon = phonon_of(crystal) if isinstance(crystal, Atoms) else crystal
    require_right_handed(phonon)
    tensors = check_tensors(born_effective_charges, atoms_of(phonon.unitcell))
    if isinstance(crystal, Atoms):
        charge = float(crystal.info.get("charge", charge))
    excess = charge / len(tensors)
    if excess:
        message = (
            f"{phonon.unitcell.formula}: a cell of charge {charge:g} e: phonopy's sum rule is that of a "
            f"neutral one and takes Q/N = {excess:.3g} e off the diagonal of every atom's tensor; the LO-TO "
            "splitting is that of the neutralised cell"
        )
        warnings.warn(message, ChargedCellWarning, stacklevel=2)
        tensors = tensors - excess * np.eye(3)
    born, dielectric = _symmetrise(phonon, tensors, epsilon_inf, primitive=phonon.primitive)
    moved, moved_epsilon = symmetry_change(phonon, tensors), float(np.abs(dielectric - epsilon_inf).max())
    where = f"{phonon.unitcell.formula}: symmetry"
    if moved > SYMMETRY_TOLERANCE:
        message = (
            f"{where} and sum rule change the Born effective charges by up to {moved:.3f} e (more than "
            f"{SYMMETRY_TOLERANCE} e); structure and tensors may not belong together"
        )
        warnings.warn(message, BrokenSymmetryWarning, stacklevel=2)
    if moved_epsilon > LARGEST_ASYMMETRY * np.abs(epsilon_inf).max():
        message = (
            f"{where} changes the dielectric tensor by up to {moved_epsilon:.3f}; structure and tensor may "
            "not belong together"
        )
        warnings.warn(message, BrokenSymmetryWarning, stacklevel=2)
    factor = get_calculator_physical_units(phonon.calculator).nac_factor
    return {"born": born, "dielectric": dielectric, "factor": factor}


def symmetry_change(phonon: Phonopy, born_effective_charges: Float[np.ndarray, "atoms 3 3"]) -> float:
    """Compute how far phonopy moves a component, at most, to impose symmetry and the sum rule; in e.

    Args:
        phonon: The phonopy object.
        born_effective_charges: Z of the atoms of its unit cell, [atom, field, displacement] in e.
    """
    tensors = check_tensors(born_effective_charges, atoms_of(phonon.unitcell))
    symmetric, _ = _symmetrise(phonon, tensors, np.eye(3))
    return float(np.abs(symmetric - tensors).max())


def _symmetrise(phonon: Phonopy, tensors: np.ndarray, epsilon: np.ndarray, **choice) -> tuple:
    """Symmetrise by phonopy without its warning, in place of which callers measure the change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return symmetrize_borns_and_epsilon(tensors, epsilon, phonon.unitcell, **choice)
