"""Reader of phonopy's BORN files, which uses phonopy.

Index order in the file: one line of nine numbers for each inequivalent atom of the primitive cell, xx xy xz
yx yy ..., **first index the field direction**, second the displacement direction, in e. phonopy contracts the
first index with the wave vector (`numpy.dot(q, born)` in `DynamicalMatrixWang`), that is with the macroscopic
field. abipy 1.0.0 writes them **transposed** (`abinit_to_phonopy`); `first_index` "displacement" reads such a
file, and nothing in the file tells it from another.

The first line is a comment or phonopy's unit conversion factor of the non-analytical term (with two optional
numbers after it); the factor does not scale the tensors. The second line is the dielectric tensor. A BORN
file has no structure; the structure is read from another file of its folder.
"""

import re
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from equivar_jax.errors import InputError
from equivar_jax.io.files import format_suffix, open_text, require_file
from equivar_jax.io.isotopes import poscar_with_hydrogen
from equivar_jax.io.options import ReadOptions, field_first, refuse_key
from equivar_jax.io.phonopy_yaml import (
    Crystal,
    convert_crystal,
    load_crystal,
    nac_tensors,
    primitive_cell,
    translate_phonopy_faults,
)

SYMMETRY_TOLERANCE = 0.02
"""Largest deviation of tensors from the symmetry of their crystal, in e: more than DFPT codes leave, and less
than a wrong structure, orientation or index order causes."""

_YAML_FILES = tuple(
    f"{program}{part}.yaml" for program in ("phonopy", "phono3py") for part in ("_params", "_disp", "")
)
_NUMBER = rb"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?"
_NINE_NUMBERS = re.compile(rb"\s*" + rb"\s+".join([_NUMBER] * 9) + rb"\s*")


def recognises_born(path: Path, head: bytes) -> bool:
    """Return whether a file is a BORN file: named BORN without a suffix, or with such content."""
    if path.name.startswith("BORN") and format_suffix(path) == "":
        return True
    first, *rest = head.splitlines() or [b""]
    rest = rest[:2]
    return bool(
        len(rest) == 2
        and first.split()
        and not _NINE_NUMBERS.fullmatch(first)
        and all(_NINE_NUMBERS.fullmatch(line) for line in rest)
    )


