"""Dipoles of cells from networks in the form of a polarisation.

    V P_a = sum_i mu_i,a(x) + q_i u_i,a,        Z[i, a, b] = V dP_a / du_i,b

V P is up to a constant, so that differences of configurations of one crystal are meaningful. They are the
integrals of Z along any path between them. `equivar_jax.prediction.polarisation` derives what is determined.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.prediction.abilities import why_no_polarisation
from equivar_jax.prediction.polarisation import atomic_charges, dipoles_of_atoms
from equivar_jax.prediction.predictor import Predictor

DipoleFunction = Callable[[Atoms, Float[np.ndarray, "atoms 3"]], Float[np.ndarray, "3"]]
"""A function of atoms, and of how far each has moved in Å, that returns V P in e Å up to a constant."""


@runtime_checkable
class Polarised(Protocol):
    """What gives a polarisation besides the tensors, its derivatives, such as `EquivarCalculator`."""

    @property
    def why_no_polarisation(self) -> str | None:
        """The reason for which there is none after all; None if there is one."""

    def cell_dipole(
        self, atoms: Atoms, displacements: Float[np.ndarray, "atoms 3"]
    ) -> Float[np.ndarray, "3"]:
        """Compute V P in e Å up to a constant; arguments are those of `dipole_of_cell`."""


def make_dipole_function(charges: object) -> DipoleFunction | None:
    """Make a function that returns the dipole V P of a cell, whose derivatives are the tensors of `charges`.

    Args:
        charges: A source of tensors: `EquivarCalculator`, `Predictor`, or the method `Predictor.predict`.

    Returns:
        The function; None if the source knows nothing but tensors.
    """
    if (predictor := network_of(charges)) is not None:
        if why_no_polarisation(predictor.config) is None:
            return functools.partial(_dipole_of_one, predictor)
    elif isinstance(charges, Polarised) and charges.why_no_polarisation is None:
        return charges.cell_dipole
    return None


def network_of(charges: object) -> Predictor | None:
    """Return the network whose tensors are predicted, for `Predictor` itself and its method `predict`."""
    owner = getattr(charges, "__self__", None)
    found = owner if isinstance(owner, Predictor) and charges == owner.predict else charges
    return found if isinstance(found, Predictor) else None


def dipoles_of_cells(
    predictor: Predictor,
    structures: Sequence[Atoms],
    displacements: Sequence[Float[np.ndarray, "_atoms 3"]],
    allow_unseen: bool = False,
) -> Float[np.ndarray, "structures 3"]:
    """Compute V P of many configurations of one crystal in batches; of a committee the mean.

    Args:
        predictor: A network in the form of a polarisation, or a committee.
        structures: The configurations.
        displacements: See `dipole_of_cell`.
        allow_unseen: Only warn about elements that did not occur in the training data.

    Returns:
        V P in e Å, up to a constant.

    Raises:
        InputError: the network gives tensors directly, or `Predictor.predict` would refuse a structure.
    """
    atomic = dipoles_of_atoms(predictor, structures, allow_unseen)
    parts = zip(structures, atomic, displacements, strict=True)
    return np.array([dipole_of_cell(predictor, *each) for each in parts])


def dipole_of_cell(
    predictor: Predictor,
    atoms: Atoms,
    dipoles: Float[np.ndarray, "members atoms 3"],
    displacements: Float[np.ndarray, "atoms 3"],
) -> Float[np.ndarray, "3"]:
    """Put together V P of a cell; of a committee the mean.

    Args:
        predictor: The network.
        atoms: The structure.
        dipoles: mu in e Å as `Predictor.dipoles_of_samples` returns them.
        displacements: u in Å, from places that are the same for all configurations to compare. An atom that
            left its cell is followed out of it, wherever the structure has it.

    Returns:
        V P in e Å, up to a constant.
    """
    each = dipoles.sum(axis=1) + atomic_charges(predictor, atoms) @ displacements
    return each.mean(axis=0)


def _dipole_of_one(
    predictor: Predictor, atoms: Atoms, displacements: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, "3"]:
    return dipoles_of_cells(predictor, [atoms], [displacements])[0]
