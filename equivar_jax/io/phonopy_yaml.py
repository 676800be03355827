"""Reader of phonopy's and phono3py's YAML files (phonopy_params.yaml, phono3py_disp.yaml, ...), by phonopy.

Index order in the file: `born_effective_charge` lists one 3x3 matrix for each atom of the primitive cell,
**first index the field direction**, second the displacement direction, in e. phonopy contracts the first
index with the wave vector (`numpy.dot(q, born)` in `DynamicalMatrixWang`), that is with the macroscopic
field. `first_index` can say "displacement" for a file that took its tensors from a BORN of abipy (see
`phonopy_born`).

Magnetic moments of the file stay with the structure, as ASE's initial magnetic moments, because phonopy's
symmetry obeys them.
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms
from jaxtyping import Float

from equivar_jax.errors import InputError
from equivar_jax.io.calculations import finish_structure
from equivar_jax.io.files import excerpt, format_suffix, open_text
from equivar_jax.io.isotopes import SAME_MASS
from equivar_jax.io.options import ReadOptions, field_first, refuse_key
from equivar_jax.structures import determinant

_MAPPING = re.compile(rb"^(phonopy|phono3py|unit_cell|primitive_cell):", re.MULTILINE)
# YAML takes `_` for a separator of digits and `:` for one of minutes; phonopy writes neither in its rows.
_ODD_NUMBER = re.compile(r"\[[^\[\]\n]*[\d.][_:][^\[\]\n]*\]")
# Forces and force constants are not needed here, and a fault in them must not prevent reading the structure.
_NOT_NEEDED = ("displacements", "force_constants", "supercell")


class Crystal(NamedTuple):
    """A crystal as phonopy reads it."""

    primitive: Any
    """Primitive cell, a `PhonopyAtoms` in the length unit of its calculator."""
    length: float
    """That unit in Å."""
    nac: dict[str, np.ndarray] | None
    """Tensors of the primitive cell's atoms (`born`) and the dielectric tensor (`dielectric`), if known."""


def recognises_phonopy_yaml(path: Path, head: bytes) -> bool:
    """Return whether a file is one of phonopy's YAML files, by its suffix and its first bytes."""
    return format_suffix(path) in (".yaml", ".yml") and _MAPPING.search(head) is not None


def read_phonopy_yaml(path: Path, options: ReadOptions) -> Iterator[Atoms | InputError]:
    """Read the primitive cell of a phonopy YAML file, with its Born effective charges if it holds them.

    Args:
        path: the file, plain or compressed (gzip, bzip2, xz, zstd).
        options: `first_index` may say that the tensors are stored transposed; by default the field is first.

    Yields:
        One structure: the primitive cell that the file's `primitive_matrix` gives (phonopy's "auto" if it has
        none), in Å, in phonopy's order of atoms. A label has shape (N, 3, 3), [atom, field, displacement], in
        e. `atoms.info["epsilon_inf"]` holds the dielectric tensor, float64 (3, 3).

    Raises:
        InputError: phonopy cannot read the file, there are tensors without a dielectric tensor, numbers are
            not finite, or a key was given.
    """
    refuse_key(path, options)
    crystal = load_crystal(path)
    if crystal.nac is not None:
        born = field_first(crystal.nac["born"], options)
        crystal = crystal._replace(nac={**crystal.nac, "born": born})
    yield convert_crystal(crystal, f"{path}, frame 0")


@contextmanager
def translate_phonopy_faults(path: Path, what: str) -> Iterator[None]:
    """Turn whatever phonopy raises while it reads `path` into one `InputError`, and keep it silent.

    Args:
        path: the file, for messages.
        what: what phonopy reads it as, for messages.
    """
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        # phonopy's parsers have no common exception, and some of them end the program.
        raise InputError(
            f"{path}: phonopy cannot read it as {what} ({type(error).__name__}: "
            f"{excerpt(str(error), 120)}); write it again with phonopy"
        ) from None


def load_crystal(path: Path) -> Crystal:
    """Read the primitive cell of a phonopy YAML file, with its tensors if it has them.

    Raises:
        InputError: phonopy cannot read the file.
    """
    with translate_phonopy_faults(path, "a phonopy YAML file"), open_text(path) as handle:
        import yaml
        from phonopy.interface.phonopy_yaml import load_phonopy_yaml
        from phonopy.physical_units import get_calculator_physical_units

        # phonopy's own loader would run Python code that the file names.
        text = handle.read()
        if odd := _ODD_NUMBER.search(text):
            raise InputError(
                f"{path}: found {excerpt(odd[0])}, which is no row of numbers; copy the file again"
            )
        content = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if not isinstance(content, dict):
            raise InputError(f"{path}: no phonopy YAML file but {excerpt(str(content))}; name another file")
        data = load_phonopy_yaml({key: content[key] for key in content if key not in _NOT_NEEDED})
        if data.unitcell is None:
            raise InputError(f"{path}: no unit_cell in the file; write it again with phonopy")
        matrix = "auto" if data.primitive_matrix is None else data.primitive_matrix
        primitive = primitive_cell(data.unitcell, matrix, data.supercell_matrix)
        length = get_calculator_physical_units(data.calculator).distance_to_A
    nac = content.get("nac", content)
    if data.nac_params is None and isinstance(nac, dict) and "born_effective_charge" in nac:
        raise InputError(f"{path}: born_effective_charge without dielectric_constant; phonopy needs both")
    return Crystal(primitive, length, None if data.nac_params is None else nac_tensors(data.nac_params))


