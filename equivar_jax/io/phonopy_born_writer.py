"""Writer of phonopy's BORN files, which uses phonopy; for the index order see `phonopy_born`."""

import warnings
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import EPSILON
from equivar_jax.io.files import open_for_writing
from equivar_jax.io.phonopy_born import SYMMETRY_TOLERANCE
from equivar_jax.io.phonopy_yaml import check_epsilon, usable_primitive_matrix
from equivar_jax.structures import born_effective_charges, check_structure, source


def write_born(
    path: Path,
    structures: Iterable[Atoms],
    epsilon_inf: Float[np.ndarray, "3 3"] | None = None,
    tolerance: float = SYMMETRY_TOLERANCE,
) -> None:
    """Write the Born effective charges of one crystal as phonopy's BORN file.

    phonopy symmetrises the tensors, subtracts the mean that violates the sum rule, and writes those of the
    inequivalent atoms of the primitive cell ("auto") with eight decimals. The file also serves phonopy's
    other choices of that cell ("P", a matrix), unless it is a supercell whose lattice has less symmetry than
    the crystal, for which phonopy asks for more tensors. The structure that phonopy is
    given with the file must have the orientation, the order of atoms and the magnetic moments of this one:
    moments (ASE's initial magnetic moments) lower the symmetry and so make more atoms inequivalent.

    Args:
        path: the file to write, compressed if its name ends in `.gz` or `.zst`.
        structures: exactly one structure with Born effective charges, [atom, field, displacement] in e; any
            cell of the crystal, primitive or not.
        epsilon_inf: dielectric tensor of clamped ions, dimensionless; None takes `atoms.info["epsilon_inf"]`.
        tolerance: how far, in e, a tensor read from the file may be from the one given.

    Raises:
        InputError: there is not exactly one structure, it has no tensors, no positive dielectric tensor or is
            not periodic in all directions, symmetry and sum rule change the tensors by more than `tolerance`,
            or the path cannot be written to.
    """
    path = Path(path)
    several = list(structures)
    if len(several) != 1:
        raise InputError(f"{path}: a BORN file holds one structure, not {len(several)}; give exactly one")
    (atoms,) = several
    where = source(atoms)
    check_structure(atoms)
    if not atoms.pbc.all():
        raise InputError(
            f"{where}: not periodic in all three directions, which phonopy needs; give a crystal"
        )
    tensors = born_effective_charges(atoms)
    if tensors is None:
        raise InputError(f"{where}: no Born effective charges to write to {path}; predict them first")
    epsilon = dielectric_tensor_of(atoms, epsilon_inf, path)
    text, written = _born_text(atoms, tensors, epsilon)
    change = float(np.abs(written - tensors).max())
    if not change <= tolerance:
        raise InputError(
            f"{where}: the crystal's symmetry and the sum rule change its Born effective charges by up to "
            f"{change:.3f} e (more than {tolerance} e); check structure and tensors, or raise the tolerance"
            + _charge_remark(atoms)
        )
    with open_for_writing(path) as handle:
        handle.write(text)


def _charge_remark(atoms: Atoms) -> str:
    """Tell what phonopy's sum rule, that of neutral cells, does to the tensors of a charged cell."""
    charge = float(atoms.info.get("charge", 0.0))
    if not charge:
        return ""
    share = charge / len(atoms)
    return f" (the cell has the charge {charge:g} e, and neutrality takes {share:.3f} e off every atom)"


def dielectric_tensor_of(
    atoms: Atoms, given: np.ndarray | None, path: Path = Path("BORN")
) -> Float[np.ndarray, "3 3"]:
    """Return the dielectric tensor that belongs to a structure, checked.

    Args:
        atoms: the structure.
        given: the tensor, dimensionless; None takes `atoms.info["epsilon_inf"]`.
        path: the file to write, for messages.

    Raises:
        InputError: there is none, or it is not 3x3 finite numbers or not positive.
    """
    where, name = source(atoms), path.name.removesuffix(".part")
    value = atoms.info.get(EPSILON) if given is None else given
    if value is None:
        raise InputError(
            f"{where}: {name} needs the dielectric tensor; give epsilon_inf, set atoms.info[{EPSILON!r}], "
            f"3x3, or write {name} by equivar response born, which has the option --epsilon-inf"
        )
    try:
        array = np.array(value, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.full((1,), np.nan)
    epsilon = check_epsilon(array.reshape(3, 3) if array.shape == (9,) else array, where)
    if np.linalg.eigvalsh((epsilon + epsilon.T) / 2).min() <= 0.0:
        raise InputError(
            f"{where}: the dielectric tensor {epsilon.tolist()} is not positive; give that of an insulator"
        )
    return epsilon


def _born_text(
    atoms: Atoms, tensors: np.ndarray, epsilon: np.ndarray
) -> tuple[str, Float[np.ndarray, "atoms 3 3"]]:
    """Return the text of the file, and the tensors of every atom that phonopy reads from it.

    The inequivalent atoms are those of the primitive cell: the lattice of a supercell, such as 2x1x1 of a
    hexagonal crystal, may have less symmetry than the crystal, and so more inequivalent atoms.
    """
    from phonopy import Phonopy
    from phonopy.file_IO import get_BORN_lines, parse_BORN_from_strings
    from phonopy.structure.atoms import PhonopyAtoms

    moments = atoms.get_initial_magnetic_moments()
    cell = PhonopyAtoms(
        numbers=atoms.numbers,
        cell=atoms.cell.array,
        scaled_positions=atoms.get_scaled_positions(),
        magnetic_moments=moments if moments.any() else None,
    )
    with warnings.catch_warnings():
        # phonopy warns of broken symmetry; the caller measures it instead.
        warnings.simplefilter("ignore")
        matrix = usable_primitive_matrix(cell, "auto")
        phonon = Phonopy(cell, np.eye(3, dtype=int), primitive_matrix=matrix)
        primitive = phonon.primitive
        lines = get_BORN_lines(cell, tensors, epsilon, primitive_matrix=phonon.primitive_matrix)
        text = "\n".join(lines) + "\n"
        born = np.asarray(parse_BORN_from_strings(text, primitive)["born"])
        # Each atom is a translation of one of the primitive cell.
        return text, born[[primitive.p2p_map[atom] for atom in primitive.s2p_map]]
