"""Errors of a committee on labelled data, with the pooled spread of its members."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from equivar_jax.uncertainty.fits import Components

BY_SYMMETRY = 1e-5
"""Spreads and components below this, in e, are zero by symmetry; they differ from zero by rounding only."""
OWN_SHARE = 0.5
"""Share of the component's own variance in the pooled one; the rest is the mean over its atom."""
AGREEMENT = 0.1
"""Spread of a component, relative to that of its atom, below which less of the atom's is pooled.

By chance, three members agree so well in one of a hundred components.
"""


def pool_spread(spread: Float[np.ndarray, "*any 3 3"]) -> Float[np.ndarray, "*any 3 3"]:
    """Pool the spread of a component with that of its atom.

    `s'² = s² / 2 + min(m, 10 s)² / 2`, where m² is the mean of s² over the nine components. The `min` keeps
    the spread zero where the members agree by symmetry, and it is continuous as a crystal is distorted.

    Args:
        spread: Standard deviation s of each component over the members, in e.

    Returns:
        The pooled spread s', in e.
    """
    of_atom = np.sqrt(np.mean(spread**2, axis=(-2, -1), keepdims=True))
    shared = np.minimum(of_atom, spread / AGREEMENT)
    return np.sqrt(OWN_SHARE * spread**2 + (1 - OWN_SHARE) * shared**2)


class Residuals(NamedTuple):
    """Errors and spreads of a committee on labelled data."""

    errors: Float[np.ndarray, "atoms 3 3"]
    """Prediction minus reference, in e."""
    spread: Float[np.ndarray, "atoms 3 3"]
    """Spread from `pool_spread`, in e."""
    counted: Bool[np.ndarray, "atoms 3 3"]
    """False for components that are zero by symmetry."""
    structure: Int[np.ndarray, " atoms"]
    """Number of the structure that an atom belongs to."""
    tensors: Float[np.ndarray, "atoms 3 3"]
    """Prediction, in e."""
    species: Int[np.ndarray, " atoms"] | None = None
    """Atomic numbers; None if they are not known."""
    distances: Float[np.ndarray, " atoms"] | None = None
    """Distances of the atoms from the training data; None if they are not known."""

    def select(self, chosen: Bool[np.ndarray, "atoms 3 3"]) -> Components:
        """Return chosen components, one after the other."""
        atoms = np.nonzero(chosen)[0]
        return Components(
            self.errors[chosen],
            self.spread[chosen],
            self.tensors[chosen],
            None if self.species is None else self.species[atoms],
            None if self.distances is None else self.distances[atoms],
        )
