"""A polarisable-ion crystal: its cell dipole, and the exact derivative of that dipole by every displacement.

The model makes the demonstration labels. It is not density-functional theory and fits no crystal exactly.

Ion i has a charge q_i, a polarisability alpha_i and a Gaussian width s_i (`ewald`). Its dipole m_i is induced
by the field of all charges and all other dipoles, solved self-consistently: `m_i = alpha_i (E_i + (T m)_i)`,
so that `m = A^-1 E` with the symmetric matrix `A = 1/alpha - T`. The macroscopic field is zero throughout.

The derivative of the cell dipole `P = sum_i (q_i r_i + m_i)` uses the adjoint `lambda_a = A^-1 (1 x e_a)`,
which is also the dipole of every ion in a uniform field along a:
`dP_a/du = q + lambda_a . (dE/du + dT/du m)`. The anomalous charges of Ti, Zr and the oxygens between them
come from the local field that the B–O–B chains of perovskites feed back into themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from equivar_jax.datasets.demonstration import ewald
from equivar_jax.datasets.demonstration.ewald_setup import LatticeSums, lattice_sums
from equivar_jax.errors import InputError
from equivar_jax.structures import check_structure, source

OXYGEN = 8


@dataclass(frozen=True)
class Ion:
    """The parameters of one element.

    Attributes:
        charge: static ionic charge, e.
        polarisability: alpha, Å³.
        damping_length: Gaussian width s of charge and dipole (Thole-like short-range damping), Å.
    """

    charge: float
    polarisability: float
    damping_length: float


# Charges are 0.875 of the formal ones. Polarisabilities and widths are effective: they were fitted to
# first-principles Born charges of cubic perovskites, ZrO2 and Li3PO4 and rounded, with one set for each
# element in all of them. The docstring of `dataset` lists the averages that they give.
DEMONSTRATION_MODEL: Mapping[str, Ion] = MappingProxyType(
    {
        "O": Ion(-1.75, 1.30, 0.82),
        "Ca": Ion(1.75, 1.25, 0.45),
        "Sr": Ion(1.75, 2.25, 0.86),
        "Ba": Ion(1.75, 3.70, 1.00),
        "Pb": Ion(1.75, 4.00, 0.66),
        "Ti": Ion(3.50, 0.65, 0.30),
        "Zr": Ion(3.50, 0.95, 0.62),
        "Hf": Ion(3.50, 1.05, 0.68),
        "Li": Ion(0.875, 0.012, 0.73),
        "P": Ion(4.375, 0.125, 1.00),
    }
)


class _Solution(NamedTuple):
    """Charges (e), total dipoles m (e Å) and the adjoint response lambda [atom, a, direction]."""

    charges: Float[np.ndarray, " atoms"]
    dipoles: Float[np.ndarray, "atoms 3"]
    response: Float[np.ndarray, "atoms 3 3"]
    sums: LatticeSums


def ionic_charges(
    atoms: Atoms, model: Mapping[str, Ion] = DEMONSTRATION_MODEL
) -> Float[np.ndarray, " atoms"]:
    """Return static charges that sum to zero, also in cells with vacancies.

    The charge that a vacancy leaves behind is placed where a real crystal would place it: missing positive
    charge (a cation vacancy) as holes spread evenly over the oxygens, missing negative charge (an oxygen
    vacancy) as electrons spread evenly over the cations. The charges depend only on the composition, not on
    the positions.

    Args:
        atoms: the structure.
        model: parameters by element.

    Returns:
        Charge of each atom, e.

    Raises:
        InputError: an element has no parameters, or a charged cell has only cations or only oxygens.
    """
    ions = _ions(atoms, model)
    charges = np.array([ion.charge for ion in ions], dtype=np.float64)
    excess = charges.sum()
    anion = atoms.numbers == OXYGEN
    takers = anion if excess < 0.0 else ~anion
    if abs(excess) > 1e-12 and (anion.all() or not anion.any()):
        raise InputError(
            f"{source(atoms)}: net charge {excess:+.2f} e, but no ions of both signs to compensate it; "
            "give a compound of oxygen"
        )
    charges[takers] -= excess / takers.sum()
    # A second pass removes the rounding of the first, so that the sum rule holds to the last digits.
    return charges - charges.mean()


def cell_dipole(atoms: Atoms, model: Mapping[str, Ion] = DEMONSTRATION_MODEL) -> Float[np.ndarray, "3"]:
    """Return the dipole of the cell, `P = sum_i q_i r_i + sum_i m_i`, e Å.

    Branch: r_i are the Cartesian positions as given, never wrapped, so P is a smooth function of them and may
    be differentiated by finite differences. Moving one ion by a lattice vector R changes P by its quantum
    `q_i R`. The cell is neutral, so P does not depend on the origin.

    Args:
        atoms: fully periodic structure.
        model: parameters by element.

    Returns:
        Cell dipole [direction], e Å.

    Raises:
        InputError: see `born_effective_charges`.
    """
    solution = _solve(atoms, model)
    return solution.charges @ atoms.positions + solution.dipoles.sum(axis=0)


def born_effective_charges(
    atoms: Atoms, model: Mapping[str, Ion] = DEMONSTRATION_MODEL
) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the Born effective charges of the polarisable-ion model, `Z[i, a, b] = dP_a / du_{i,b}`.

    Args:
        atoms: fully periodic structure.
        model: parameters by element.

    Returns:
        Tensors in e, index order [atom, a = field (polarisation), b = displacement]; they sum to zero over
        the atoms.

    Raises:
        InputError: the structure is not periodic in all directions, an element has no parameters, or ions are
            so close that the induced dipoles diverge.
    """
    solution = _solve(atoms, model)
    tensors = ewald.adjoint_gradient(solution.sums, solution.response, solution.charges, solution.dipoles)
    return tensors + solution.charges[:, None, None] * np.eye(3)