def primitive_cell(unit_cell: Any, matrix: Any, supercell_matrix: Any = None) -> Any:
    """Return the `PhonopyAtoms` of the primitive cell that phonopy's class `Phonopy` would use.

    Args:
        unit_cell: a `PhonopyAtoms`.
        matrix: phonopy's primitive matrix, or "auto" for the one that the crystal's symmetry gives.
        supercell_matrix: phonopy's supercell matrix; None for the unit cell itself.
    """
    from phonopy import Phonopy

    matrix = usable_primitive_matrix(unit_cell, matrix)
    supercell = np.eye(3, dtype=int) if supercell_matrix is None else supercell_matrix
    primitive = Phonopy(unit_cell, supercell, primitive_matrix=matrix).primitive
    # "auto" gives an already primitive cell other lattice vectors; the user's own are kept.
    unchanged = isinstance(matrix, str) and len(primitive) == len(unit_cell)
    return unit_cell if unchanged else primitive


def phonopy_atoms(atoms: Atoms, **more: Any) -> Any:
    """Make phonopy's structure of a crystal, with right-handed lattice vectors.

    Of left-handed ones it gets the opposite vectors -a, -b, -c, which span the same lattice, and the same
    Cartesian coordinates: phonopy finds no primitive cell of left-handed ones ("auto"), and takes the signed
    volume for that of the non-analytical term.

    Args:
        atoms: The crystal.
        more: Further arguments of `PhonopyAtoms`.
    """
    from phonopy.structure.atoms import PhonopyAtoms

    hand = np.sign(determinant(atoms.cell.array))
    return PhonopyAtoms(
        numbers=atoms.numbers,
        cell=hand * atoms.cell.array,
        scaled_positions=hand * atoms.get_scaled_positions(),
        **more,
    )


def usable_primitive_matrix(unit_cell: Any, matrix: Any) -> Any:
    """Return phonopy's primitive matrix, and "P" where "auto" was asked for and the cell is left-handed.

    The vectors that "auto" finds are right-handed, and phonopy refuses a matrix of negative determinant.

    Args:
        unit_cell: a `PhonopyAtoms`.
        matrix: "auto", or anything else that phonopy takes, which is returned as it is.
    """
    return "P" if isinstance(matrix, str) and matrix == "auto" and determinant(unit_cell.cell) < 0 else matrix


def nac_tensors(nac: Any) -> dict[str, np.ndarray]:
    """Return the two tensors among phonopy's parameters of the non-analytical correction (NAC)."""
    return {name: np.asarray(nac[name], dtype=np.float64) for name in ("born", "dielectric")}


def convert_crystal(crystal: Crystal, where: str) -> Atoms:
    """Convert the primitive cell to a checked structure in Å, with its tensors if they are known.

    Raises:
        InputError: several elements share a site, the tensors have another shape, numbers are not finite, or
            `check_structure` refuses the structure.
    """
    cell = crystal.primitive
    if cell.has_mixtures or cell.has_weighted_species:
        raise InputError(f"{where}: sites shared by several elements; give an ordered structure")
    atoms = Atoms(
        numbers=cell.numbers,
        cell=cell.cell * crystal.length,
        scaled_positions=cell.scaled_positions,
        masses=_own_masses(cell),
        pbc=True,
    )
    if cell.magnetic_moments is not None:
        atoms.set_initial_magnetic_moments(cell.magnetic_moments)
    if crystal.nac is None:
        return finish_structure(atoms, where)
    tensors = crystal.nac["born"]
    if tensors.shape != (len(atoms), 3, 3):
        raise InputError(
            f"{where}: tensors of shape {tensors.shape} for a primitive cell of {len(atoms)} atoms, expected "
            f"({len(atoms)}, 3, 3); write the file again with phonopy"
        )
    return finish_structure(atoms, where, tensors, check_epsilon(crystal.nac["dielectric"], where))


def _own_masses(cell: Any) -> np.ndarray | None:
    """Return the masses of a `PhonopyAtoms` in u if they are not phonopy's own, as those of isotopes."""
    from phonopy.structure.atoms import PhonopyAtoms

    own = PhonopyAtoms(numbers=cell.numbers, cell=cell.cell, scaled_positions=cell.scaled_positions).masses
    return None if cell.masses is None or np.allclose(cell.masses, own, rtol=SAME_MASS) else cell.masses


def check_epsilon(epsilon: np.ndarray, where: str) -> Float[np.ndarray, "3 3"]:
    """Return a dielectric tensor unchanged if it is 3x3 and finite.

    Raises:
        InputError: it is not.
    """
    if epsilon.shape != (3, 3) or not np.isfinite(epsilon).all():
        raise InputError(
            f"{where}: the dielectric tensor is {excerpt(str(epsilon.tolist()))}, expected 3x3 numbers; "
            "repair it"
        )
    return epsilon
