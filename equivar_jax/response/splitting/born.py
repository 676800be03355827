"""LO-TO splitting from predicted tensors: phonopy's BORN and YAML files, and the bands.

The non-analytical term of the dynamical matrix near Gamma (Gonze and Lee, Phys. Rev. B 55, 10355 (1997)),

    D_{ia,jb} = e² (q.Z_i)_a (q.Z_j)_b / (eps0 V sqrt(m_i m_j) q.eps_inf.q),

needs the Born effective charges Z, whose first index (the field) is contracted with q, and the electronic
dielectric tensor eps_inf. phonopy symmetrises both, writes them, and adds the term.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from phonopy import Phonopy

from equivar_jax.errors import InputError
from equivar_jax.figures import is_picture
from equivar_jax.io import read_structures
from equivar_jax.io.files import base_name, complete_file, format_suffix
from equivar_jax.io.phonopy_born_writer import write_born
from equivar_jax.prediction.loading import load
from equivar_jax.response.phonons.epsilon_inf import choose_epsilon_inf
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, load_phonon, phonon_of, structure_of
from equivar_jax.response.phonons.surroundings import warn_of_vacuum
from equivar_jax.response.splitting.bands import describe_gamma, plot_bands
from equivar_jax.response.splitting.born_example import sodium_chloride
from equivar_jax.response.splitting.born_nac import nac_params, symmetry_change
from equivar_jax.structures import with_born_effective_charges

_YAML = (".yaml", ".yml")


def run(options: argparse.Namespace) -> None:
    """Predict the tensors, symmetrise them, and write the files that were asked for."""
    default = "bands.png" if options.example else "BORN"
    kinds = {path: _output_kind(path) for path in map(Path, options.output or [default])}
    if options.example:
        if options.structure or options.checkpoint or options.epsilon_inf:
            raise InputError(
                "--example has its own crystal and tensors; leave out the structure, --checkpoint and "
                "--epsilon-inf"
            )
        phonon = sodium_chloride()
    else:
        phonon = _read_and_predict(options, needs_forces="bands" in kinds.values())
    for path, kind in kinds.items():
        _write(path, kind, phonon)


def _read_and_predict(options: argparse.Namespace, needs_forces: bool) -> Phonopy:
    """Read the crystal that the options name, and add the predicted parameters of the non-analytical term.

    Args:
        options: The parsed command line.
        needs_forces: Whether to refuse a crystal without force constants.
    """
    if options.structure is None:
        raise InputError("give a structure, or --example; --help explains the options")
    path = Path(options.structure)
    if format_suffix(path) in _YAML:
        # Of a BORN beside the file only the dielectric tensor is of use here.
        phonon = load_phonon(path, born_beside=options.epsilon_inf is None)
        atoms = structure_of(phonon, phonon.unitcell, str(path))
    else:
        several = read_structures(path)
        if len(several) != 1:
            raise InputError(f"{path}: {len(several)} structures; give a file with exactly one")
        (atoms,) = several
        phonon = phonon_of(atoms)
    if needs_forces and phonon.force_constants is None:
        raise InputError(
            f"{path}: no forces to draw bands from; give a phonopy YAML file with forces, or one with "
            "FORCE_SETS or FORCE_CONSTANTS beside it"
        )
    predictor = load(options.checkpoint)
    epsilon = choose_epsilon_inf(atoms, options.epsilon_inf, predictor)
    tensors = predictor.predict(atoms, allow_unseen=options.allow_unseen)
    warn_of_vacuum(atoms, "BORN, eps_inf and LO-TO splitting")
    charge = float(atoms.info.get("charge", 0.0))
    phonon.nac_params = nac_params(phonon, tensors, epsilon, charge)
    moved = symmetry_change(phonon, tensors - charge / len(atoms) * np.eye(3))
    print(f"{phonon.unitcell.formula}: symmetrisation moved the tensors by at most {moved:.2g} e")
    return phonon


def _output_kind(path: Path) -> str:
    """Tell from the name of an output file what to write: "born", "yaml" or "bands".

    Raises:
        InputError: The name tells no format, or there is no folder to write to.
    """
    if base_name(path) == "BORN" or format_suffix(path) == ".born":
        kind = "born"
    elif path.suffix in _YAML:
        kind = "yaml"
    elif is_picture(path):
        kind = "bands"
    else:
        raise InputError(f"{path}: the name tells no format; name it BORN, .yaml, or a picture such as .png")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"{path}: cannot be written; name a file in a folder that is there")
    return kind


def _write(path: Path, kind: str, phonon: Phonopy) -> None:
    """Write one output file; for a picture, also print the LO and TO modes at Gamma."""
    if kind == "bands":
        plot_bands(phonon, path)
        print("\n".join(describe_gamma(phonon)))
    elif kind == "yaml":
        with complete_file(path) as partial:
            phonon.save(partial)
    elif (nac := phonon.nac_params) is not None:
        labelled = with_born_effective_charges(atoms_of(phonon.primitive), nac["born"])
        write_born(path, [labelled], nac["dielectric"])
    print(f"{path}: written", file=sys.stderr)
