"""The polarisation of atoms that move in a field."""

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.calculators.field import FieldCalculator
from equivar_jax.response.polarisation.path import Method, PolarisationTracker
from equivar_jax.structures import BEC

MAX_STEP = 0.02
"""Largest step of an atom in a relaxation, in Å. Wells are farther apart, so that none is skipped."""


class Follower:
    """Knows the change of polarisation of atoms that move in a field, since it was made.

    It is the network's own where the calculator has it and the cell stands still; else Z is integrated,
    without rigid translations, and in a cell that moves without what a strain does to the electrons (see
    `path.polarisation_step`).

    Args:
        atoms: The atoms, which move.
        calculator: Theirs.
        before: P - P(start) in e/Å² that they have already.
        cell_moves: Whether their cell moves, too.
    """

    def __init__(
        self,
        atoms: Atoms,
        calculator: FieldCalculator,
        before: Float[np.ndarray, "3"] | None = None,
        cell_moves: bool = False,
    ):
        self._before = np.zeros(3) if before is None else before
        self._atoms, self._calculator, self._volume = atoms, calculator, atoms.get_volume()
        self._tracker = PolarisationTracker(atoms, calculator.get_property(BEC, atoms))
        self.method: Method = "network" if calculator.has_polarisation and not cell_moves else "integral"
        self.change = self._before.copy()
        """P - P(start) in e/Å², Cartesian components."""

    def advance(self) -> Float[np.ndarray, "3"]:
        """Take the present configuration into account, and return `change`."""
        if self.method == "network":
            self._calculator.get_property(BEC, self._atoms)
            self.change = self._before + self._calculator.dipole_change / self._volume
        else:
            step = self._tracker.advance(self._atoms, self._calculator.results[BEC])
            self.change = self._before + step
        return self.change
