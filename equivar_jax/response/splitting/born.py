"""LO-TO splitting from predicted tensors: files for phonopy and other programs, and the bands.

The non-analytical term of the dynamical matrix near Gamma (Gonze and Lee, Phys. Rev. B 55, 10355 (1997)),

    D_{ia,jb} = e² (q.Z_i)_a (q.Z_j)_b / (eps0 V sqrt(m_i m_j) q.eps_inf.q),

needs the Born effective charges Z, whose first index (the field) is contracted with q, and the electronic
dielectric tensor eps_inf. phonopy symmetrises both, writes them, and adds the term.
"""

import argparse
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from phonopy import Phonopy
from phonopy.harmonic.dynamical_matrix import NacParams

from equivar_jax.errors import InputError
from equivar_jax.io import read_structures
from equivar_jax.io.files import format_suffix
from equivar_jax.prediction.loading import load
from equivar_jax.response.phonons.epsilon_inf import choose_epsilon_inf
from equivar_jax.response.phonons.phonopy_crystal import (
    file_of_tensors,
    has_force_constants,
    load_phonon,
    phonon_of,
    structure_of,
)
from equivar_jax.response.phonons.propagation import Members, members_of
from equivar_jax.response.phonons.surroundings import warn_of_vacuum
from equivar_jax.response.splitting.born_example import sodium_chloride
from equivar_jax.response.splitting.born_nac import nac_params, symmetry_change
from equivar_jax.response.splitting.born_outputs import BANDS, YAML, needs_epsilon, output_kind, write_output
from equivar_jax.structures import EPSILON, source


class LeftHandedCellWarning(UserWarning):
    """Warns that phonopy cannot be given the lattice vectors of a structure as they are."""


class _Predicted(NamedTuple):
    """What the files are written of."""

    phonon: Phonopy
    """With the predicted parameters of the non-analytical term."""
    constants: bool
    """Whether it was read from a YAML file that has force constants."""
    members: list[NacParams]
    """These parameters by each member of a committee, if bands are drawn with its tensors."""


def run(options: argparse.Namespace) -> None:
    """Predict the tensors, symmetrise them, and write the files that were asked for."""
    default = "bands.png" if options.example else "BORN"
    kinds = {path: output_kind(path) for path in map(Path, options.output or [default])}
    if options.example:
        if options.structure or options.checkpoint or options.epsilon_inf:
            raise InputError(
                "--example has its own crystal and tensors; leave out the structure, --checkpoint and "
                "--epsilon-inf"
            )
        found = _Predicted(sodium_chloride(), False, [])
    else:
        found = _read_and_predict(options, set(kinds.values()))
    for path, kind in kinds.items():
        write_output(path, kind, *found)
        print(f"{path}: written", file=sys.stderr)


def _read_and_predict(options: argparse.Namespace, kinds: set[str]) -> _Predicted:
    """Read the crystal that the options name, and add the predicted parameters of the non-analytical term.

    Args:
        options: The parsed command line.
        kinds: What is to be written. Bands need force constants; all but i-PI's file need the dielectric
            tensor.
    """
    if options.structure is None:
        raise InputError("give a structure, or --example; --help explains the options")
    path = Path(options.structure)
    constants = False
    if format_suffix(path) in YAML:
        # Of a BORN beside the file only the dielectric tensor is of use here.
        phonon = load_phonon(path, born_beside=options.epsilon_inf is None)
        constants = has_force_constants(path)
        atoms = structure_of(phonon, phonon.unitcell, str(path))
    else:
        several = read_structures(path)
        if len(several) != 1:
            raise InputError(f"{path}: {len(several)} structures; give a file with exactly one")
        (atoms,) = several
        phonon = phonon_of(atoms)
        if atoms.cell.handedness < 0:
            warnings.warn(
                f"{source(atoms)}: left-handed lattice vectors, of which phonopy subtracts the LO-TO "
                "splitting; give it the opposite vectors -a, -b, -c and the same Cartesian coordinates",
                LeftHandedCellWarning,
                stacklevel=2,
            )
    if BANDS in kinds and phonon.force_constants is None:
        raise InputError(
            f"{path}: no forces to draw bands from; give a phonopy YAML file with forces, or one with "
            "FORCE_SETS or FORCE_CONSTANTS beside it"
        )
    predictor = load(options.checkpoint)
    if any(map(needs_epsilon, kinds)):
        epsilon = choose_epsilon_inf(atoms, options.epsilon_inf, predictor)
        if options.epsilon_inf is None and EPSILON in atoms.info:
            where = file_of_tensors(path) if format_suffix(path) in YAML else path
            print(f"{path}: electronic dielectric tensor of {where}; --epsilon-inf takes another")
    else:
        epsilon = np.eye(3)
    tensors = predictor.predict(atoms, allow_unseen=options.allow_unseen)
    warn_of_vacuum(atoms, "BORN, eps_inf and LO-TO splitting")
    charge = float(atoms.info.get("charge", 0.0))
    phonon.nac_params = nac_params(phonon, tensors, epsilon, charge)
    moved = symmetry_change(phonon, tensors - charge / len(atoms) * np.eye(3))
    print(f"{phonon.unitcell.formula}: symmetrisation moved the tensors by at most {moved:.2g} e")
    is_known = options.epsilon_inf is not None or EPSILON in atoms.info
    members = members_of(predictor, atoms, epsilon if is_known else None) if BANDS in kinds else None
    return _Predicted(phonon, constants, [] if members is None else _nac_of_members(phonon, members, charge))


def _nac_of_members(phonon: Phonopy, members: Members, charge: float) -> list[NacParams]:
    """Make the parameters of the non-analytical term of each member, without the warnings about the mean."""
    assert members.epsilon_inf is not None  # bands need it
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [
            nac_params(phonon, charges, tensor, charge)
            for charges, tensor in zip(members.charges, members.epsilon_inf, strict=True)
        ]
