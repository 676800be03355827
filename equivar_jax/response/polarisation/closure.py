"""Integrals of Born effective charges around closed paths, which are zero if there is a polarisation.

If Z are the derivatives of a polarisation P, `V dP_a = sum_i Z[i, a, b] du_i,b` is an exact differential:
around a closed path in one cell, on which no atom is carried through the crystal, its integral is zero.
Tensors that are predicted each by itself obey that only as far as they are right: by Stokes' theorem the
integral is that of the curl `dZ[i, a, b] / du_j,c - dZ[j, a, c] / du_i,b` over the area inside.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.response.polarisation.displacements import (
    LARGEST_STEP,
    changed_cell,
    check_frames,
    displacements_along,
)
from equivar_jax.structures import source

SPACING = 0.05
"""In Å: points of the integral are no farther apart along the path of any atom. The radial functions of a
network are some three times as wide."""
FLAT = 1e-9
"""Area over the square of the length of a loop, below which it encloses nothing."""

ManyCharges = Callable[[Sequence[Atoms]], Sequence[Float[np.ndarray, "_atoms 3 3"]]]
"""Function of structures that returns Z of each in e, [atom, field, displacement]."""


class Closure(NamedTuple):
    """The integral of Z around a loop."""

    dipole: Float[np.ndarray, "3"]
    """`sum_i integral Z_i du_i` in e Å, Cartesian components."""
    rule_error: float
    """Estimate of the error of the integration in e Å: how far two rules differ, largest component."""
    length: float
    """Length of the loop in Å, in the space of the coordinates of all atoms."""
    area: float
    """Area in Å² in that space, `|integral u x du| / 2` with the norm of the antisymmetric matrix."""

    @property
    def is_flat(self) -> bool:
        """Whether the loop encloses no area, as there and back on a line, so that any Z would close."""
        return self.area <= FLAT * self.length**2


def integrate_loop(
    frames: Sequence[Atoms], charges: ManyCharges, largest_step: float = LARGEST_STEP
) -> Closure:
    """Integrate Z along straight lines from frame to frame, and from the last one back to the first.

    Each line has Gauss-Legendre points at most `SPACING` apart, so that the error of the integration is far
    below what a network leaves open.

    Args:
        frames: The path, which need not be closed: neutral, periodic in three directions, in one cell, the
            same atoms in the same order.
        charges: Z of many structures.
        largest_step: How far an atom may move between frames, as a fraction of each cell vector.

    Raises:
        InputError: The frames are no path of a neutral crystal, the cell changes, an atom ends in another
        cell than it began in, a step is too long to be
            followed, or a structure between frames cannot be used.
    """
    check_frames(frames)
    if (changed := changed_cell(frames)) is not None:
        raise InputError(
            f"{source(changed)}: another cell than that of {source(frames[0])}; Born charges do not have the "
            "part of a strain, so that a loop through other cells need not close; give frames of one cell"
        )
    moved = displacements_along(frames, largest_step)
    _check_winding(frames, moved[-1])
    corners = np.concatenate([moved, moved[:1]])
    steps = np.diff(corners, axis=0)
    longest = float(np.linalg.norm(steps, axis=2).max())
    points = max(3, math.ceil(longest / SPACING))
    coarse, fine = (_integral(frames[0], corners, charges, rule) for rule in (points, points + 2))
    flat = corners.reshape(len(corners), -1)
    turning = np.einsum("km,kn->mn", flat[:-1], np.diff(flat, axis=0))
    return Closure(
        dipole=fine,
        rule_error=float(np.abs(fine - coarse).max()),
        length=float(np.sum(np.linalg.norm(steps, axis=(1, 2)))),
        # The matrix has each area twice, with both signs.
        area=float(np.linalg.norm(turning - turning.T) / 2 / math.sqrt(2)),
    )


def _integral(
    first: Atoms, corners: Float[np.ndarray, "corners atoms 3"], charges: ManyCharges, points: int
) -> Float[np.ndarray, "3"]:
    """Integrate Z along straight lines through corners, given as displacements from the first frame in Å."""
    nodes, weights = np.polynomial.legendre.leggauss(points)
    steps = np.diff(corners, axis=0)
    structures = []
    for corner, step in zip(corners[:-1], steps, strict=True):
        for share in (nodes + 1) / 2:
            atoms = first.copy()
            atoms.calc = None
            atoms.positions += corner + share * step
            structures.append(atoms)
    tensors = np.reshape(charges(structures), (len(steps), points, len(first), 3, 3))
    return np.einsum("p,kpiab,kib->a", weights / 2, tensors, steps)


def _check_winding(frames: Sequence[Atoms], moved: Float[np.ndarray, "atoms 3"]) -> None:
    """Refuse a path that is closed but for atoms that end in another cell than they began in."""
    cells = np.round(np.linalg.solve(frames[0].cell.array.T, moved.T).T)
    carried = np.flatnonzero(cells.any(axis=1))
    if len(carried):
        raise InputError(
            f"{source(frames[-1])}: atom {carried[0]} ends {cells[carried[0]].astype(int).tolist()} cells "
            "away from where it began; such a path does not close, since it carries charge through the "
            "crystal; leave out --closure, or the frames in which the atom leaves"
        )
