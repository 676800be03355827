"""Readers of Abinit's anaddb.nc and DDB files, which use abipy.

Index order in anaddb.nc: `becs_cart` is Fortran's `zeff(electric field direction, atomic direction, atom)`
(Abinit, subroutine dtech9 of m_ddb), so Python sees [atom, displacement, field]: the **first index is the
displacement**, in e. abipy says the same of its `Zeffs` ("last axis is the external field").

A DDB names the two perturbations of each second derivative of the energy: perturbation `atom` is a
displacement and perturbation `natom + 2` the field, both in reduced coordinates. This module chooses the
order of the indices in the result.
"""

import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.units import Bohr
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import finish_structure, refuse_choices
from equivar_jax.io.files import base_name, excerpt, open_text, plain_file
from equivar_jax.io.options import ReadOptions

_DDB_TITLE = "DERIVATIVE DATABASE"
_DDB_BLOCKS = "Number of data blocks"
_ELEMENTS = "# elements"


def recognises_anaddb(path: Path, head: bytes) -> bool:
    """Return whether a file is an anaddb.nc file, judged by its name and its first bytes."""
    name = base_name(path).lower()
    is_netcdf = head.startswith((b"CDF", b"\x89HDF"))
    return is_netcdf and (name.endswith("anaddb.nc") or (name.endswith(".nc") and b"becs_cart" in head))


def recognises_ddb(path: Path, head: bytes) -> bool:
    """Return whether a file is a DDB text file, judged by its first lines or its name."""
    return _DDB_TITLE.encode() in head or base_name(path).endswith("_DDB")


