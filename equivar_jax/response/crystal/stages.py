"""From a structure and a potential to force constants, in stages that an interruption does not undo."""

import dataclasses
import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from phonopy import Phonopy

from equivar_jax.errors import InputError
from equivar_jax.io.files import open_for_writing
from equivar_jax.response import options
from equivar_jax.response.crystal.forces import compute_force_constants, displaced
from equivar_jax.response.crystal.modes import Unstable, unstable_modes
from equivar_jax.response.crystal.relaxation import Relaxation, relax, space_group, symmetrised
from equivar_jax.response.crystal.supercell import shortest_vector, supercell_matrix
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, phonon_of
from equivar_jax.structures import SOURCE, source

_IDENTITY = "run.json"
_FOLLOWED = 0.15
"""How far in Å the atom that moves most is displaced along an unstable mode."""
_TIMES = 4
"""How often unstable modes are followed, at most."""
_NOT_LOWER = 1e-4
"""In eV per atom. A structure that is not lower by this is no other minimum."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What forces depend on, besides the structure and the potential."""

    relax: bool = True
    """Whether atoms move to where no force acts on them."""
    cell: bool = True
    """Whether the cell is relaxed, too."""
    largest_force: float = options.LARGEST_FORCE
    """When a relaxation stops, in eV/Å."""
    steps: int = options.RELAXATION_STEPS
    """After how many steps it gives up."""
    shortest: float = options.SHORTEST
    """Shortest lattice vector of the supercell, in Å."""
    displacement: float = options.DISPLACEMENT
    """Length of a displacement in Å."""


@dataclasses.dataclass(frozen=True)
class Forces:
    """A crystal at rest with force constants, and how they were made."""

    phonon: Phonopy
    """With force constants; its unit cell is its primitive cell."""
    relaxation: Relaxation | None
    """None if the structure was taken as it is."""
    followed: tuple[dict[str, Any], ...] = ()
    """Unstable modes that led here, as they go to `results.json`."""

    def supercell(self, distance: float) -> dict[str, Any]:
        """Describe the supercell for `results.json`."""
        return {
            "matrix": np.asarray(self.phonon.supercell_matrix).T.tolist(),
            "atoms": len(self.phonon.supercell),
            "displacements": len(self.phonon.displacements),
            "distance_A": distance,
            "shortest_vector_A": shortest_vector(self.phonon.supercell.cell),
        }


def open_run(folder: Path, atoms: Atoms, potential: str, settings: Settings) -> None:
    """Make the folder of a run, or go on in that of an interrupted one.

    Args:
        folder: The folder.
        atoms: The structure that the run starts from.
        potential: Name of the potential.
        settings: What else forces depend on.

    Raises:
        InputError: The folder has a run of another structure, potential or setting, or is a file.
    """
    digest = hashlib.sha256()
    for part in (
        atoms.numbers,
        atoms.cell.array.round(8),
        atoms.positions.round(8),
        atoms.get_masses().round(6),
    ):
        digest.update(np.ascontiguousarray(part).tobytes())
    identity = {"structure": digest.hexdigest(), "potential": potential, **dataclasses.asdict(settings)}
    file = folder / _IDENTITY
    if file.is_file():
        try:
            before = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        differing = [name for name in identity if before.get(name) != identity[name]]
        if differing:
            raise InputError(
                f"{folder}: holds a run with another {', '.join(differing)}; name another folder by -o, or "
                "delete this one"
            )
        return
    make_folder(folder)
    with open_for_writing(file) as handle:
        handle.write(json.dumps(identity, indent=1) + "\n")


