"""Rate of change of the dipole along a trajectory, and the temperature of its motion."""

import itertools
from collections.abc import Sequence

import numpy as np
from ase import Atoms, units
from ase.geometry import find_mic
from jaxtyping import Float

from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.errors import InputError
from equivar_jax.response.optics.spectra import DipoleRates
from equivar_jax.structures import labels_of, source


def dipole_rates(
    frames: Sequence[Atoms], timestep: float, charges: Charges = labels_of, every: int = 1
) -> DipoleRates:
    """Compute the rate of change of the dipole along a trajectory, `J(t) = sum_i Z_i(t) v_i(t)`.

    The velocities are those of the frames. If no frame has velocities, the rates are means over the steps
    between frames: `Z` in the middle of the step times the displacement during it, over the time. An atom
    that crosses the boundary of the cell is followed into the next image.

    Args:
        frames: The same atoms in the same order, equally spaced in time.
        timestep: Time between frames in fs.
        charges: Born effective charges of a frame; by default its label.
        every: The charges are computed for every `every`-th frame and interpolated linearly in between.

    Returns:
        One value for each frame, or, from positions only, one for each step between frames.

    Raises:
        InputError: There are fewer than two frames, frames do not belong together, only some have velocities,
            the time step is not positive, or tensors have a wrong shape.
    """
    _check_frames(frames, timestep, every)
    last = len(frames) - 1
    moving = [bool(atoms.get_momenta().any()) for atoms in frames]
    if any(moving) and not all(moving):
        raise InputError(
            f"{source(frames[moving.index(False)])}: no velocities, as other frames have; give them for "
            "all frames or for none"
        )
    averaged, tensors_of = not any(moving), make_charge_function(charges)
    rates = np.zeros((last if averaged else last + 1, 3))
    following = tensors_of(frames[0])
    for start, stop in itertools.pairwise([*range(0, last, every), last]):
        previous, following = following, tensors_of(frames[stop])
        for step in range(start, stop):
            share = (step + 0.5 * averaged - start) / (stop - start)
            motion = _displacements(*frames[step : step + 2]) if averaged else frames[step].get_velocities()
            rates[step] = _contract((1 - share) * previous + share * following, motion)
    interval = timestep * units.fs
    if averaged:
        return DipoleRates(rates / interval, interval, averaged=True)
    rates[last] = _contract(following, frames[last].get_velocities())
    return DipoleRates(rates, interval)


def mean_temperature(frames: Sequence[Atoms]) -> float:
    """Compute the temperature T of the motion about the centre of mass.

    The mean kinetic energy of that motion is `3 (N - 1) k T / 2`.

    Args:
        frames: Frames of a trajectory, with velocities.

    Returns:
        The temperature in K.

    Raises:
        InputError: The frames have no velocities, or a single atom.
    """
    masses = frames[0].get_masses()
    twice_kinetic = 0.0
    for atoms in frames:
        velocities = atoms.get_velocities()
        relative = velocities - masses @ velocities / masses.sum()
        twice_kinetic += float(np.sum(masses[:, None] * relative**2)) / len(frames)
    if not twice_kinetic > 0:
        raise InputError(
            f"{source(frames[0])}: no velocities to take the temperature from; give --temperature"
        )
    return twice_kinetic / (3 * (len(masses) - 1) * units.kB)


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


def _displacements(first: Atoms, second: Atoms) -> Float[np.ndarray, "atoms 3"]:
    """Return the displacements from one frame to the next in Å, those of the nearest images."""
    return find_mic(second.positions - first.positions, second.cell, second.pbc)[0]


def _contract(
    tensors: Float[np.ndarray, "atoms 3 3"], motion: Float[np.ndarray, "atoms 3"]
) -> Float[np.ndarray, "3"]:
    """Compute the dipole that a motion of the atoms makes."""
    return np.einsum("iab,ib->a", tensors, motion)
