"""Writers of rows of tensors: i-PI's BEC, TDEP's infile.lotosplitting and ALAMODE's BORNINFO.

- i-PI `BEC`: shape (3N, 3), for each atom three rows, **first index the displacement**, second the field.
  i-PI 3.3 computes forces as Z @ E with it (`EDAIntegrator.EDAforces`), and reads it by `<bec mode="file">`.
- TDEP `infile.lotosplitting`: the dielectric tensor, then three rows an atom, **first index the field**,
  second the displacement (TDEP 25.03, docs/files.md, which has the matrix of both indices).
- ALAMODE `BORNINFO`: the dielectric tensor, then three rows an atom, **first index the field**, which
  ALAMODE 1.5 contracts with q (`Dynamical::calc_nonanalytic_k`). The atoms are those of the primitive cell,
  ordered by their first images in the supercell (docs, "Format of BORNINFO").

None of the files has a structure. The atoms must have the order and the orientation of i-PI's configuration,
of `infile.ucposcar`, or of the supercell whose force constants ALAMODE reads.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.files import open_for_writing
from equivar_jax.io.phonopy_born_writer import dielectric_tensor_of
from equivar_jax.io.phonopy_yaml import phonopy_atoms, primitive_cell, translate_phonopy_faults
from equivar_jax.io.single_structure import only_labelled, tensors_of
from equivar_jax.structures import source


def write_bec(path: Path, structures: Iterable[Atoms]) -> None:
    """Write the tensors of one structure, periodic or not, as i-PI reads them.

    Every bit of the tensors is kept. i-PI refuses tensors whose mean is above its `asr_threshold`, by default
    1e-8 e for each atom, which predictions satisfy.

    Args:
        path: the file to write.
        structures: exactly one structure with Born effective charges, [atom, field, displacement] in e.

    Raises:
        InputError: there is not exactly one structure, it has no tensors, or the path cannot be written to.
    """
    path = Path(path)
    tensors = tensors_of(only_labelled(path, structures, periodic=False))
    _write_rows(path, tensors.transpose(0, 2, 1).reshape(-1, 3), ".17g")


def write_lotosplitting(
    path: Path, structures: Iterable[Atoms], epsilon_inf: Float[np.ndarray, "3 3"] | None = None
) -> None:
    """Write dielectric tensor and charges of one crystal as TDEP's `infile.lotosplitting`.

    Args:
        path: the file to write.
        structures: exactly one crystal, that of `infile.ucposcar`, with Born effective charges, [atom, field,
            displacement] in e.
        epsilon_inf: dielectric tensor of clamped ions, dimensionless; None takes `atoms.info["epsilon_inf"]`.

    Raises:
        InputError: there is not exactly one structure, it has no tensors, no positive dielectric tensor or is
            not periodic in all directions, or the path cannot be written to.
    """
    path = Path(path)
    atoms = only_labelled(path, structures)
    epsilon = dielectric_tensor_of(atoms, epsilon_inf, path)
    _write_rows(path, np.concatenate([epsilon, tensors_of(atoms).reshape(-1, 3)]), "20.12f")


def write_borninfo(
    path: Path, structures: Iterable[Atoms], epsilon_inf: Float[np.ndarray, "3 3"] | None = None
) -> None:
    """Write dielectric tensor and charges of one primitive cell as ALAMODE's BORNINFO file.

    ALAMODE reads the first of however many tensors there are, so those of a larger cell would be assigned to
    wrong atoms; they are refused.

    Args:
        path: the file to write.
        structures: exactly one primitive cell with Born effective charges, [atom, field, displacement] in e.
        epsilon_inf: see `write_lotosplitting`.

    Raises:
        InputError: see `write_lotosplitting`; or the cell is not primitive.
    """
    path = Path(path)
    atoms = only_labelled(path, structures)
    epsilon = dielectric_tensor_of(atoms, epsilon_inf, path)
    with translate_phonopy_faults(path, "a crystal"):
        primitive = len(primitive_cell(phonopy_atoms(atoms), "auto"))
    if primitive != len(atoms):
        raise InputError(
            f"{source(atoms)}: {len(atoms)} atoms, and the primitive cell, whose tensors ALAMODE reads, has "
            f"{primitive}; give the primitive cell, or write the file by equivar response born"
        )
    _write_rows(path, np.concatenate([epsilon, tensors_of(atoms).reshape(-1, 3)]), "20.12f")


def _write_rows(path: Path, numbers: Float[np.ndarray, "rows 3"], form: str) -> None:
    """Write three numbers a line."""
    with open_for_writing(path) as handle:
        handle.writelines(" ".join(format(x, form) for x in row) + "\n" for row in numbers)
