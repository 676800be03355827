"""Reader of Abinit's `_DDB.nc` files, which uses netCDF4 (installed with abipy).

Index order: `born_effective_charge_tensor`, as Python sees it, is [field, atom, displacement], and in spite
of its name it is no charge but the second derivative of the energy **in reduced coordinates, of the electrons
only**, as in the text file of the same name, with which it was compared. This reader makes charges of it, as
`abinit` does of the text. The file has no dielectric tensor.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.units import Bohr

from equivar_jax.errors import InputError
from equivar_jax.io.abinit import cartesian_charges
from equivar_jax.io.calculations import crystal_of, finish_structure, refuse_choices
from equivar_jax.io.files import base_name, excerpt, plain_file
from equivar_jax.io.options import ReadOptions
from equivar_jax.structures import with_born_effective_charges

_CHARGES = "born_effective_charge_tensor"
_NAMES = (
    "primitive_vectors",
    "reduced_atom_positions",
    "atom_species",
    "atomic_numbers",
    "valence_charges",
    "q_point_reduced_coord",
    _CHARGES,
    f"{_CHARGES}_mask",
)


def recognises_ddb_netcdf(path: Path, head: bytes) -> bool:
    """Return whether a file is a `_DDB.nc` file, judged by its name and its first bytes."""
    return head.startswith((b"CDF", b"\x89HDF")) and base_name(path).lower().endswith("ddb.nc")


def read_ddb_netcdf(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of a `_DDB.nc` file.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure, in Å. The label, if the file has derivatives by field and displacement at Gamma, has
        shape (N, 3, 3), [atom, field, displacement], in e.

    Raises:
        InputError: netCDF4 is not installed or cannot read the file, some of the derivatives are missing, or
            an option was given.
    """
    refuse_choices(path, options)
    values = _read_variables(path)
    where = f"{path}, frame 0"
    atoms = finish_structure(_structure(values, where), where)
    masks = values.get(f"{_CHARGES}_mask")
    if masks is None or np.any(values["q_point_reduced_coord"] != 0.0) or not masks.any():
        yield atoms
        return
    derivatives = values[_CHARGES]
    if derivatives.shape != (3, len(atoms), 3) or masks.shape != derivatives.shape:
        raise InputError(
            f"{where}: derivatives of shape {derivatives.shape} for {len(atoms)} atoms; write the file again"
        )
    missing = int((masks != 1).sum())
    if missing:
        raise InputError(
            f"{where}: {missing} of {masks.size} derivatives by field and displacement are missing; run "
            "anaddb, which completes them by symmetry, and read its anaddb.nc"
        )
    ionic = values["valence_charges"][values["atom_species"] - 1]
    tensors = cartesian_charges(derivatives.transpose(1, 0, 2), atoms, ionic)
    yield with_born_effective_charges(atoms, tensors)


def _read_variables(path: Path) -> dict[str, np.ndarray]:
    """Return the variables that are needed, as far as the file has them."""
    try:
        import netCDF4
    except ImportError as error:
        raise InputError(
            f"{path}: reading it needs netCDF4 ({excerpt(str(error), 120)}); pip install netCDF4"
        ) from None
    try:
        with plain_file(path) as plain, netCDF4.Dataset(plain) as file:
            file.set_auto_mask(False)
            return {name: np.array(file[name][...]) for name in _NAMES if name in file.variables}
    except InputError:
        raise
    except Exception as error:  # its C library has no common exception
        raise InputError(
            f"{path}: netCDF4 cannot read it ({type(error).__name__}: {excerpt(str(error), 120)}); "
            "write it again with Abinit"
        ) from None


def _structure(values: dict[str, np.ndarray], where: str) -> Atoms:
    """Return the structure of the variables, in Å."""
    missing = [name for name in _NAMES[:6] if name not in values]
    if missing:
        raise InputError(f"{where}: no {missing[0]} in the file; write it again with Abinit")
    species, numbers = values["atom_species"], values["atomic_numbers"]
    shapes = {name: values[name].shape for name in _NAMES[:6]}
    expected = {
        "primitive_vectors": (3, 3),
        "reduced_atom_positions": (len(species.ravel()), 3),
        "atom_species": (len(species.ravel()),),
        "atomic_numbers": (len(numbers.ravel()),),
        "valence_charges": (len(numbers.ravel()),),
        "q_point_reduced_coord": (3,),
    }
    if shapes != expected or species.size == 0 or not 1 <= species.min() <= species.max() <= len(numbers):
        raise InputError(f"{where}: the structure in the file is damaged; write it again with Abinit")
    if (numbers != np.round(numbers)).any() or not 1 <= numbers.min() <= numbers.max() <= 118:
        raise InputError(
            f"{where}: atomic numbers {numbers.tolist()} are not whole; give a structure without mixed atoms"
        )
    elements, cell = numbers[species - 1].astype(int), values["primitive_vectors"] * Bohr
    return crystal_of(elements, cell, values["reduced_atom_positions"], where)
