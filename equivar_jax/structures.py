"""Access to what this package reads from an `ase.Atoms`: its label, its source, and usable coordinates.

`ase.Atoms` is the only type of structure in this package. The label of a structure is ASE's own property
`born_effective_charges`, in the results of a `SinglePointCalculator`: shape (N, 3, 3), index order [atom,
field direction, displacement direction], unit e. `atoms.info["source"]` names the file and the frame that a
structure comes from, for error messages.
"""

import math
import os
from collections.abc import Iterable, Iterator
from numbers import Real
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.formula import Formula, non_metals
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.occupancy import find_disorder

BEC = "born_effective_charges"
"""Name of ASE's property, and of the column in extended XYZ files, that holds the label."""
BEC_STD = "born_effective_charges_std"
"""Name of the column that holds the standard deviations of a prediction: float64 of shape (N, 9), in e."""
DISTANCE = "domain_distance"
"""Name of the column that holds how far each atom is from the training data (see `uncertainty.features`)."""
EPSILON = "epsilon_inf"
"""Key of `atoms.info` for the electronic (ion-clamped) dielectric tensor, float64 of shape (3, 3)."""
SOURCE = "source"
"""Key of `atoms.info` for the file and frame that a structure comes from."""

LARGEST_ASYMMETRY = 0.01
"""Largest accepted asymmetry of a dielectric tensor, relative to its largest component.

Rounding makes less; a tensor with more is broken.
"""


def source(atoms: Atoms) -> str:
    """Return where a structure came from ("file, frame 3"), or its formula if it was made in memory."""
    return str(atoms.info.get(SOURCE) or f"structure {atoms.get_chemical_formula()}")


def list_structures(structures: Any) -> list[Atoms]:
    """List structures that come as any iterable, such as a generator; one alone is a list of one.

    Args:
        structures: `ase.Atoms`, or an iterable of them.

    Raises:
        InputError: Something else than `ase.Atoms` is among them, such as the name of a file.
    """
    # A name of a file and a structure of pymatgen are iterable, too, but not of structures.
    is_whole = isinstance(structures, Atoms | str) or not isinstance(structures, Iterable)
    found = [structures] if is_whole else list(structures)
    for atoms in found:
        if not isinstance(atoms, Atoms):
            wrong = atoms if isinstance(structures, list | tuple | Iterator) else structures
            raise InputError(_describe_what_is_no_structure(wrong))
    return found


def _describe_what_is_no_structure(wrong: object) -> str:
    """Say what was given in the place of a structure, and how to make one of it."""
    if isinstance(wrong, str | os.PathLike):
        return (
            f"{os.fspath(wrong)!r}, a name, instead of a structure; read the file: "
            "equivar_jax.io.read_structures(...), or ase.io.read(...)"
        )
    return (
        f"{type(wrong).__module__}.{type(wrong).__qualname__} instead of ase.Atoms, or a list of them; "
        "convert it, as by to_ase_atoms() of pymatgen's structures"
    )


def element_order(atoms: Atoms) -> list[str]:
    """List the elements of a structure as a formula has them: metals by name, then the others by group.

    So it is LiNbO3 and SiO2, where ASE's orders "metal" and "periodic" have O2Si and NbLiO3.
    """
    formula = atoms.symbols.formula
    others = [symbol for symbol in formula.convert("periodic").count() if symbol in non_metals]
    return [symbol for symbol in formula.convert("metal").count() if symbol not in others] + others


def reduced_formula(atoms: Atoms) -> str:
    """Return the reduced formula of a structure, in the order of `element_order`."""
    counts = atoms.symbols.formula.reduce()[0].count()
    return str(Formula.from_dict({symbol: counts[symbol] for symbol in element_order(atoms)}))


