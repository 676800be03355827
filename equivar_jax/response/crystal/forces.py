"""Force constants by displacements in a supercell; each one computed once, across interruptions, too."""

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float, Int
from phonopy import Phonopy

from equivar_jax.errors import InputError
from equivar_jax.io.files import complete_file
from equivar_jax.progress import ProgressBar, announce_if_slow
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of


def displaced(primitive: Atoms, matrix: Int[np.ndarray, "3 3"], distance: float) -> Phonopy:
    """Make the displacements that the symmetry of a crystal leaves to be computed.

    Args:
        primitive: The primitive cell.
        matrix: Supercell, its rows the lattice vectors in those of the primitive cell.
        distance: Length of a displacement in Å.

    Returns:
        A phonopy object with a set of displacements; its unit cell and its primitive cell are the given cell.
    """
    phonon = phonon_of(primitive, matrix.T, "P")
    phonon.generate_displacements(distance=distance)
    return phonon


def compute_force_constants(phonon: Phonopy, calculator: BaseCalculator, folder: Path) -> None:
    """Compute the forces of all displacements, and set force constants with all symmetries of the crystal.

    The fit is symfc's (Seko and Togo, Phys. Rev. B 110, 214302 (2024)), in a basis of force constants that
    obey the space group, the exchange of indices, and the sum rule of translations.

    Args:
        phonon: A phonopy object with displacements (`displaced`).
        calculator: The potential.
        folder: Where forces are kept, one file for each displacement; those that are there are not computed
            again.

    Raises:
        InputError: The potential returns forces that are not finite, or a file there is of another crystal.
    """
    cells = phonon.supercells_with_displacements
    assert cells is not None  # `displaced` has made them
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    with ProgressBar(desc="displacements", total=len(cells)) as bar:
        for number, cell in enumerate(cells, start=1):
            file = folder / f"{number:04d}.npy"
            if not file.is_file():
                _write(file, _forces_on(atoms_of(cell), calculator, number))
            found.append(_read(file, len(cell)))
            bar.update()
    phonon.forces = np.array(found)
    with announce_if_slow("fitting force constants"):
        phonon.produce_force_constants(fc_calculator="symfc", show_drift=False)


def _forces_on(atoms: Atoms, calculator: BaseCalculator, number: int) -> Float[np.ndarray, "atoms 3"]:
    """Compute the forces on a displaced supercell in eV/Å."""
    atoms.calc = calculator
    forces = np.asarray(atoms.get_forces(), dtype=np.float64)
    if forces.shape != (len(atoms), 3) or not np.isfinite(forces).all():
        raise InputError(
            f"displacement {number} of {atoms.symbols}: the potential returns forces of shape {forces.shape} "
            "that are not all finite numbers; try another --potential"
        )
    # The sum over a supercell is zero; what single precision leaves of it is no force.
    return forces - forces.mean(axis=0)


def _write(file: Path, forces: np.ndarray) -> None:
    """Write forces at once or not at all."""
    with complete_file(file) as partial, partial.open("wb") as handle:
        np.save(handle, forces)


def _read(file: Path, atoms: int) -> Float[np.ndarray, "atoms 3"]:
    """Read forces of an earlier run."""
    try:
        forces = np.load(file, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: no forces in it ({error}); delete it") from error
    if forces.shape != (atoms, 3):
        raise InputError(f"{file}: forces of {len(forces)} atoms, expected {atoms}; name another folder")
    return forces
