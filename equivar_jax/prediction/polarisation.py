"""The dipole of a cell, from a network in the form of a polarisation.

The network gives `V P(x) = sum_i mu_i(x) + q_i u_i` of a cell with volume V: dipoles mu_i of the atoms, which
depend on their neighbourhoods, charges q_i of the elements, shifted by one number so that they sum up to the
net charge, and displacements u from a reference structure. It is trained on `Z[i, a, b] = V dP_a / du_i,b`
alone. What follows from Z is determined, and nothing else:

- **A constant.** Z says how P changes, so P is given relative to the reference: it is zero there. Relative to
  a structure whose symmetry forbids a polarisation (cubic BaTiO3) it is the spontaneous polarisation.
  Structures that no path connects with the reference, such as other polymorphs, have constants of their own.
- **The path.** The network must be continuous (`ModelConfig.envelope`). The change from the reference to x is
  the integral of Z along any path between them: here it does not depend on the path, since Z is a derivative
  (`dZ[i,a,b]/du[j,c] = dZ[j,a,c]/du[i,b]`).
- **The quantum.** In a crystal an atom has images. If atom i goes to its image a lattice vector R away, all
  mu are as before and V P has changed by `q_i R`. Of the exact P that change is e times an integer times R
  (Thouless; King-Smith and Vanderbilt, Phys. Rev. B 47, 1651 (1993)): P is a vector modulo e R / V. The q of
  a network are no integers, as nothing trains them to be: a dipole is right for the images that were
  displaced from the reference, and is to be compared with others, modulo the quantum, only as such. So images
  must be known: either nearest ones, or those of positions that were never wrapped.
- **Charges of elements.** Only the sum of both parts is determined. One number added to all q is undone by
  the shift; and as long as atoms keep their neighbours, `sum_i c_i u_i` with neutral c is a sum of movements
  of neighbours relative to each other, which mu can contain as well. So q is determined up to neutral
  changes: a single one is no observable, and only where atoms diffuse do the q act by themselves.
- **The cell.** A strain changes P by the piezoelectric response of electrons and the choice of what to call
  displacement (Vanderbilt, J. Phys. Chem. Solids 61, 147 (2000)). Z knows neither, so that the cell must be
  that of the reference.
- **A net charge.** Moving all atoms of a charged cell by t changes V P by Q t: it depends on the origin. A
  charged crystal, whose origin means nothing, is refused; for a molecule the dipole is that about the fixed
  origin of its coordinates.
- **What is not periodic.** Along directions without periodicity there are no images and there is no quantum:
  the row of the quantum is zero. The dipole of a molecule is relative to that of the reference, as above.
"""

import warnings
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from ase import Atoms
from ase.geometry import minkowski_reduce
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.prediction.abilities import require_polarisation
from equivar_jax.prediction.trained_model import TrainedModel
from equivar_jax.prediction.windows import split_into_windows
from equivar_jax.structures import check_structure, source
from equivar_jax.uncertainty.domain import DomainWarning, gather_warnings

Images = Literal["nearest", "path", "unwrapped"]
"""Where atoms are displaced to: to their images nearest to the reference; for a list in the order of a path,
to those nearest to the structure before; or to the positions as they stand, which were never wrapped."""
LARGEST_SHARE = 0.25
"""Farthest displacement to an image as a share of a vector of the reduced cell; it is nearest there."""
SAME_CELL = 1e-6
"""Largest difference of cell vectors in Å that is rounding of a file."""


class CellDipole(NamedTuple):
    """Dipole of a cell relative to a reference structure."""

    dipole: Float[np.ndarray, "3"]
    """`V (P - P(reference))` in e Å; of a committee the mean."""
    quantum: Float[np.ndarray, "3 3"]
    """e times the lattice vectors, one a row, in e Å; zero along directions that are not periodic."""
    spread: Float[np.ndarray, "3"] | None
    """Standard deviation over the members of a committee in e Å, not calibrated; None for one network."""


def cell_dipoles(
    predictor: TrainedModel,
    structures: Sequence[Atoms],
    reference: Atoms,
    images: Images = "nearest",
    allow_unseen: bool = False,
) -> list[CellDipole]:
    """Compute the dipole of each structure; see `Predictor.polarisation`."""
    require_polarisation(predictor.config)
    moved = displacements_of(structures, reference, images)
    atomic = dipoles_of_atoms(predictor, [reference, *structures], allow_unseen)
    first = next(atomic).sum(axis=1)  # checks all structures before anything is computed
    charges = atomic_charges(predictor, reference)
    quantum = reference.cell.array * reference.pbc[:, None]
    found = []
    for dipoles, displacements in zip(atomic, moved, strict=True):
        each = dipoles.sum(axis=1) - first + charges @ displacements
        spread = each.std(axis=0, ddof=1) if len(each) > 1 else None
        found.append(CellDipole(each.mean(axis=0), quantum.copy(), spread))
    return found


def dipoles_of_atoms(
    predictor: TrainedModel, structures: Sequence[Atoms], allow_unseen: bool
) -> Iterator[Float[np.ndarray, "members atoms 3"]]:
    """Yield the dipoles mu of the atoms of each structure in e Å by each network, computed window by window.

    Warnings come after the last structure.

    Raises:
        InputError: the network gives tensors directly, or `Predictor.predict` would refuse a structure.
    """
    require_polarisation(predictor.config)
    for atoms in structures:  # before anything is computed
        predictor.check_elements(atoms, allow_unseen)
    remarks: list[UserWarning] = []
    for window in split_into_windows(structures):
        prepared = [predictor.prepare(atoms, allow_unseen=allow_unseen) for atoms in window]
        remarks += [remark for _, found in prepared for remark in found]
        yield from predictor.dipoles_of_samples([sample for sample, _ in prepared])
    outside = [remark for remark in remarks if isinstance(remark, DomainWarning)]
    others = [remark for remark in remarks if not isinstance(remark, DomainWarning)]
    for remark in [*others, *gather_warnings(outside, len(structures))]:
        warnings.warn(remark, stacklevel=4)


