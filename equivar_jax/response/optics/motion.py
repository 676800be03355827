"""Motion of the atoms along a trajectory: displacements, velocities, and their temperature."""

import warnings
from collections.abc import Sequence

import numpy as np
import scipy.linalg
from ase import Atoms, units
from ase.cell import Cell
from ase.constraints import FixAtoms
from ase.geometry import find_mic
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.structures import source

_COMPARED = 200
"""Steps, evenly spread over the trajectory, in which displacements and velocities are compared."""
_SHORTEST, _FARTHEST = 0.5, 1.25
"""Displacements over velocities times the time step, both as root mean squares. A vibration of frequency
omega has `sin(x) / x` with x = omega dt / 2: from 1 to 0.64 where the frames resolve it."""
_UNRELATED = 0.3
"""Correlation of displacements and velocities below which they are not of one motion."""
_COLDEST, _HOTTEST = 0.2, 5.0
"""The same for the temperature that displacements have, over the temperature that is given."""


class MotionWarning(UserWarning):
    """Warns that positions, velocities, time step and temperature of a trajectory contradict each other."""


def displacements(first: Atoms, second: Atoms) -> Float[np.ndarray, "atoms 3"]:
    """Return the displacements from one frame to the next in Å, those of the nearest images.

    If the cell changes, they are the changes of the fractional coordinates times the mean of both cells, as
    in `response.polarisation`: an atom that follows the cell does not move, whichever of its images it is.
    """
    moved = second.positions - first.positions
    if (first.cell.array != second.cell.array).any():
        here, there = _periodic_cell(first), _periodic_cell(second)
        mean = (here.array + there.array) / 2
        moved = (there.scaled_positions(second.positions) - here.scaled_positions(first.positions)) @ mean
        return find_mic(moved, mean, second.pbc)[0]
    return find_mic(moved, second.cell, second.pbc)[0]


def have_velocities(frames: Sequence[Atoms]) -> bool:
    """Return whether the frames have velocities. The first one may be at rest, with zeros or without any.

    Raises:
        InputError: A later frame has no velocities, but others have.
    """
    if not any(atoms.get_momenta().any() for atoms in frames):
        return False
    for atoms in frames[1:]:
        if not atoms.has("momenta"):
            raise InputError(
                f"{source(atoms)}: no velocities, as other frames have; give them for all frames or for none"
            )
    return True


def warn_of_contradiction(frames: Sequence[Atoms], timestep: float) -> None:
    """Warn if the atoms do not move as their velocities and the time step say.

    Args:
        frames: Frames with velocities, at least two.
        timestep: Time between them in fs.
    """
    steps = np.unique(np.linspace(0, len(frames) - 2, _COMPARED).astype(int))
    pairs = [(frames[step], frames[step + 1]) for step in steps]
    moved = np.array([displacements(*pair) for pair in pairs])
    ends = np.array([[atoms.get_velocities() for atoms in pair] for pair in pairs]) * timestep * units.fs
    length, expected = _rms(moved), _rms(ends)
    where = f"{source(frames[0])} and following: between frames the atoms move"
    if not _SHORTEST * expected <= length <= _FARTHEST * expected:
        warnings.warn(
            f"{where} {length / expected:.4g} times as far as their velocities make them in {timestep:g} fs; "
            "check --timestep, which is that between frames, and the unit of the velocities (LAMMPS has Å/fs "
            "in units real, which is read as Å/ps); or the frames are too far apart",
            MotionWarning,
            stacklevel=2,
        )
        return
    mean = ends.mean(axis=1)
    agreement = np.sum(moved * mean) / max(length * _rms(mean) * moved.size, np.finfo(float).tiny)
    if agreement < _UNRELATED:
        warnings.warn(
            f"{where} elsewhere than along their velocities (correlation {agreement:.2f}); check that both "
            "are in the same order and of the same frames",
            MotionWarning,
            stacklevel=2,
        )


