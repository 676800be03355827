"""The files that the task `born` writes, each for the program that its name belongs to."""

from collections.abc import Callable, Sequence
from pathlib import Path

from ase import Atoms
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import NacParams
from phonopy.physical_units import get_calculator_physical_units

from equivar_jax.errors import InputError
from equivar_jax.figures import is_picture
from equivar_jax.io.files import OUTPUT_NAMES, complete_file, output_suffix
from equivar_jax.io.phonopy_born_writer import write_born
from equivar_jax.io.shengbte_writer import write_control
from equivar_jax.io.tensor_rows_writer import write_bec, write_borninfo, write_lotosplitting
from equivar_jax.response.phonons.phonopy_crystal import atoms_of
from equivar_jax.response.splitting.bands import describe_gamma, plot_bands
from equivar_jax.structures import EPSILON, with_born_effective_charges

YAML = (".yaml", ".yml")
BANDS = "bands"
_OF_PRIMITIVE_CELL: dict[str, Callable[[Path, list[Atoms]], None]] = {
    ".born": write_born,
    ".borninfo": write_borninfo,
}
_OF_UNIT_CELL: dict[str, Callable[[Path, list[Atoms]], None]] = {
    ".bec": write_bec,
    ".control": write_control,
    ".lotosplitting": write_lotosplitting,
}


def output_kind(path: Path) -> str:
    """Tell from the name of an output file what to write: a suffix that means a format, or `BANDS`.

    Raises:
        InputError: The name tells no format, or there is no folder to write to.
    """
    suffix = output_suffix(path)
    if suffix in _OF_PRIMITIVE_CELL or suffix in _OF_UNIT_CELL or path.suffix in YAML:
        kind = suffix
    elif is_picture(path):
        kind = BANDS
    else:
        raise InputError(
            f"{path}: the name tells no format; name it {', '.join(OUTPUT_NAMES)}, .yaml, or a picture such "
            "as .png"
        )
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written; name a file in a folder that is there")
    return kind


def needs_epsilon(kind: str) -> bool:
    """Return whether the dielectric tensor is part of an output."""
    return kind != ".bec"


def write_output(
    path: Path, kind: str, phonon: Phonopy, force_constants: bool, members: Sequence[NacParams] = ()
) -> None:
    """Write one output file; for a picture, also print the LO and TO modes at Gamma.

    Args:
        path: The file.
        kind: What `output_kind` says of it.
        phonon: A phonopy object with NAC parameters.
        force_constants: Whether a YAML file is to have force constants although it has forces.
        members: NAC parameters by each member of a committee, for standard deviations of what is printed.
    """
    assert phonon.nac_params is not None
    if kind == BANDS:
        plot_bands(phonon, path)
        print("\n".join(describe_gamma(phonon, members)))
    elif kind in YAML:
        with complete_file(path) as partial:
            # Without this setting phonopy leaves force constants out where there are forces.
            phonon.save(partial, settings={"force_constants": True} if force_constants else None)
    elif kind in _OF_PRIMITIVE_CELL:
        _OF_PRIMITIVE_CELL[kind](path, [_labelled(phonon, primitive=True)])
    else:
        _OF_UNIT_CELL[kind](path, [_labelled(phonon, primitive=False)])


def _labelled(phonon: Phonopy, primitive: bool) -> Atoms:
    """Return phonopy's primitive cell or its unit cell, in Å, with tensors and dielectric tensor.

    Atoms of the unit cell that a lattice vector of the primitive cell connects have the same tensor.
    """
    nac, cells = phonon.nac_params, phonon.primitive
    assert nac is not None
    length = get_calculator_physical_units(phonon.calculator).distance_to_A
    atoms = atoms_of(phonon.primitive if primitive else phonon.unitcell, length)
    tensors = nac["born"]
    if not primitive:
        tensors = tensors[[cells.p2p_map[cells.s2p_map[image]] for image in phonon.supercell.u2s_map]]
    atoms.info[EPSILON] = nac["dielectric"]
    return with_born_effective_charges(atoms, tensors)
