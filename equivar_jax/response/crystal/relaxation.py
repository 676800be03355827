"""Relaxation of a crystal by a potential, within its symmetry."""

import dataclasses
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import spglib
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.io.trajectory import Trajectory
from ase.optimize import BFGS
from ase.spacegroup.symmetrize import refine_symmetry

from equivar_jax.errors import InputError
from equivar_jax.progress import ProgressBar
from equivar_jax.response.options import LARGEST_FORCE, RELAXATION_STEPS
from equivar_jax.structures import SOURCE, source

SYMMETRY_TOLERANCE = 1e-3
"""How far in Å an atom may be from its symmetric place, such as by rounding in a file."""
_LONGEST_STEP = 0.1
"""In Å, of an atom in one step."""


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """A crystal at rest, and how it came there."""

    atoms: Atoms
    """The relaxed crystal, of the same symmetry, without constraints and calculator."""
    steps: int
    """How many steps were done, those before an interruption included."""
    converged: bool
    """Whether forces and stress fell below what was asked for."""
    cell: bool
    """Whether the cell was free."""
    force_before: float
    """Largest force on an atom at the beginning, in eV/Å."""
    force: float
    """Largest force on an atom at the end, in eV/Å."""
    displacement: float
    """Largest displacement of an atom in Å, at fixed fractional coordinates of the cell."""
    lengths_before: tuple[float, float, float]
    """Lengths of the lattice vectors at the beginning, in Å."""
    volume_change: float
    """Change of the volume in per cent."""

    @property
    def lengths(self) -> tuple[float, float, float]:
        """Lengths of the lattice vectors at the end, in Å."""
        first, second, third = self.atoms.cell.lengths().tolist()
        return first, second, third

    def describe(self) -> str:
        """Say in words how far the crystal moved."""
        before, after = (
            " ".join(f"{length:.4f}" for length in lengths) for lengths in (self.lengths_before, self.lengths)
        )
        volume = f"; volume {self.volume_change:+.2f} % ({before} -> {after} Å)" if self.cell else ""
        return (
            f"{self.steps} steps, forces {self.force_before:.2g} -> {self.force:.2g} eV/Å; atoms moved by at "
            f"most {self.displacement:.4f} Å{volume}"
        )


def relax(
    atoms: Atoms,
    calculator: BaseCalculator,
    *,
    cell: bool = True,
    largest_force: float = LARGEST_FORCE,
    steps: int = RELAXATION_STEPS,
    trajectory: Path | None = None,
) -> Relaxation:
    """Relax a crystal in the symmetry that it has within `SYMMETRY_TOLERANCE`.

    Positions, and the logarithm of the deformation of the cell, follow BFGS; ASE's `FixSymmetry` projects
    forces and stress.

    Args:
        atoms: The crystal.
        calculator: The potential; it needs a stress if the cell is free.
        cell: Whether the cell is free.
        largest_force: When to stop, in eV/Å; for the cell in eV, the force on its strain per atom.
        steps: After how many steps to give up.
        trajectory: File of the steps. If it is there, the relaxation goes on from its last step.

    Raises:
        InputError: The potential has no stress although the cell is free, or fails.
    """
    start = symmetrised(atoms)
    moving = start.copy()
    before = 0
    if trajectory is not None and trajectory.is_file():
        frames = _steps_of(trajectory)
        if frames:
            moving.set_cell(frames[-1].cell, scale_atoms=True)
            moving.positions = frames[-1].positions
            before = len(frames) - 1
    moving.calc = calculator
    moving.set_constraint(FixSymmetry(moving, symprec=SYMMETRY_TOLERANCE))
    first = start.copy()
    first.calc = calculator
    try:
        force_before = _largest_force(first)
        done, converged = _optimise(moving, cell, largest_force, steps - before, trajectory)
        force = _largest_force(moving)
    except NotImplementedError as error:
        what = "stress" if "stress" in str(error) else "forces"
        raise InputError(
            f"{source(atoms)}: the potential gives no {what} ({error}); "
            + ("keep the cell: --fixed-cell" if what == "stress" else "name another --potential")
        ) from error
    end = symmetrised(moving)
    moved = end.get_scaled_positions(wrap=False) - start.get_scaled_positions(wrap=False)
    moved -= moved.mean(axis=0)
    first_length, second_length, third_length = start.cell.lengths().tolist()
    return Relaxation(
        atoms=end,
        steps=before + done,
        converged=converged,
        cell=cell,
        force_before=force_before,
        force=force,
        displacement=float(np.linalg.norm(moved @ end.cell.array, axis=1).max()),
        lengths_before=(first_length, second_length, third_length),
        volume_change=100 * (end.get_volume() / start.get_volume() - 1),
    )


def symmetrised(atoms: Atoms) -> Atoms:
    """Return a crystal whose cell and atoms are exactly where its symmetry wants them, not turned.

    Files round: 0.3333 for a third would be another, lower symmetry to phonopy.

    Args:
        atoms: The crystal; constraints and calculator are left out.
    """
    found = atoms.copy()
    found.set_constraint()
    refine_symmetry(found, symprec=SYMMETRY_TOLERANCE)
    found.info[SOURCE] = source(atoms)
    return found


def space_group(atoms: Atoms) -> tuple[str, int]:
    """Return the symbol (Hermann-Mauguin, short) and the number of the space group of a crystal."""
    dataset = spglib.get_symmetry_dataset(
        (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers), symprec=SYMMETRY_TOLERANCE
    )
    if dataset is None:
        raise InputError(
            f"{source(atoms)}: spglib finds no symmetry, not even the identity; check cell and distances"
        )
    return str(dataset.international), int(dataset.number)


def _optimise(
    atoms: Atoms, cell: bool, largest_force: float, steps: int, trajectory: Path | None
) -> tuple[int, bool]:
    """Run the optimiser with a bar of progress; return how many steps it did and whether it converged."""
    target: Any = FrechetCellFilter(atoms) if cell else atoms
    with ProgressBar(desc="relaxing", unit=" steps") as bar, ExitStack() as files:
        optimiser = BFGS(target, logfile=None, maxstep=_LONGEST_STEP)
        if trajectory is not None:
            optimiser.attach(files.enter_context(Trajectory(trajectory, "a", atoms)).write)

        def show() -> None:
            bar.set_postfix_str(f"largest force {_largest_force(atoms):.2g} eV/Å", refresh=False)
            bar.update(optimiser.nsteps - bar.n)

        optimiser.attach(show)
        with warnings.catch_warnings():
            # SciPy's doubt is about the thirteenth digit of the logarithm of the deformation.
            warnings.filterwarnings("ignore", "logm result may be inaccurate", RuntimeWarning)
            converged = bool(optimiser.run(fmax=largest_force, steps=max(steps, 0)))
    if not converged:
        print(
            f"{source(atoms)}: not at rest after {steps} steps: largest force {_largest_force(atoms):.2g} "
            "eV/Å; give more --steps",
            file=sys.stderr,
        )
    return int(optimiser.nsteps), converged


def _largest_force(atoms: Atoms) -> float:
    """Return the length of the largest force on an atom, in eV/Å."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max())


def _steps_of(trajectory: Path) -> list[Atoms]:
    """Read the steps of an interrupted relaxation; what cannot be read is begun anew."""
    try:
        frames = read(trajectory, index=":")
    except Exception:  # ASE raises many kinds for a file that was cut while it was written
        trajectory.unlink()
        return []
    return frames if isinstance(frames, list) else [frames]