def stability(atoms: Atoms, model: Mapping[str, Ion] = DEMONSTRATION_MODEL) -> float:
    """Return the smallest eigenvalue of `1 - alpha^(1/2) T alpha^(1/2)`, the stability of the dipoles.

    At zero the dipoles diverge. Scaling by the polarisabilities makes ions of different size comparable: an
    isolated ion has the value 1.

    Args:
        atoms: fully periodic structure.
        model: parameters by element.

    Returns:
        The smallest eigenvalue, dimensionless; positive where the model is stable.
    """
    ions = _ions(atoms, model)
    root = np.repeat(np.sqrt([ion.polarisability for ion in ions]), 3)
    tensor = ewald.dipole_tensor(_sums(atoms, ions))
    return float(np.linalg.eigvalsh(np.eye(len(root)) - root[:, None] * tensor * root).min())


def _solve(atoms: Atoms, model: Mapping[str, Ion]) -> _Solution:
    """Return the charges, self-consistent dipoles and adjoint response of a structure."""
    check_structure(atoms)
    if not atoms.pbc.all():
        raise InputError(f"{source(atoms)}: not periodic in all three directions; give a bulk crystal")
    ions = _ions(atoms, model)
    sums = _sums(atoms, ions)
    charges = ionic_charges(atoms, model)
    stiffness = np.array([1.0 / ion.polarisability for ion in ions])
    matrix = np.diag(np.repeat(stiffness, 3)) - ewald.dipole_tensor(sums)
    field = ewald.field_of_charges(sums, charges)
    uniform = np.tile(np.eye(3), (len(atoms), 1))
    try:
        factor = cho_factor(matrix, lower=True, check_finite=False)
    except LinAlgError:
        raise InputError(
            f"{source(atoms)}: the induced dipoles diverge (1/alpha - T is not positive definite); "
            "move apart the ions that overlap"
        ) from None
    solved = cho_solve(factor, np.column_stack([field.reshape(-1), uniform]), check_finite=False)
    return _Solution(
        charges=charges,
        dipoles=solved[:, 0].reshape(-1, 3),
        response=solved[:, 1:].reshape(-1, 3, 3).transpose(0, 2, 1).copy(),
        sums=sums,
    )


def _ions(atoms: Atoms, model: Mapping[str, Ion]) -> list[Ion]:
    """Return the parameters of each atom."""
    symbols = atoms.get_chemical_symbols()
    unknown = sorted(set(symbols) - set(model))
    if unknown:
        raise InputError(
            f"{source(atoms)}: the polarisable-ion model has no parameters for {', '.join(unknown)}; "
            f"it knows {', '.join(sorted(model))}"
        )
    return [model[symbol] for symbol in symbols]


def _sums(atoms: Atoms, ions: list[Ion]) -> LatticeSums:
    """Prepare the structure for Ewald sums."""
    widths = np.array([ion.damping_length for ion in ions])
    return lattice_sums(atoms.positions, atoms.cell.array, widths)
