"""Rate of change of the dipole along a trajectory."""

import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from jaxtyping import Float

from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.calculators.polarised import DipoleFunction, make_dipole_function
from equivar_jax.errors import InputError
from equivar_jax.response.optics.motion import displacements, have_velocities, warn_of_contradiction
from equivar_jax.response.optics.spectra import DipoleRates
from equivar_jax.structures import labels_of, source


def dipole_rates(
    frames: Sequence[Atoms], timestep: float, charges: Charges = labels_of, every: int = 1
) -> DipoleRates:
    """Compute the rate of change J of the dipole M along a trajectory.

    With velocities `J(t) = sum_i Z_i(t) v_i(t)`, also where a network gives M itself: this is exact at the
    time of each frame, while a difference of M would only be the mean over a step, weakened at high
    frequencies.

    The velocities are those of the frames; if they contradict positions and time step, a `MotionWarning` is
    given.

    If no frame has velocities, the rates are means over the steps between frames. A network of the form
    "polarisation" gives them exactly, `(M' - M) / dt` with `M = V P` (in one cell, with `every=1`). Else they
    are `Z` in the middle of the step times the displacement during it, over the time. An atom that crosses
    the boundary of the cell is followed into the next image, and the strain of a cell that changes is no
    displacement (see `motion.displacements`).

    Args:
        frames: The same atoms in the same order, equally spaced in time.
        timestep: Time between frames in fs.
        charges: Born effective charges of a frame; by default its label.
        every: The charges are computed for every `every`-th frame and interpolated linearly in between.

    Returns:
        One value for each frame, or, from positions only, one for each step between frames.

    Raises:
        InputError: There are fewer than two frames, frames do not belong together, a later one has no
            velocities although others have, the time step is not positive, or tensors have a wrong shape.
    """
    _check_frames(frames, timestep, every)
    last = len(frames) - 1
    averaged = not have_velocities(frames)
    if averaged and every == 1 and (dipole_of := make_dipole_function(charges)) and _in_one_cell(frames):
        return _differences(frames, timestep * units.fs, dipole_of)
    tensors_of = make_charge_function(charges)
    if not averaged:
        warn_of_contradiction(frames, timestep)
    rates = np.zeros((last if averaged else last + 1, 3))
    following = tensors_of(frames[0])
    for start, stop in itertools.pairwise([*range(0, last, every), last]):
        previous, following = following, tensors_of(frames[stop])
        for step in range(start, stop):
            share = (step + 0.5 * averaged - start) / (stop - start)
            motion = displacements(*frames[step : step + 2]) if averaged else frames[step].get_velocities()
            rates[step] = _contract((1 - share) * previous + share * following, motion)
    interval = timestep * units.fs
    if averaged:
        return DipoleRates(rates / interval, interval, averaged=True)
    rates[last] = _contract(following, frames[last].get_velocities())
    return DipoleRates(rates, interval)


def _differences(frames: Sequence[Atoms], interval: float, dipole_of: DipoleFunction) -> DipoleRates:
    """Compute the mean rate over each step from the dipoles at its ends.

    Args:
        frames: Frames in one cell.
        interval: Time between them in ASE's unit.
        dipole_of: See `DipoleFunction`.
    """
    moved = np.zeros((len(frames[0]), 3))
    dipoles = [dipole_of(frames[0], moved)]
    for first, second in itertools.pairwise(frames):
        moved = moved + displacements(first, second)
        dipoles.append(dipole_of(second, moved))
    return DipoleRates(np.diff(dipoles, axis=0) / interval, interval, averaged=True)


def _in_one_cell(frames: Sequence[Atoms]) -> bool:
    """Return whether all frames have the cell of the first: polarisations of two cells do not compare."""
    return all(np.array_equal(atoms.cell.array, frames[0].cell.array) for atoms in frames)


def _check_frames(frames: Sequence[Atoms], timestep: float, every: int) -> None:
    """Check that the frames form a trajectory."""
    if len(frames) < 2:
        where = source(frames[0]) if frames else "the trajectory"
        raise InputError(
            f"{where}: {len(frames)} frames, a spectrum needs a trajectory; give one with thousands of frames"
        )
    if not (np.isfinite(timestep) and timestep > 0) or every < 1:
        raise InputError(
            f"a time step of {timestep} fs and charges every {every} frames; both must be positive"
        )
    for atoms in frames:
        if not np.array_equal(atoms.numbers, frames[0].numbers) or (atoms.pbc != frames[0].pbc).any():
            raise InputError(
                f"{source(atoms)}: other atoms than in the first frame; give frames of one trajectory"
            )


def _contract(
    tensors: Float[np.ndarray, "atoms 3 3"], motion: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, "3"]:
    """Compute the dipole that a motion of the atoms makes."""
    return np.einsum("iab,ib->a", tensors, motion)
