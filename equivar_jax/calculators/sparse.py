"""`SparseCharges`: charges at every k-th step of a trajectory, held or continued along a line in between."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError


class Calculated(NamedTuple):
    """Charges that were calculated at a step."""

    step: int
    tensors: Float[np.ndarray, "atoms 3 3"]


class SparseCharges:
    """Charges of a trajectory that are calculated at the steps that are multiples of `every`.

    At the steps between they are those of the last calculation, or continue the line through the last two,

        Z(s) = Z(b) + (Z(b) - Z(a)) (s - b) / (b - a),        a < b < s,

    which obeys the sum rule as they do. A calculation is made for the first step of a trajectory, too.

    Args:
        tensors_of: Function of atoms to tensors in e, [atom, field, displacement].
        every: Number of steps from one calculation to the next.
        extrapolate: Continue the line; the first interval of a trajectory is held.

    Raises:
        InputError: `every` is no positive number.
    """

    def __init__(
        self, tensors_of: Callable[[Atoms], Float[np.ndarray, "atoms 3 3"]], every: int, extrapolate: bool
    ):
        if every < 1:
            raise InputError(f"charges every {every} steps are not possible; give every=1 or more")
        self.every = every
        self.extrapolate = extrapolate
        self.known: list[Calculated] = []
        """The last calculations, the older one first; at most two."""
        self._tensors_of = tensors_of

    def forget(self) -> None:
        """Begin a new trajectory: calculate anew at the next step, whichever it is."""
        self.known = []

    def at(self, step: int, atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
        """Return the charges at a step, [atom, field, displacement] in e.

        Args:
            step: Number of the step, not smaller than that of the last call.
            atoms: The structure at that step.
        """
        if not self.known or step % self.every == 0:
            earlier = [each for each in self.known if each.step < step]
            self.known = [*earlier[-1:], Calculated(step, self._tensors_of(atoms))]
        newest = self.known[-1]
        if not self.extrapolate or len(self.known) < 2 or step == newest.step:
            return newest.tensors
        older = self.known[0]
        share = (step - newest.step) / (newest.step - older.step)
        return newest.tensors + share * (newest.tensors - older.tensors)