def atomic_charges(predictor: TrainedModel, atoms: Atoms) -> Float[np.ndarray, "members atoms"]:
    """Return the charges q of the atoms in e by each network; they sum up to the net charge.

    Args:
        predictor: A network in the form of a polarisation, or a committee.
        atoms: A structure; its positions do not matter.
    """
    require_polarisation(predictor.config)
    table = np.asarray(predictor.weights["params"]["element_charge"], np.float64)
    charges = table.reshape(-1, table.shape[-1])[:, atoms.numbers]
    excess = charges.sum(axis=1, keepdims=True) - atoms.info.get("charge", 0.0)
    return charges - excess / len(atoms)


def displacements_of(
    structures: Sequence[Atoms], reference: Atoms, images: Images = "nearest"
) -> list[Float[np.ndarray, "atoms 3"]]:
    """Compute how far the atoms of each structure are from where they are in the reference, in Å.

    Unless positions are taken as they stand, a movement of all atoms together along periodic directions is
    left out: it changes no dipole of a neutral cell, and images are nearest for the rest of the movement.

    Args:
        structures: Structures with the atoms and the cell of the reference.
        reference: From where displacements count.
        images: See `Images`.

    Raises:
        InputError: a structure does not belong to the reference, has a net charge in a periodic cell, or an
            atom is so far away that its image is in doubt.
    """
    if images not in ("nearest", "path", "unwrapped"):
        raise InputError(f"images={images!r}; give 'nearest', 'path' or 'unwrapped'")
    check_structure(reference)
    found, last, before = [], reference, np.zeros((len(reference), 3))
    for atoms in structures:
        check_structure(atoms)
        _check_pair(atoms, reference)
        step = atoms.positions - (last if images == "path" else reference).positions
        if images != "unwrapped":
            step = _to_nearest_images(step, atoms, images)
        if images == "path":
            step, last = before + step, atoms
            before = step
        found.append(step)
    return found


def nearest_images(
    fractional: Float[np.ndarray, "atoms directions"],
) -> Float[np.ndarray, "atoms directions"]:
    """Take lattice vectors, and the movement of all atoms together, out of displacements.

    Args:
        fractional: Displacements in cell vectors, along the periodic directions.
    """
    # Relative to one atom first, so that even a movement of all by half a cell does not change images.
    moved = fractional - fractional[0]
    moved -= np.round(moved)
    return moved - moved.mean(axis=0)


def _to_nearest_images(
    moved: Float[np.ndarray, "atoms 3"], atoms: Atoms, images: Images
) -> Float[np.ndarray, "atoms 3"]:
    """Take lattice vectors, and a movement of all atoms together, out of displacements.

    Raises:
        InputError: an atom has moved so far that its image is in doubt.
    """
    pbc = atoms.pbc
    if not pbc.any():
        return moved
    cell, _ = minkowski_reduce(atoms.cell.complete().array, pbc)
    fractional = np.linalg.solve(cell.T, moved.T).T
    periodic = nearest_images(fractional[:, pbc])
    farthest = np.abs(periodic).max(axis=1)
    if farthest.max() > LARGEST_SHARE:
        atom, before = int(np.argmax(farthest)), "structure before it" if images == "path" else "reference"
        raise InputError(
            f"{source(atoms)}: atom {atom} is {farthest[atom]:.2f} of a cell vector away from where it is in "
            f"the {before}, so that it is in doubt which of its images has moved there; give the structures "
            "of a path in small steps and images='path', or positions that were never wrapped and "
            "images='unwrapped'"
        )
    fractional[:, pbc] = periodic
    return fractional @ cell


def _check_pair(atoms: Atoms, reference: Atoms) -> None:
    """Refuse a structure whose dipole relative to a reference means nothing.

    Raises:
        InputError: it has other atoms, another cell or another charge, or it is periodic and charged.
    """
    name, charge = source(atoms), atoms.info.get("charge", 0.0)
    if not np.array_equal(atoms.numbers, reference.numbers):
        raise InputError(
            f"{name}: other atoms than the reference, or in another order; a dipole is relative to a "
            "reference with the same atoms in the same order"
        )
    if charge != reference.info.get("charge", 0.0):
        raise InputError(
            f"{name}: a net charge of {charge} e, but {reference.info.get('charge', 0.0)} e in the "
            "reference; give both the same info['charge']"
        )
    if not np.array_equal(atoms.pbc, reference.pbc):
        raise InputError(f"{name}: periodic along {atoms.pbc}, but {reference.pbc} in the reference; set pbc")
    if not atoms.pbc.any():
        return
    difference = float(np.abs(atoms.cell.array - reference.cell.array)[atoms.pbc].max())
    if difference > SAME_CELL:
        raise InputError(
            f"{name}: the cell differs from that of the reference by {difference:.3g} Å; what a strain does "
            "to the polarisation (the piezoelectric response of the electrons) does not follow from Born "
            "effective charges, so give a reference in this cell"
        )
    if charge:
        raise InputError(
            f"{name}: a net charge of {charge} e; the dipole of a charged cell depends on the origin, which "
            "means nothing in a crystal; give a neutral one"
        )
