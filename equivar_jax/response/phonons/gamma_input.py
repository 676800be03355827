"""Input for phonons at Gamma: phonopy's files, or a model crystal of springs."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.physical_units import get_calculator_physical_units

from equivar_jax.calculators.charges import Charges, make_charge_function
from equivar_jax.config.schema import FirstIndex
from equivar_jax.errors import InputError
from equivar_jax.io.files import format_suffix
from equivar_jax.prediction.loading import load
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.options import FORCE_FILES
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.phonons.phonopy_crystal import file_of_tensors, load_phonon, structure_of
from equivar_jax.structures import EPSILON, check_tensors


@dataclasses.dataclass(frozen=True)
class Phonons:
    """A structure at rest with its force constants and Born effective charges."""

    atoms: Atoms
    """The primitive cell. `info["epsilon_inf"]` is its electronic dielectric tensor, if that is known."""
    force_constants: Float[np.ndarray, "atoms atoms 3 3"]
    """Force constants in eV/Å², [atom, atom, direction, direction], periodic images summed."""
    charges: Float[np.ndarray, "atoms 3 3"]
    """Born effective charges in e, [atom, field, displacement]."""


def phonons_of(options: argparse.Namespace) -> tuple[Phonons, Predictor | None]:
    """Read the phonons and Born effective charges that the options of a command name.

    The charges are those of the network of `--checkpoint`, else of the phonopy file or the `BORN` beside it,
    else of the weights of the package; whose they are is printed.

    Args:
        options: The options `checkpoint`, `force_constants`, `first_index` and `example`, and the path of the
            phonopy file as `phonons`.

    Returns:
        The phonons, and the network that gave the charges, if one did.

    Raises:
        InputError: The input is one that `read_phonons` or `load` refuses.
    """
    if options.example:
        return example_phonons(), None
    used = [load(options.checkpoint)] if options.checkpoint else []

    def predict(atoms: Atoms) -> Float[np.ndarray, "atoms 3 3"]:
        if not used:
            used.append(load())
        return used[0].predict(atoms)

    found = read_phonons(
        options.phonons,
        options.force_constants,
        predict if used else None,
        options.first_index,
        otherwise=predict,
    )
    if used:
        origin = f"the network in {options.checkpoint}" if options.checkpoint else "the package's weights"
    else:
        origin = f"{file_of_tensors(options.phonons)}; --checkpoint shipped predicts them"
    print(f"{options.phonons}: Born effective charges of {origin}")
    return found, used[0] if used else None


def example_phonons() -> Phonons:
    """Make a model of tetragonal CaMgO2: rock salt with layers of Ca and Mg, springs and nominal charges.

    The springs join nearest neighbours and would put the line of MgO at 400 cm⁻¹. Nothing here is measured.
    """
    atoms = rock_salt("MgO")
    force_constants = nearest_neighbour_springs(atoms, along=2.4, across=0.22)
    cations = atoms.symbols == "Mg"
    atoms.symbols[cations & (atoms.positions[:, 2] < 0.1)] = "Ca"
    atoms.info[EPSILON] = 3.0 * np.eye(3)
    return Phonons(atoms, force_constants, np.where(cations, 2.0, -2.0)[:, None, None] * np.eye(3))


def read_phonons(
    path: Path,
    forces: Path | None = None,
    charges: Charges | None = None,
    first_index: FirstIndex | None = None,
    otherwise: Charges | None = None,
) -> Phonons:
    """Read the phonons of the primitive cell from a phonopy YAML file.

    Args:
        path: phonopy_params.yaml, phonopy_disp.yaml or phonopy.yaml, plain or compressed.
        forces: File of force constants or forces; see `load_phonon`.
        charges: Born effective charges of the primitive cell; by default those of the YAML file, else those
            of the file BORN beside it.
        first_index: What the first index of the charges in these files is; None is the field.
        otherwise: Charges that are taken where no file has any.

    Raises:
        InputError: `load_phonon` refuses the files, which may be those of a structure alone, or force
            constants or Born effective charges are missing.
    """
    try:
        phonon = load_phonon(path, forces, first_index)
    except InputError as error:
        if not path.is_file() or format_suffix(path) in (".yaml", ".yml"):
            raise
        raise InputError(
            f"{error}. If {path.name} is a structure, its phonons come first: `equivar response crystal "
            f"{path} --potential NAME`, or `phonopy -d` and your own forces"
        ) from None
    if phonon.force_constants is None:
        raise InputError(
            f"{path}: no force constants in it, and none of {', '.join(FORCE_FILES)} beside it; "
            "write them with phonopy --writefc, or name their file by --force-constants"
        )
    atoms, nac = structure_of(phonon, phonon.primitive, str(path)), phonon.nac_params
    if charges is not None:
        tensors = make_charge_function(charges)(atoms)
    elif nac is not None:
        tensors = check_tensors(nac["born"], atoms)
    elif otherwise is not None:
        tensors = make_charge_function(otherwise)(atoms)
    else:
        raise InputError(
            f"{path}: no Born effective charges in it, and no BORN beside it; name a model by --checkpoint"
        )
    return Phonons(atoms, force_constants_at_gamma(phonon), tensors)


def force_constants_at_gamma(phonon: Phonopy) -> Float[np.ndarray, "atoms atoms 3 3"]:
    """Return the force constants of the primitive cell in eV/Å², periodic images summed.

    They are without the field of longitudinal modes, whether `phonon` has NAC parameters or not.

    Args:
        phonon: A phonopy object with force constants.

    Returns:
        Float64 [atom, atom, direction, direction], in the order of phonopy's primitive cell.
    """
    nac, phonon.nac_params = phonon.nac_params, None  # with them, phonopy would add that field
    roots = np.sqrt(np.repeat(phonon.primitive.masses, 3))
    found = phonon.run_qpoints([[0, 0, 0]], with_dynamical_matrices=True)
    constants = np.asarray(found.dynamical_matrices)[0].real * np.outer(roots, roots)
    phonon.nac_params = nac
    here, ours = (get_calculator_physical_units(name).factor for name in (phonon.calculator, None))
    # The factors of phonopy convert sqrt(force constant / u) to THz.
    constants *= (here / ours) ** 2
    size = len(phonon.primitive)
    return constants.reshape(size, 3, size, 3).transpose(0, 2, 1, 3)