def make_folder(folder: Path) -> None:
    """Make the folder for the results.

    Raises:
        InputError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror}); name another folder by -o") from error


def make_forces(
    atoms: Atoms, calculator: BaseCalculator, settings: Settings, folder: Path, follow: bool = False
) -> Forces:
    """Relax a crystal, displace its atoms, and fit force constants.

    Args:
        atoms: The crystal.
        calculator: The potential.
        settings: How.
        folder: Where steps and forces are kept; what is there is not computed again.
        follow: Whether to displace an unstable crystal along its softest mode and begin again, until it is
            stable or no longer gets lower in energy.

    Raises:
        InputError: The potential fails, or has no stress although the cell is to be relaxed.
    """
    followed: list[dict[str, Any]] = []
    found = _one_pass(atoms, calculator, settings, folder)
    for number in range(1, _TIMES + 1):
        unstable = unstable_modes(found.phonon) if follow else []
        if not unstable:
            break
        before = atoms_of(found.phonon.primitive)
        start = displaced_along(found.phonon, unstable[0])
        start.info[SOURCE] = f"{source(atoms)}, along a mode at {unstable[0].where}"
        print(
            f"unstable: {-unstable[0].wavenumber:.1f}i cm^-1 at {unstable[0].where}; followed into "
            f"{space_group(start)[0]}",
            file=sys.stderr,
        )
        lower = _one_pass(start, calculator, settings, folder / f"follow-{number}", always_relax=True)
        gain = _energy_per_atom(before, calculator) - _energy_per_atom(
            atoms_of(lower.phonon.primitive), calculator
        )
        if gain < _NOT_LOWER:
            print(f"{space_group(start)[0]} is not lower in energy: kept as it was", file=sys.stderr)
            break
        followed.append(
            {
                "where": unstable[0].where,
                "wavenumber_per_cm": unstable[0].wavenumber,
                "from": space_group(before)[0],
                "to": space_group(atoms_of(lower.phonon.primitive))[0],
                "energy_gain_meV_per_atom": 1000 * gain,
            }
        )
        found = lower
    return dataclasses.replace(found, followed=tuple(followed))


def displaced_along(phonon: Phonopy, mode: Unstable) -> Atoms:
    """Displace a crystal along a mode, in the smallest cell that holds it.

    Args:
        phonon: A phonopy object with force constants.
        mode: A mode of it.
    """
    sizes = [Fraction(float(value)).limit_denominator(100).denominator for value in mode.point]
    atoms = atoms_of(phonon.primitive).repeat(sizes)
    cells = np.array(list(np.ndindex(*sizes)))  # in ASE's order
    phases = np.exp(2j * np.pi * cells @ mode.point)
    # Of a complex pattern the part is taken that moves most: the phase of its largest component is zero.
    largest = mode.displacements.flat[np.argmax(np.abs(mode.displacements))]
    moved = (phases[:, None, None] * mode.displacements / (largest / abs(largest))).real.reshape(-1, 3)
    atoms.positions += moved * (_FOLLOWED / np.linalg.norm(moved, axis=1).max())
    return atoms


def _one_pass(
    atoms: Atoms, calculator: BaseCalculator, settings: Settings, folder: Path, always_relax: bool = False
) -> Forces:
    """Relax and compute force constants, once."""
    folder.mkdir(parents=True, exist_ok=True)
    relaxation = None
    rest = symmetrised(atoms)
    if settings.relax or always_relax:
        relaxation = relax(
            atoms,
            calculator,
            cell=settings.cell,
            largest_force=settings.largest_force,
            steps=settings.steps,
            trajectory=folder / "relaxation.traj",
        )
        rest = relaxation.atoms
        print(f"relaxed: {relaxation.describe()}", file=sys.stderr)
    primitive = atoms_of(phonon_of(rest).primitive)
    primitive.info[SOURCE] = source(atoms)
    phonon = displaced(primitive, supercell_matrix(primitive, settings.shortest), settings.displacement)
    print(
        f"supercell: {len(phonon.supercell)} atoms, no lattice vector below "
        f"{shortest_vector(phonon.supercell.cell):.2f} Å; {len(phonon.displacements)} displacements",
        file=sys.stderr,
    )
    compute_force_constants(phonon, calculator, folder / "forces")
    return Forces(phonon, relaxation)


def _energy_per_atom(atoms: Atoms, calculator: BaseCalculator) -> float:
    """Compute the energy of a crystal in eV per atom."""
    atoms.calc = calculator
    return float(atoms.get_potential_energy()) / len(atoms)
