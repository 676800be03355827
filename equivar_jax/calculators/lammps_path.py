"""The path of LAMMPS in a field: what came last, and what a restart must know."""

import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import find_mic
from jaxtyping import Float, Int

from equivar_jax.calculators.sparse import Calculated
from equivar_jax.errors import InputError
from equivar_jax.io.files import complete_file

SAME = 1e-6
"""How far atoms may be, in Å, from where they were, so that a configuration counts as the same."""


class Last(NamedTuple):
    """The last configuration of a path."""

    step: int
    ids: Int[np.ndarray, " atoms"]
    """IDs of the atoms, sorted."""
    atoms: Atoms
    """The structure, in this order."""


def is_same_crystal(last: Last, ids: Int[np.ndarray, " atoms"], atoms: Atoms) -> bool:
    """Return whether nothing but positions can have changed since the last configuration."""
    return (
        np.array_equal(last.ids, ids)
        and np.array_equal(last.atoms.numbers, atoms.numbers)
        and np.array_equal(last.atoms.cell.array, atoms.cell.array)
        and np.array_equal(last.atoms.pbc, atoms.pbc)
    )


def is_next(last: Last, step: int, atoms: Atoms) -> bool:
    """Return whether a configuration is that of the next step, or the last one, as in the next run."""
    return step == last.step + 1 or (step == last.step and distance(last.atoms, atoms) <= SAME)


class PathState(NamedTuple):
    """A path at a step of LAMMPS."""

    step: int
    ids: Int[np.ndarray, " atoms"]
    atoms: Atoms
    work: float
    """W in eV."""
    dipole_change: Float[np.ndarray, "3"]
    """V (P - P0) in e Å."""
    known: list[Calculated]
    """The last charges that were calculated."""


def write_state(path: Path, state: PathState) -> None:
    """Write a path to a file of NumPy's format npz.

    Raises:
        InputError: The file cannot be written.
    """
    arrays = {
        "step": state.step,
        "ids": state.ids,
        "numbers": state.atoms.numbers,
        "positions": state.atoms.positions,
        "cell": state.atoms.cell.array,
        "pbc": state.atoms.pbc,
        "work": state.work,
        "dipole_change": state.dipole_change,
        "known_steps": np.array([each.step for each in state.known], dtype=np.int64),
        "known_tensors": np.array([each.tensors for each in state.known]).reshape(-1, len(state.ids), 3, 3),
    }
    with complete_file(path) as partial, partial.open("wb") as target:
        np.savez(target, **arrays)


def read_state(path: Path) -> PathState:
    """Read what `write_state` wrote.

    Raises:
        InputError: There is no such file, or it is another one.
    """
    try:
        with np.load(path) as found:
            steps, tensors = found["known_steps"], found["known_tensors"]
            return PathState(
                int(found["step"]),
                found["ids"],
                Atoms(found["numbers"], found["positions"], cell=found["cell"], pbc=found["pbc"]),
                float(found["work"]),
                found["dipole_change"],
                [Calculated(int(step), each) for step, each in zip(steps, tensors, strict=True)],
            )
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: no path of a field can be read from it ({error}); give a file of write_restart"
        ) from None


def check_same(state: PathState, step: int, ids: Int[np.ndarray, " atoms"], atoms: Atoms) -> None:
    """Refuse a path that another configuration ended.

    Args:
        state: The path.
        step: LAMMPS's step.
        ids: IDs of the atoms, sorted.
        atoms: The structure, in this order.

    Raises:
        InputError: Step, IDs, elements, cell or positions are others.
    """
    before, fix = (
        state.atoms,
        "; read the restart of LAMMPS that was written at the same step, or begin a new path",
    )
    if step != state.step:
        raise InputError(f"restart of the field: written at step {state.step}, LAMMPS is at step {step}{fix}")
    if not np.array_equal(ids, state.ids) or not np.array_equal(atoms.numbers, before.numbers):
        raise InputError(f"restart of the field: {len(before)} atoms had other IDs or elements{fix}")
    if np.abs(atoms.cell.array - before.cell.array).max() > SAME:
        raise InputError(f"restart of the field: the cell was another{fix}")
    if (farthest := distance(before, atoms)) > SAME:
        raise InputError(f"restart of the field: an atom was {farthest:.3g} Å away{fix}")


def distance(before: Atoms, atoms: Atoms) -> float:
    """Return how far the atom that moved most is from where it was, in Å, whichever image it is in."""
    moved = atoms.positions - before.positions
    if np.abs(moved).max() <= SAME:
        return float(np.linalg.norm(moved, axis=1).max())
    return float(find_mic(moved, atoms.cell, atoms.pbc)[1].max())
