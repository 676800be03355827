"""Where phonons at Gamma come from: phonopy's files, or a crystal of springs."""

import argparse
import dataclasses
from pathlib import Path

import numpy as np
from ase import Atoms
from jaxtyping import Float
from phonopy import Phonopy
from phonopy.physical_units import get_calculator_physical_units

from equivar_jax.calculators.charges import Charges, function_of
from equivar_jax.errors import InputError
from equivar_jax.prediction.predictor import Predictor
from equivar_jax.response.phonons.harmonic import nearest_neighbour_springs, rock_salt
from equivar_jax.response.phonons.phonopy_crystal import FORCE_FILES, load_phonon, structure_of
from equivar_jax.structures import EPSILON, checked_tensors


@dataclasses.dataclass(frozen=True)
class Phonons:
    """A structure at rest with its force constants and Born effective charges."""

    atoms: Atoms
    """The primitive cell; `info["epsilon_inf"]` is its electronic dielectric tensor, if that is known."""
    force_constants: Float[np.ndarray, "atoms atoms 3 3"]
    """[atom, atom, direction, direction] in eV/Å², periodic images summed."""
    charges: Float[np.ndarray, "atoms 3 3"]
    """Born effective charges in e, [atom, field, displacement]."""


def add_phonon_options(parser: argparse.ArgumentParser) -> None:
    """The options that `phonons_of` reads, but for the phonopy file itself."""
    parser.add_argument(
        "--force-constants", type=Path, help=f"phonopy's {', '.join(FORCE_FILES)}, if not in the YAML file"
    )
    parser.add_argument("--checkpoint", help="run directory of the model that gives Born effective charges")
    parser.add_argument("--example", action="store_true", help="a model crystal, CaMgO2 of springs")


def phonons_of(options: argparse.Namespace, predictor: Predictor | None) -> Phonons:
    """The phonons and Born effective charges that a command was given.

    Args:
        options: Of `add_phonon_options`, with the phonopy file as `phonons`.
        predictor: The network of `--checkpoint`; its charges come before those of the phonopy file.

    Raises:
        InputError: what `read_phonons` refuses.
    """
    if options.example:
        return example_phonons()
    charges = None if predictor is None else predictor.predict
    return read_phonons(options.phonons, options.force_constants, charges)


def example_phonons() -> Phonons:
    """Tetragonal CaMgO2: rock salt with layers of Ca and Mg, nearest-neighbour springs and nominal charges.

    The springs would put MgO's line at 400 cm⁻¹; everything follows from them, and nothing of it is measured.
    """
    atoms = rock_salt("MgO")
    force_constants = nearest_neighbour_springs(atoms, along=2.4, across=0.22)
    cations = atoms.symbols == "Mg"
    atoms.symbols[cations & (atoms.positions[:, 2] < 0.1)] = "Ca"
    atoms.info[EPSILON] = 3.0 * np.eye(3)
    return Phonons(atoms, force_constants, np.where(cations, 2.0, -2.0)[:, None, None] * np.eye(3))


def read_phonons(path: Path, forces: Path | None = None, charges: Charges | None = None) -> Phonons:
    """Phonons of the primitive cell that phonopy makes of one of its YAML files.

    Args:
        path: phonopy_params.yaml, phonopy_disp.yaml or phonopy.yaml, plain or compressed.
        forces: As for `load_phonon`.
        charges: Born effective charges of the primitive cell; by default those of the YAML file.

    Raises:
        InputError: what `load_phonon` refuses, or there are no force constants or Born effective charges.
    """
    phonon = load_phonon(path, forces)
    if phonon.force_constants is None:
        raise InputError(
            f"{path}: no force constants in it, and none of {', '.join(FORCE_FILES)} beside it; "
            "make them with phonopy --writefc, or name the file by --force-constants"
        )
    atoms, nac = structure_of(phonon, phonon.primitive, str(path)), phonon.nac_params
    if charges is not None:
        tensors = function_of(charges)(atoms)
    elif nac is not None:
        tensors = checked_tensors(nac["born"], atoms)
    else:
        raise InputError(f"{path}: no Born effective charges in it; name a model by --checkpoint")
    return Phonons(atoms, _force_constants_at_gamma(phonon), tensors)


def _force_constants_at_gamma(phonon: Phonopy) -> Float[np.ndarray, "atoms atoms 3 3"]:
    """Of the primitive cell in eV/Å², [atom, atom, direction, direction], periodic images summed."""
    phonon.nac_params = None  # with them, phonopy's modes are longitudinal in part
    roots = np.sqrt(np.repeat(phonon.primitive.masses, 3))
    found = phonon.run_qpoints([[0, 0, 0]], with_dynamical_matrices=True)
    constants = np.asarray(found.dynamical_matrices)[0].real * np.outer(roots, roots)
    here, ours = (get_calculator_physical_units(name).factor for name in (phonon.calculator, None))
    # phonopy's factors turn sqrt(force constant / u) into THz.
    constants *= (here / ours) ** 2
    size = len(phonon.primitive)
    return constants.reshape(size, 3, size, 3).transpose(0, 2, 1, 3)
