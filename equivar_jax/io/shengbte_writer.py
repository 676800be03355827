"""Writer of ShengBTE's CONTROL file: &allocations and &crystal, with the tensors.

Index order: `born(:, j, atom)` holds the field components for displacement j. So the **first index is the
field**, which ShengBTE 1 contracts with q (`dot_product(q, born(:, i, atom))` in `phonon_phonopy`). Fortran
reads a namelist with the first index running fastest. Lengths are in units of `lfactor`, 0.1 nm.

What the structure does not say is left out, and ShengBTE asks for it: `ngrid` and `scell`, and the groups
&parameters and &flags.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.io.files import open_for_writing
from equivar_jax.io.phonopy_born_writer import dielectric_tensor_of
from equivar_jax.io.single_structure import only_labelled, tensors_of


def write_control(
    path: Path, structures: Iterable[Atoms], epsilon_inf: Float[np.ndarray, "3 3"] | None = None
) -> None:
    """Write structure, dielectric tensor and charges of one crystal as groups of ShengBTE's CONTROL file.

    Args:
        path: the file to write.
        structures: exactly one crystal with Born effective charges, [atom, field, displacement] in e: the
            cell whose supercell `scell` the force constants belong to, with its order of atoms.
        epsilon_inf: dielectric tensor of clamped ions, dimensionless; None takes `atoms.info["epsilon_inf"]`.

    Raises:
        InputError: there is not exactly one structure, it has no tensors, no positive dielectric tensor or is
            not periodic in all directions, or the path cannot be written to.
    """
    path = Path(path)
    atoms = only_labelled(path, structures)
    epsilon = dielectric_tensor_of(atoms, epsilon_inf, path)
    with open_for_writing(path) as handle:
        handle.writelines(f"{line}\n" for line in _lines(atoms, tensors_of(atoms), epsilon))


def _lines(atoms: Atoms, tensors: np.ndarray, epsilon: np.ndarray) -> Iterator[str]:
    """Yield the lines of the file."""
    # Isotopes of one element are kinds of their own.
    masses = atoms.get_masses() if atoms.has("masses") else np.zeros(len(atoms))
    kinds = list(dict.fromkeys(zip(atoms.symbols, masses.tolist(), strict=True)))
    types = [kinds.index(kind) + 1 for kind in zip(atoms.symbols, masses.tolist(), strict=True)]
    yield "&allocations"
    yield f"  nelements={len(kinds)}"
    yield f"  natoms={len(atoms)}"
    yield "  ! add ngrid(:)="
    yield "/"
    yield "&crystal"
    yield "  lfactor=0.1"
    yield from _columns("lattvec(:,{0})", atoms.cell.array)
    yield "  elements=" + " ".join(f'"{symbol}"' for symbol, _ in kinds)
    if atoms.has("masses"):
        yield "  masses=" + " ".join(f"{mass:.12g}" for _, mass in kinds) + " ! for autoisotopes=.FALSE."
    yield "  types=" + " ".join(map(str, types))
    yield from _columns("positions(:,{0})", atoms.get_scaled_positions(wrap=False))
    yield from _columns("epsilon(:,{0})", epsilon.T)
    for atom, tensor in enumerate(tensors):
        yield from _columns(f"born(:,{{0}},{atom + 1})", tensor.T)
    yield "  ! add scell(:)="
    yield "/"
    yield "! add &parameters and &flags"


def _columns(name: str, vectors: np.ndarray) -> Iterator[str]:
    """Yield an assignment for each vector; `name` has a place for its number, from 1."""
    for number, vector in enumerate(vectors):
        yield f"  {name.format(number + 1)}=" + " ".join(f"{x:.12f}" for x in vector)
