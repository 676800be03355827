"""Phonopy objects from an `ase.Atoms`, or from a phonopy YAML file with its forces.

phonopy chooses the primitive cell and the order of its atoms; nothing here rotates the crystal.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ase import Atoms
from jaxtyping import Int
from phonopy import Phonopy
from phonopy.cui.load_helper import (
    produce_force_constants,
    read_force_sets,
    select_and_extract_force_constants,
)
from phonopy.interface.phonopy_yaml import load_phonopy_yaml
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms
from phonopy.structure.dataset import forces_in_dataset

from equivar_jax.config.schema import FirstIndex
from equivar_jax.errors import InputError
from equivar_jax.io.files import excerpt, open_text, require_file
from equivar_jax.io.options import ReadOptions, field_first
from equivar_jax.io.phonopy_born import read_born_tensors
from equivar_jax.io.phonopy_yaml import phonopy_atoms, translate_phonopy_faults, usable_primitive_matrix
from equivar_jax.response.options import FORCE_FILES
from equivar_jax.structures import EPSILON, SOURCE, check_structure, determinant, source


class LostIsotopesWarning(UserWarning):
    """Warns that the primitive cell of a phonopy file gives one mass to different isotopes."""


def phonon_of(
    atoms: Atoms, supercell: Sequence[int] | Int[np.ndarray, "3 3"] = (1, 1, 1), primitive: str = "auto"
) -> Phonopy:
    """Make a phonopy object whose unit cell is the given crystal.

    Of left-handed lattice vectors it gets the opposite ones, which span the same lattice: phonopy finds no
    primitive cell of left-handed ones, and takes its signed volume for that of the non-analytical term.

    Args:
        atoms: The crystal.
        supercell: Number of unit cells along each axis of the supercell that the force constants belong to;
            or its matrix as phonopy has it, the columns its lattice vectors in those of the unit cell.
        primitive: phonopy's primitive matrix: "auto" lets phonopy find the primitive cell from the symmetry,
            "P" takes the unit cell itself. phonopy's symmetry knows no masses: where atoms that a translation
            maps onto each other are different isotopes, the unit cell itself is taken, too.

    Raises:
        InputError: `check_structure` refuses the structure, or it is not periodic in all directions.
    """
    check_structure(atoms)
    if not atoms.pbc.all():
        raise InputError(
            f"{source(atoms)}: not periodic in all directions, as phonopy needs it; give a crystal"
        )
    moments = atoms.get_initial_magnetic_moments()
    cell = phonopy_atoms(
        atoms,
        masses=atoms.get_masses() if atoms.has("masses") else None,  # else phonopy's own
        magnetic_moments=moments if moments.any() else None,
    )
    matrix = np.asarray(supercell)
    matrix = np.diag(matrix) if matrix.ndim == 1 else matrix
    phonon = _phonon(cell, matrix, primitive, None)
    return phonon if _has_all_isotopes(phonon) else _phonon(cell, matrix, "P", None)


def load_phonon(
    path: Path,
    forces: Path | None = None,
    first_index: FirstIndex | None = None,
    born_beside: bool = True,
) -> Phonopy:
    """Read a phonopy YAML file (`phonopy_params.yaml`, `phonopy_disp.yaml`) into a phonopy object.

    As by `phonopy.load`, the parameters of the non-analytical term (NAC) are those of the YAML file, else
    those of a file BORN, here the one beside it; without a unit factor they get that of the calculator. The
    primitive cell is the file's own, too; if it gives different isotopes one mass, a `LostIsotopesWarning` is
    given.

    Args:
        path: The file, plain or compressed.
        forces: FORCE_CONSTANTS, force_constants.hdf5 or FORCE_SETS. By default the first that exists of: the
            force constants in the YAML file, the forces in it, one of these files beside it, which is the
            order of phonopy. Without any of them the object has no force constants.
        first_index: What the first index of the stored Born effective charges is; None is the field, as
            phonopy has it. A BORN written by abipy 1.0.0 has the displacement first.
        born_beside: Whether a file BORN beside the YAML file counts.

    Raises:
        InputError: phonopy cannot read one of the files, or a site is shared by several elements.
    """
    with translate_phonopy_faults(path, "a phonopy YAML file"):
        with open_text(path) as handle:
            # The loader that phonopy uses would run Python code that the file names.
            content = yaml.load(handle, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if not isinstance(content, dict):
            raise InputError(f"{path}: no phonopy YAML file but {excerpt(str(content))}; name another file")
        data = load_phonopy_yaml(content)
        if data.unitcell is None:
            raise InputError(f"{path}: no unit_cell in it; write the file again with phonopy")
        if data.unitcell.has_mixtures or data.unitcell.has_weighted_species:
            raise InputError(f"{path}: sites shared by several elements; give an ordered structure")
        supercell = np.eye(3, dtype=int) if data.supercell_matrix is None else data.supercell_matrix
        matrix = "auto" if data.primitive_matrix is None else data.primitive_matrix
        phonon = _phonon(data.unitcell, supercell, matrix, data.calculator)
        phonon.dataset = data.dataset
    if not _has_all_isotopes(phonon):
        message = (
            f"{path}: atoms of different masses are one atom of its primitive cell, which has the mass of "
            "the first, here and in phonopy; write the file again with primitive axes P"
        )
        warnings.warn(message, LostIsotopesWarning, stacklevel=2)
    options, born_file = ReadOptions(first_index=first_index), path.parent / "BORN"
    nac: Any = data.nac_params
    if nac is not None:
        nac = {**nac, "born": field_first(np.asarray(nac["born"]), options)}
    elif born_beside and born_file.is_file():
        nac = read_born_tensors(born_file, phonon.primitive, path, options)
    if nac is not None and nac.get("factor") is None:
        nac["factor"] = get_calculator_physical_units(data.calculator).nac_factor
    if nac is not None:
        with translate_phonopy_faults(path, "Born effective charges of its primitive cell"):
            phonon.nac_params = nac
    if forces is None and data.force_constants is not None:
        with translate_phonopy_faults(path, "force constants of its supercell"):
            phonon.force_constants = data.force_constants
    elif forces is None and forces_in_dataset(data.dataset):
        with translate_phonopy_faults(path, "forces on its displaced supercells"):
            produce_force_constants(phonon)
    else:
        beside = (path.parent / name for name in FORCE_FILES if (path.parent / name).is_file())
        file = forces or next(beside, None)
        if file is not None:
            _read_forces(phonon, file, path)
    return phonon


def require_right_handed(phonon: Phonopy) -> None:
    """Refuse to have phonopy add the non-analytical term in a left-handed cell.

    phonopy 4.10 divides by the determinant of the lattice vectors, so that LO would lie below TO.

    Raises:
        InputError: The vectors of the primitive cell are left-handed.
    """
    cell = phonon.primitive.cell
    if determinant(cell) < 0:
        raise InputError(
            f"{phonon.primitive.formula}: left-handed lattice vectors {np.round(cell, 4).tolist()}, of which "
            "phonopy subtracts the LO-TO splitting; swap two vectors of the unit cell, and the coordinates "
            "along them, and begin again with phonopy"
        )


def has_force_constants(path: Path) -> bool:
    """Return whether a phonopy YAML file has force constants, beside the forces that it may have."""
    return _has_section(path, "force_constants:")


def file_of_tensors(path: Path) -> Path | None:
    """Find the file from which `load_phonon` takes Born effective charges and eps_inf, if one has them."""
    if _has_section(path, "nac:", "born_effective_charge:"):  # the second is of older versions
        return path
    beside = path.parent / "BORN"
    return beside if beside.is_file() else None


def _has_section(path: Path, *names: str) -> bool:
    with open_text(path) as handle:
        return any(line.startswith(names) for line in handle)


def structure_of(phonon: Phonopy, cell: PhonopyAtoms, where: str) -> Atoms:
    """Convert the unit cell or the primitive cell of phonopy to an `ase.Atoms` in Å.

    Args:
        phonon: The phonopy object; its lengths have the unit of its calculator.
        cell: `phonon.unitcell` or `phonon.primitive`.
        where: Name of the structure in messages.

    Returns:
        The structure in phonopy's order of atoms. If there are NAC parameters, `info["epsilon_inf"]` is their
        dielectric tensor.
    """
    atoms = atoms_of(cell, get_calculator_physical_units(phonon.calculator).distance_to_A)
    atoms.info[SOURCE] = where
    if phonon.nac_params is not None:
        atoms.info[EPSILON] = np.asarray(phonon.nac_params["dielectric"], dtype=np.float64)
    check_structure(atoms)
    return atoms


def atoms_of(cell: PhonopyAtoms, length: float = 1.0) -> Atoms:
    """Convert a cell of phonopy to an `ase.Atoms` with the same order of atoms, masses and magnetic moments.

    Args:
        cell: The cell.
        length: Its unit of length in Å.
    """
    return Atoms(
        numbers=cell.numbers,
        cell=cell.cell * length,
        scaled_positions=cell.scaled_positions,
        masses=cell.masses,
        magmoms=cell.magnetic_moments,
        pbc=True,
    )


def _has_all_isotopes(phonon: Phonopy) -> bool:
    """Return whether the atoms that stand for others in the primitive cell have the masses of these."""
    cell, representative = phonon.primitive, np.asarray(phonon.primitive.s2p_map)
    masses = cell.masses[[cell.p2p_map[atom] for atom in representative]]
    return bool(np.allclose(masses, phonon.supercell.masses, rtol=1e-6))


def _phonon(cell: PhonopyAtoms, supercell: Any, primitive: Any, calculator: str | None) -> Phonopy:
    """Make a phonopy object without phonopy's warning that "auto" no longer means the unit cell."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        matrix = usable_primitive_matrix(cell, primitive)
        return Phonopy(cell, supercell, primitive_matrix=matrix, calculator=calculator)


def _read_forces(phonon: Phonopy, file: Path, path: Path) -> None:
    """Set the force constants from `file`, which holds them or forces and belongs to the YAML file `path`."""
    require_file(file)
    if "FORCE_SETS" in file.name:
        with translate_phonopy_faults(file, f"the forces on the displaced supercells of {path}"):
            phonon.dataset = read_force_sets(file, supercell=phonon.supercell)
            produce_force_constants(phonon)
        return
    with translate_phonopy_faults(file, f"the force constants of {path}"):
        phonon.force_constants = select_and_extract_force_constants(phonon, force_constants_filename=file)