def born_effective_charges(atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"] | None:
    """Return the label of a structure, or None if it has none.

    Returns:
        Born effective charges [atom, field, displacement] in e, shape (N, 3, 3).
    """
    if atoms.calc is None:
        return None
    return atoms.calc.results.get(BEC)


def labels_of(atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
    """Return the Born effective charges that a structure must carry, [atom, field, displacement] in e.

    Raises:
        InputError: The structure has none.
    """
    tensors = born_effective_charges(atoms)
    if tensors is None:
        raise InputError(
            f"{source(atoms)}: no Born effective charges; label it, leave it out, or name a model by "
            "--checkpoint"
        )
    return tensors


def with_born_effective_charges(atoms: Atoms, tensors: Float[np.ndarray, "atoms 3 3"]) -> Atoms:
    """Return a copy of a structure that carries the given tensors as its label.

    Args:
        atoms: The structure; it is not changed.
        tensors: Born effective charges [atom, field, displacement] in e, shape (N, 3, 3).

    Raises:
        InputError: The tensors have the wrong shape or are not all finite (see `check_tensors`).
    """
    labelled = atoms.copy()
    calculator = SinglePointCalculator(labelled)
    calculator.results[BEC] = check_tensors(tensors, atoms)
    labelled.calc = calculator
    return labelled


def check_tensors(tensors: np.ndarray, atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
    """Check that tensors can be the Born effective charges of a structure, and return them in float64.

    Args:
        tensors: Born effective charges [atom, field, displacement] in e, of any precision.
        atoms: The structure.

    Raises:
        InputError: The tensors do not have shape (N, 3, 3), or are not all finite.
    """
    tensors = np.asarray(tensors, dtype=np.float64)
    if tensors.shape != (len(atoms), 3, 3):
        raise InputError(
            f"{source(atoms)}: Born effective charges of shape {tensors.shape}, "
            f"expected ({len(atoms)}, 3, 3); give nine numbers an atom, row-major, field index first"
        )
    finite = np.isfinite(tensors).all(axis=(1, 2))
    if not finite.all():
        raise InputError(
            f"{source(atoms)}: Born effective charge of atom {int(np.argmin(finite))} is not finite; "
            "remove the frame or repair its label"
        )
    return tensors


def epsilon_inf(atoms: Atoms) -> Float[np.ndarray, "3 3"] | None:
    """Return the electronic dielectric tensor `info["epsilon_inf"]` of a structure, or None if it has none.

    Returns:
        The tensor, dimensionless and symmetrised. Nine numbers in a row are also taken as a tensor.

    Raises:
        InputError: The value is not 3x3 finite numbers, is not symmetric, or has an eigenvalue below 1, that
            of vacuum.
    """
    stored = atoms.info.get(EPSILON)
    if stored is None:
        return None
    where = f"{source(atoms)}: info[{EPSILON!r}]"
    try:
        tensor = np.asarray(stored, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{where} is not an array of numbers; give 3x3 numbers or remove it") from None
    if tensor.shape not in ((3, 3), (9,)) or not np.isfinite(tensor).all():
        raise InputError(f"{where} is not 3x3 finite numbers but {tensor.tolist()}; repair or remove it")
    tensor = tensor.reshape(3, 3)
    if np.abs(tensor - tensor.T).max() > LARGEST_ASYMMETRY * np.abs(tensor).max():
        raise InputError(f"{where} is not symmetric: {tensor.tolist()}; repair or remove it")
    tensor = (tensor + tensor.T) / 2
    smallest = float(np.linalg.eigvalsh(tensor).min())
    if smallest < 1.0:
        raise InputError(f"{where} has an eigenvalue {smallest:.4g}, below 1; repair or remove it")
    return tensor


def usable_epsilon_inf(atoms: Atoms) -> Float[np.ndarray, "3 3"] | None:
    """Return what `epsilon_inf` does, and None for a broken tensor, too, which training leaves out."""
    try:
        return epsilon_inf(atoms)
    except InputError:
        return None


def determinant(cell: Float[np.ndarray, "3 3"]) -> float:
    """Return the determinant of a 3x3 matrix, a few times sooner than NumPy."""
    (a, b, c), (d, e, f), (g, h, i) = cell.tolist()
    return a * (e * i - f * h) + b * (f * g - d * i) + c * (d * h - e * g)


def check_structure(atoms: Atoms) -> None:
    """Refuse a structure that no graph can be built from.

    Two atoms at the same place are not found here but by `build_graph`, which has the distances.

    Raises:
        InputError: The structure has no atoms, a position or cell that is not finite, a net charge
            (`info["charge"]`) that is not a number, an atomic number outside 1 to 118, sites that several
            elements share or that are partly empty, or periodic directions that span no volume.
    """
    if len(atoms) == 0:
        raise InputError(f"{source(atoms)}: no atoms; remove the empty frame")
    if not np.isfinite(atoms.positions).all():
        finite = np.isfinite(atoms.positions).all(axis=1)
        raise InputError(
            f"{source(atoms)}: position of atom {int(np.argmin(finite))} is not finite; repair the file"
        )
    if not np.isfinite(atoms.cell.array).all():
        raise InputError(f"{source(atoms)}: the cell is not finite; repair the file")
    charge = atoms.info.get("charge", 0.0)
    if not isinstance(charge, Real) or not math.isfinite(charge):
        raise InputError(
            f"{source(atoms)}: the net charge {charge!r} in its info is not a finite number (in e); "
            "repair or remove it"
        )
    if atoms.numbers.min() < 1 or atoms.numbers.max() > 118:
        wrong = int(np.argmax((atoms.numbers < 1) | (atoms.numbers > 118)))
        raise InputError(
            f"{source(atoms)}: atom {wrong} has atomic number {atoms.numbers[wrong]}; name a chemical element"
        )
    if disorder := find_disorder(atoms):
        raise InputError(
            f"{source(atoms)}: a partly occupied site, {disorder}, for which one structure cannot stand; "
            "give an ordered one (for example a supercell), without an occupancy in info or arrays"
        )
    periodic = atoms.cell.array[atoms.pbc]
    # The smallest singular value is at least |det| / (sum of squares); most cells need no more than that.
    if len(periodic) == 3 and abs(determinant(periodic)) > 1e-6 * np.square(periodic).sum():
        return
    if len(periodic) and np.linalg.matrix_rank(periodic, tol=1e-6) < len(periodic):
        raise InputError(
            f"{source(atoms)}: periodic along {len(periodic)} directions, but their cell vectors span no "
            "volume; give the lattice, or set pbc to false for a molecule"
        )