def read_born(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read a BORN file together with the structure in its folder.

    The structure is in the first file that exists of `phonopy_params.yaml`, `phonopy_disp.yaml`,
    `phonopy.yaml` and those of phono3py (also compressed), then of the unit cell files that phonopy expects
    of each calculator (`POSCAR`, `unitcell.in`, `geometry.in`, ...). phonopy reads it, makes the primitive
    cell (with the matrix that a YAML file states, else "auto", as `phonopy.load` does), and gives each atom
    the tensor of its inequivalent atom, rotated by the crystal's symmetry.

    Args:
        path: the file, plain or compressed (gzip, bzip2, xz, zstd).
        options: `first_index` may say that the tensors are stored transposed; by default the field is first.

    Yields:
        One structure: the primitive cell, in Å, in phonopy's order of atoms. The label has shape (N, 3, 3),
        [atom, field, displacement], in e. `atoms.info["epsilon_inf"]` holds the dielectric tensor, float64
        (3, 3).

    Raises:
        InputError: the folder has no structure, one of the two files cannot be read, the tensors are not
            those of the inequivalent atoms, break the symmetry of the structure by more than
            `SYMMETRY_TOLERANCE` or are not finite, or a key was given.
    """
    refuse_key(path, options)
    require_file(path)
    structure, crystal = _find_crystal(path)
    nac = read_born_tensors(path, crystal.primitive, structure, options)
    yield convert_crystal(crystal._replace(nac=nac), f"{path}, frame 0")


def read_born_tensors(path: Path, primitive: Any, structure: Path, options: ReadOptions) -> dict[str, Any]:
    """Read the tensors of every atom of a primitive cell from a BORN file.

    Args:
        path: the file, plain or compressed.
        primitive: the primitive cell, a `PhonopyAtoms`.
        structure: the file that the cell is from, for messages.
        options: see `read_born`.

    Returns:
        phonopy's parameters of the non-analytical term: `born`, float64 (N, 3, 3), [atom, field,
        displacement], in e, `dielectric`, float64 (3, 3), and what the first line of the file states.

    Raises:
        InputError: see `read_born`.
    """
    with open_text(path) as handle:
        text = handle.read()
    with translate_phonopy_faults(path, f"the tensors of the inequivalent atoms of {structure}"):
        from phonopy.file_IO import parse_BORN_from_strings

        parsed = parse_BORN_from_strings(text, primitive)
        nac = nac_tensors(parsed)
    if not all(np.isfinite(tensors).all() for tensors in nac.values()):
        name = next(name for name, tensors in nac.items() if not np.isfinite(tensors).all())
        raise InputError(f"{path}: numbers of {name} are not finite; write the file again")
    with translate_phonopy_faults(path, f"the tensors of {structure}"):
        broken = _symmetry_violation(nac["born"], nac["dielectric"], primitive)
    if broken > SYMMETRY_TOLERANCE:
        raise InputError(
            f"{path}: its tensors break the symmetry of {structure} by {broken:.3f} e (more than "
            f"{SYMMETRY_TOLERANCE} e); put the structure that it was made for beside it, with the same "
            "orientation and order of atoms"
        )
    return {**parsed, **nac, "born": field_first(nac["born"], options)}


def _symmetry_violation(tensors: np.ndarray, epsilon: np.ndarray, primitive: Any) -> float:
    """Return the largest change of a component, in e, when phonopy symmetrises the tensors.

    The change by which phonopy imposes the sum rule is left out.
    """
    from phonopy.structure.symmetry import symmetrize_borns_and_epsilon

    symmetric, _ = symmetrize_borns_and_epsilon(tensors, epsilon, primitive)
    # phonopy also imposes the sum rule, with the same tensor on every atom.
    change = tensors - tensors.mean(axis=0) - symmetric
    return float(np.abs(change).max())


def _find_crystal(path: Path) -> tuple[Path, Crystal]:
    """Return the structure file that belongs to a BORN file, and its primitive cell."""
    with translate_phonopy_faults(path, "a BORN file"):
        from phonopy.file_IO import get_supported_file_extensions_for_compression
        from phonopy.interface.calculator import calculator_info, get_default_cell_filename

        endings = get_supported_file_extensions_for_compression()
        calculators: dict[str, list[str]] = {}
        for calculator in sorted(calculator_info, key=lambda name: name != "vasp"):
            calculators.setdefault(get_default_cell_filename(calculator), []).append(calculator)
    for name, ending in product(_YAML_FILES, endings):
        candidate = path.parent / f"{name}{ending}"
        if candidate.is_file():
            return candidate, load_crystal(candidate)
    for name, possible in calculators.items():
        candidate = path.parent / name
        if candidate.is_file():
            return candidate, _read_calculator_crystal(candidate, possible)
    raise InputError(
        f"{path}: a BORN file has no structure, and none of {', '.join([*_YAML_FILES, *calculators])} is "
        "beside it; put the structure there"
    )


def _read_calculator_crystal(path: Path, calculators: list[str]) -> Crystal:
    """Return the primitive cell, by phonopy's "auto", from the unit cell file of a calculator.

    Several calculators may use a file of this name; all of them that can read it must agree on the cell.

    Raises:
        InputError: none of the calculators can read the file, or they read different structures from it.
    """
    found: list[Crystal] = []
    faults: list[str] = []
    for calculator in calculators:
        try:
            found.append(_read_unit_cell(path, calculator))
        except InputError as fault:
            faults.append(str(fault).removeprefix(f"{path}: "))
    if not found:
        raise InputError(f"{path}: {'; '.join(faults)}")
    if not all(_is_same_cell(found[0], other) for other in found[1:]):
        raise InputError(
            f"{path}: {', '.join(calculators)} would read different structures from this file; "
            "put phonopy_disp.yaml beside it"
        )
    with translate_phonopy_faults(path, "a crystal"):
        return found[0]._replace(primitive=primitive_cell(found[0].primitive, "auto"))


def _read_unit_cell(path: Path, calculator: str) -> Crystal:
    """Read the unit cell file of a calculator."""
    with translate_phonopy_faults(path, f"a structure of {calculator}"):
        from phonopy.interface.calculator import read_crystal_structure
        from phonopy.physical_units import get_calculator_physical_units

        with poscar_with_hydrogen(path) if path.name == "POSCAR" else nullcontext((path, None)) as found:
            readable, isotopes = found
            unit_cell, _ = read_crystal_structure(readable, interface_mode=calculator)
        if isotopes is not None and unit_cell is not None:
            unit_cell.masses = np.where(np.isnan(isotopes), unit_cell.masses, isotopes)
        length = get_calculator_physical_units(calculator).distance_to_A
        return Crystal(unit_cell, length, None)


def _is_same_cell(one: Crystal, other: Crystal) -> bool:
    """Return whether two readings of a file agree, up to different values of the bohr."""
    a, b = (crystal.primitive for crystal in (one, other))
    return (
        a.symbols == b.symbols
        and np.allclose(a.cell * one.length, b.cell * other.length, rtol=1e-5)
        and np.allclose(a.scaled_positions, b.scaled_positions, atol=1e-5)
    )