def warn_of_other_temperature(frames: Sequence[Atoms], timestep: float, temperature: float) -> None:
    """Warn if displacements in the time step belong to quite another temperature.

    Args:
        frames: Frames without velocities, at least two.
        timestep: Time between them in fs.
        temperature: Temperature in K that the spectrum is computed with.
    """
    steps = np.unique(np.linspace(0, len(frames) - 2, _COMPARED).astype(int))
    moved = np.array([displacements(frames[step], frames[step + 1]) for step in steps])
    try:
        found = _temperature(frames[0], moved / (timestep * units.fs))
    except InputError:  # nothing to compare with: ASE has no count for a constraint
        return
    if np.isfinite(found) and not _COLDEST * temperature <= found <= _HOTTEST * temperature:
        warnings.warn(
            f"{source(frames[0])} and following: displacements in {timestep:g} fs as at {found:.4g} K, not "
            f"{temperature:g} K; check --timestep, which is that between frames, and --temperature",
            MotionWarning,
            stacklevel=2,
        )


def mean_temperature(frames: Sequence[Atoms]) -> float:
    """Compute the temperature T of the motion, `f k T / 2` per frame with f degrees of freedom.

    ASE counts how many the constraints of the first frame remove; without constraints, atoms that never move
    count as fixed. The motion of the centre of mass is left out, as far as no constraint holds the atoms in
    space: f is 3 N - 3 for N free atoms.

    Args:
        frames: Frames of a trajectory, with velocities.

    Returns:
        The temperature in K.

    Raises:
        InputError: The frames have no velocities, nothing can move, or ASE has no count for a constraint.
    """
    found = _temperature(frames[0], np.array([atoms.get_velocities() for atoms in frames]))
    if not found > 0:
        raise InputError(
            f"{source(frames[0])}: no velocities to take the temperature from; give --temperature"
        )
    return found


def _temperature(atoms: Atoms, velocities: Float[np.ndarray, "frames atoms 3"]) -> float:
    """Compute the temperature of velocities in K; 0 if nothing moves, NaN if nothing can."""
    resting = ~velocities.any(axis=(0, 2))
    if resting.all():
        return 0.0
    if resting.any() and not atoms.constraints:
        atoms = atoms.copy()
        atoms.set_constraint(FixAtoms(mask=resting))
    masses, free = atoms.get_masses(), _free_translations(atoms)
    freedom = 3 * len(masses) - _removed(atoms) - round(np.trace(free))
    if freedom < 1:
        return float("nan")
    centre = np.einsum("i,tia->ta", masses, velocities) @ free / masses.sum()
    relative = velocities - centre[:, None]
    return float(np.einsum("i,tia,tia->", masses, relative, relative)) / (
        len(velocities) * freedom * units.kB
    )


def _removed(atoms: Atoms) -> int:
    """Return how many degrees of freedom the constraints remove, as ASE counts them."""
    try:
        return 3 * len(atoms) - int(atoms.get_number_of_degrees_of_freedom())
    except NotImplementedError:
        names = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise InputError(
            f"{source(atoms)}: ASE has no count of the degrees of freedom of {names}; give --temperature"
        ) from None


def _free_translations(atoms: Atoms) -> Float[np.ndarray, "3 3"]:
    """Return the projector on the directions in which the constraints let all atoms move together."""
    masses, changes = atoms.get_masses()[:, None], []
    for axis in np.eye(3):
        momenta = masses * axis
        kept = momenta.copy()
        for constraint in atoms.constraints:
            constraint.adjust_momenta(atoms, kept)
        changes.append((kept - momenta).ravel() / masses.sum())
    held = np.array(changes).T
    free = np.eye(3) if np.abs(held).max() < 1e-9 else scipy.linalg.null_space(held, rcond=1e-6)
    return free @ free.T


def _periodic_cell(atoms: Atoms) -> Cell:
    """Return the cell with unit vectors in the place of those along which the structure is not periodic."""
    return Cell(np.where(atoms.pbc[:, None], atoms.cell.array, 0.0)).complete()


def _rms(values: np.ndarray) -> float:
    """Return the root mean square."""
    return float(np.sqrt(np.mean(values**2)))