def read_anaddb(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of an anaddb.nc file.

    Args:
        path: the file, plain or compressed. Its name ends in `.nc`, before any compression suffix.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure, in Å. The label, if the file has one, has shape (N, 3, 3), [atom, field, displacement],
        in e. It obeys the acoustic sum rule as far as anaddb's setting `chneut` made it.
        `atoms.info["epsilon_inf"]` holds the dielectric tensor of clamped ions, float64 (3, 3).

    Raises:
        InputError: abipy is not installed or cannot read the file, the tensors are all zero or not finite, or
            an option was given.
    """
    refuse_choices(path, options)
    with _translate_abipy_faults(path), plain_file(path) as plain:
        from abipy.dfpt.anaddbnc import AnaddbNcFile

        with AnaddbNcFile(str(plain)) as file:
            _refuse_mixed_atoms(file.r.read_value("atomic_numbers").tolist(), path)
            atoms = _ase_atoms(file.structure)
            stored = None
            if "becs_cart" in file.r.rootgrp.variables:
                stored = np.array(file.r.read_value("becs_cart"), dtype=np.float64)
                epsilon = np.array(file.r.read_value("emacro_cart"), dtype=np.float64).T
    if stored is None:
        yield finish_structure(atoms, f"{path}, frame 0")
        return
    if not stored.any():
        raise InputError(
            f"{path}: all Born effective charges are zero, as anaddb leaves them when its DDB has no "
            "electric field; run anaddb on a DDB with one"
        )
    if stored.shape != (len(atoms), 3, 3) or epsilon.shape != (3, 3) or not np.isfinite(epsilon).all():
        raise InputError(
            f"{path}: the tensors do not fit the {len(atoms)} atoms or are not finite; run anaddb again"
        )
    yield finish_structure(atoms, f"{path}, frame 0", stored.transpose(0, 2, 1), epsilon)


def read_ddb(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the structure and the Born effective charges of a DDB text file.

    Args:
        path: the file, plain or compressed.
        options: must be empty, because the format leaves nothing open.

    Yields:
        One structure, in Å. The label, if the file has derivatives by field and displacement, has shape (N,
        3, 3), [atom, field, displacement], in e. `atoms.info["epsilon_inf"]` holds the dielectric tensor of
        clamped ions, float64 (3, 3), if the file has all its components.

    Raises:
        InputError: abipy is not installed or cannot read the file, some of the derivatives are missing
            (anaddb completes them by symmetry), there are several blocks at Gamma, or an option was given.
    """
    refuse_choices(path, options)
    with open_text(path) as handle:
        text = handle.read()
    if _DDB_TITLE not in text or _DDB_BLOCKS not in text:
        # Without these words abipy would search for ever.
        raise InputError(
            f"{path}: not a DDB file, or one cut short before its data; write it again with Abinit"
        )
    with _translate_abipy_faults(path), plain_file(path) as plain:
        from abipy.dfpt.ddb import DdbFile

        with DdbFile(str(plain)) as ddb:
            _refuse_mixed_atoms(_header_numbers(ddb, "znucl"), path)
            atoms = _ase_atoms(ddb.structure)
            derivatives = _gamma_derivatives(ddb, path)
            ionic = np.array(_header_numbers(ddb, "zion"))[np.atleast_1d(ddb.header.typat) - 1]
    tensors, epsilon = None, None
    finish_structure(atoms, f"{path}, frame 0")  # what follows needs a lattice
    if derivatives is not None:
        tensors = _convert_tensors(derivatives, atoms, ionic, path)
        epsilon = _dielectric_tensor(derivatives, atoms)
    yield finish_structure(atoms, f"{path}, frame 0", tensors, epsilon)


def _convert_tensors(derivatives: np.ndarray, atoms: Atoms, ionic: np.ndarray, path: Path) -> np.ndarray:
    """Return Born charges [atom, field, displacement], e, from reduced derivatives and ionic charges."""
    count, field = len(ionic), len(ionic) + 1
    field_first = derivatives[:, field, :, :count].transpose(2, 0, 1)
    field_last = derivatives[:, :count, :, field].transpose(1, 2, 0)
    mixed = np.where(np.isnan(field_last), field_first, field_last)
    mixed = (mixed + np.where(np.isnan(field_first), mixed, field_first)) / 2
    missing = int(np.isnan(mixed).sum())
    if missing:
        raise InputError(
            f"{path}: {missing} of {mixed.size} derivatives by field and displacement are missing; run "
            "anaddb, which completes them by symmetry, and read its anaddb.nc"
        )
    return cartesian_charges(mixed, atoms, ionic)


def cartesian_charges(
    mixed: Float[np.ndarray, "atoms 3 3"], atoms: Atoms, ionic: Float[np.ndarray, " atoms"]
) -> Float[np.ndarray, "atoms 3 3"]:
    """Make Born effective charges of Abinit's derivatives of the energy of the electrons.

    Args:
        mixed: second derivatives by field and displacement [atom, field, displacement], reduced coordinates.
        atoms: the structure.
        ionic: charge of each ion, in e.

    Returns:
        Tensors [atom, field, displacement] in e.
    """
    # Abinit's reduced field is conjugate to the reduced k point, hence the 2 pi. Lattice vectors are rows.
    lattice = atoms.cell.array
    with np.errstate(over="ignore", invalid="ignore"):  # a label that is not finite is refused
        electrons = np.einsum("ia,kij,bj->kab", lattice, mixed, np.linalg.inv(lattice)) / (2 * np.pi)
    return electrons + ionic[:, None, None] * np.eye(3)


def _dielectric_tensor(derivatives: np.ndarray, atoms: Atoms) -> np.ndarray | None:
    """Return the dielectric tensor of clamped ions, or None if a component is missing."""
    field = len(atoms) + 1
    reduced = derivatives[:, field, :, field]
    if np.isnan(reduced).any():
        return None
    lattice = atoms.cell.array / Bohr  # the derivatives are in hartree, so lengths are in bohr
    volume = abs(np.linalg.det(lattice))
    return np.eye(3) - np.einsum("ia,ij,jb->ab", lattice, reduced, lattice) / (np.pi * volume)


def _gamma_derivatives(ddb: Any, path: Path) -> np.ndarray | None:
    """Return the second derivatives of the energy at Gamma, or None if Born charges cannot be made.

    The derivatives are in reduced coordinates, in hartree, with index order [direction, perturbation,
    direction, perturbation]. Perturbations are counted from 0, the field is number `natom + 1`. Derivatives
    that the file lacks are NaN. The result is None if the file has no derivative by field and displacement.
    """
    blocks = [block for block in ddb.blocks if block["dord"] == 2 and not np.any(block["qpt"])]
    if not blocks or not ddb.has_bec_terms():
        return None
    if len(blocks) > 1:
        raise InputError(
            f"{path}: {len(blocks)} blocks at Gamma instead of one; merge them with mrgddb or run anaddb"
        )
    elements = next(frame for point, frame in ddb.computed_dynmat.items() if not np.any(point.frac_coords))
    announced = int(blocks[0]["data"][0].split(_ELEMENTS)[1].strip(" :"))
    if len(elements) != announced or not elements.index.is_unique:
        raise InputError(
            f"{path}: the block at Gamma has {len(elements)} elements but announces {announced}; "
            "the file was cut short or edited, write it again"
        )
    places = elements[["idir1", "ipert1", "idir2", "ipert2"]].to_numpy().T - 1
    if places.min() < 0 or places[::2].max() > 2:
        raise InputError(
            f"{path}: the block at Gamma has directions outside 1 to 3; write the file again with Abinit"
        )
    known = (places[1::2] <= ddb.natom + 1).all(axis=0)  # strains are numbered after the field
    derivatives = np.full((3, ddb.natom + 2, 3, ddb.natom + 2), np.nan)
    derivatives[tuple(places[:, known])] = elements["cvalue"].to_numpy().real[known]
    return derivatives


def _refuse_mixed_atoms(numbers: list[float], path: Path) -> None:
    """Refuse atomic numbers that are fractions; abipy would truncate them to whole numbers."""
    if any(number != round(number) for number in numbers):
        raise InputError(
            f"{path}: atomic numbers {numbers} are not whole; give a structure without mixed atoms"
        )


def _header_numbers(ddb: Any, key: str) -> list[float]:
    """Read numbers from the header of a DDB that abipy would truncate to whole numbers."""
    found = re.search(rf"^ *{key}((?:\s+[-+.\dDE]+)+) *$", "\n".join(ddb.header.lines), re.MULTILINE)
    if found is None:
        raise ValueError(f"no {key} in the header")
    return [float(word.replace("D", "E")) for word in found[1].split()]


@contextmanager
def _translate_abipy_faults(path: Path) -> Iterator[None]:
    """Turn whatever abipy raises into one `InputError`, and keep abipy from printing."""
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        except InputError:
            raise
        except ImportError as error:
            raise InputError(
                f"{path}: reading it needs abipy ({excerpt(str(error), 120)}); pip install abipy"
            ) from None
        except Exception as error:
            # abipy keeps a file that it cannot read open as long as the stack frames of its parser exist.
            traceback.clear_frames(error.__traceback__)
            # Its parsers have no common exception: the kind depends on the line that met the damage.
            raise InputError(
                f"{path}: abipy cannot read it ({type(error).__name__}: {excerpt(str(error), 120)}); "
                "write it again with Abinit"
            ) from None


def _ase_atoms(structure: Any) -> Atoms:
    """Convert an abipy structure to ASE's `Atoms`, in Å."""
    return Atoms(
        numbers=structure.atomic_numbers,
        cell=structure.lattice.matrix,
        scaled_positions=structure.frac_coords,
        pbc=True,
    )
