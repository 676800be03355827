"""From a structure alone to spectra: relaxation, phonons, Born charges, and what follows from them.

A potential gives the forces, the network Born effective charges and the electronic dielectric tensor. With a
phonopy file its forces are taken, and with `--born` charges of another source: the report says of every
ingredient where it came from.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from phonopy import Phonopy

import equivar_jax
from equivar_jax.calculators.potentials import check_potential, load_potential
from equivar_jax.errors import InputError
from equivar_jax.io.files import format_suffix
from equivar_jax.response.crystal import example
from equivar_jax.response.crystal.ingredients import (
    Tensors,
    check_predictable,
    find_tensors,
    predictor_of,
)
from equivar_jax.response.crystal.outputs import write_outputs
from equivar_jax.response.crystal.results import collect, crystal_of
from equivar_jax.response.crystal.stages import Forces, Settings, make_folder, make_forces, open_run
from equivar_jax.response.crystal.text import describe
from equivar_jax.response.optics.from_potential import read_one_structure
from equivar_jax.response.phonons.phonopy_crystal import atoms_of, load_phonon, structure_of
from equivar_jax.response.phonons.surroundings import describe_vacuum
from equivar_jax.response.splitting.born_nac import nac_params
from equivar_jax.response.splitting.born_outputs import YAML
from equivar_jax.structures import check_structure, source

_EXAMPLE_POTENTIAL = f"{example.__name__}:springs"


def run(options: argparse.Namespace) -> None:
    """Compute, print the table, and write the folder."""
    if options.example:
        _refuse_with_example(options)
    elif options.structure is None:
        raise InputError("no structure; name a file, or try --example")
    check_settings(options)
    folder = Path(options.output)
    is_file_of_phonons = not options.example and format_suffix(Path(options.structure)) in YAML
    found = _from_phonopy(options, folder) if is_file_of_phonons else _from_structure(options, folder)
    phonon, tensors, made = found
    atoms = structure_of(phonon, phonon.primitive, str(options.structure or "MgO of springs"))
    crystal = crystal_of(phonon, atoms, tensors)
    results = collect(crystal, options.linewidth)
    results |= made
    results["warnings"] = list(tensors.remarks)
    results["made_by"] = _made_by(options)
    print(describe(results))
    written = write_outputs(crystal, results, folder)
    print(f"written to {folder}: {', '.join(written)}")


def check_settings(options: argparse.Namespace) -> None:
    """Check the numbers of the command line.

    Raises:
        InputError: One of them is not positive or not finite.
    """
    for name in ("linewidth", "shortest", "displacement", "largest_force", "steps"):
        value = getattr(options, name)
        if not (np.isfinite(value) and value > 0):
            raise InputError(f"--{name.replace('_', '-')} {value}: give a positive number")


def require_crystal(atoms: Atoms) -> None:
    """Check that a structure is one whose spectra this task can make.

    Raises:
        InputError: It is not periodic, has vacuum in it, or is charged.
    """
    check_structure(atoms)
    where = source(atoms)
    if not atoms.pbc.all():
        raise InputError(
            f"{where}: not periodic in all directions; this task is for crystals. The lines of a molecule: "
            "equivar response infrared --molecule"
        )
    if found := describe_vacuum(atoms):
        raise InputError(
            f"{where}: {found}: its dielectric tensor and its LO modes would be those "
            "of the vacuum in the cell. Its phonons and Born charges: phonopy, and equivar response born"
        )
    charge = float(atoms.info.get("charge", 0.0))
    if charge:
        raise InputError(
            f"{where}: a cell of charge {charge:g} e; potentials know no charge, and the dielectric tensor "
            "of a charged crystal is not defined. Give the neutral crystal"
        )


def _from_structure(options: argparse.Namespace, folder: Path) -> tuple[Phonopy, Tensors, dict[str, Any]]:
    """Relax and displace a crystal with a potential, then find its tensors."""
    if options.example:
        atoms, potential, predictor = example.stretched_magnesia(), _EXAMPLE_POTENTIAL, None
    else:
        atoms, potential = _read_structure(options), options.potential
        predictor = predictor_of(options, known=False)
        if predictor is not None:
            check_predictable(atoms, options, predictor)
    settings = Settings(
        relax=options.relax,
        cell=options.relax and not options.fixed_cell,
        largest_force=options.largest_force,
        steps=options.steps,
        shortest=options.shortest,
        displacement=options.displacement,
    )
    calculator = load_potential(potential)
    check_potential(calculator, atoms, potential)
    open_run(folder, atoms, potential, settings)
    forces = make_forces(atoms, calculator, settings, folder, follow=options.follow)
    phonon, where = forces.phonon, source(atoms)
    tensors = (
        _tensors_of_example(phonon) if options.example else find_tensors(phonon, where, options, predictor)
    )
    return phonon, tensors, _made_of(where, potential, settings, forces, tensors)


def _from_phonopy(options: argparse.Namespace, folder: Path) -> tuple[Phonopy, Tensors, dict[str, Any]]:
    """Take the forces of a phonopy file, then find the tensors of its crystal."""
    path = Path(options.structure)
    if options.potential is not None or options.follow:
        raise InputError(
            f"{path}: has forces of its own; leave out --potential and --follow, or name a structure file"
        )
    phonon = load_phonon(path, options.force_constants, options.first_index)
    if phonon.force_constants is None:
        raise InputError(
            f"{path}: no force constants in it or beside it; name their file by --force-constants, or name a "
            "structure file and a --potential"
        )
    require_crystal(structure_of(phonon, phonon.primitive, str(path)))
    predictor = predictor_of(options, known=phonon.nac_params is not None)
    tensors = find_tensors(phonon, str(path), options, predictor)
    make_folder(folder)
    made = {
        "ingredients": _ingredients(str(path), f"{options.force_constants or path}", tensors),
        "relaxation": None,
        "followed": [],
        "supercell": None,
    }
    return phonon, tensors, made


def _read_structure(options: argparse.Namespace) -> Atoms:
    """Read the one crystal that the options name."""
    path = Path(options.structure)
    atoms = read_one_structure(path)
    require_crystal(atoms)
    if options.potential is None:
        raise InputError(
            f"{path}: a structure has no forces; name a potential (--potential chgnet, sevenn, mace ..., or "
            "module:factory), or give a phonopy file with forces in the place of the structure"
        )
    if options.force_constants is not None:
        raise InputError("--force-constants belongs to a phonopy file; leave it out")
    return atoms


def _tensors_of_example(phonon: Phonopy) -> Tensors:
    """Make the nominal charges of the example."""
    charges = example.nominal_charges(atoms_of(phonon.unitcell))
    nac = nac_params(phonon, charges, example.EPSILON_INF * np.eye(3))
    return Tensors(nac, "nominal charges of the example", "the example")


def _made_of(
    where: str, potential: str, settings: Settings, forces: Forces, tensors: Tensors
) -> dict[str, Any]:
    """Describe relaxation, supercell and ingredients for `results.json`."""
    relaxed = forces.relaxation
    structure = where if relaxed is None else f"{where}, relaxed by {potential}"
    if forces.followed:
        structure += ", along unstable modes"
    return {
        "ingredients": _ingredients(structure, f"potential {potential}", tensors),
        "relaxation": None
        if relaxed is None
        else {
            "steps": relaxed.steps,
            "converged": relaxed.converged,
            "cell": relaxed.cell,
            "largest_force_before_eV_per_A": relaxed.force_before,
            "largest_force_eV_per_A": relaxed.force,
            "largest_displacement_A": relaxed.displacement,
            "volume_change_percent": relaxed.volume_change,
            "lengths_before_A": list(relaxed.lengths_before),
            "lengths_A": list(relaxed.lengths),
        },
        "followed": list(forces.followed),
        "supercell": forces.supercell(settings.displacement),
    }


def _ingredients(structure: str, forces: str, tensors: Tensors) -> list[dict[str, str]]:
    """List where each ingredient came from."""
    sources = {
        "structure": structure,
        "forces": forces,
        "Born effective charges": tensors.charges_source,
        "dielectric tensor": tensors.epsilon_source,
    }
    return [{"name": name, "source": text} for name, text in sources.items()]


def _made_by(options: argparse.Namespace) -> dict[str, Any]:
    """Describe the command."""
    settings = {name: value for name, value in vars(options).items() if value is not None}
    words = sys.argv[1:] if sys.argv[1:2] == ["response"] else ["response", "crystal"]
    return {
        "equivar_jax": equivar_jax.__version__,
        "checkpoint": settings.get("checkpoint"),
        "potential": _EXAMPLE_POTENTIAL if options.example else options.potential,
        "command": f"equivar {' '.join(words)}",
        "settings": {name: str(value) for name, value in settings.items()},
    }


def _refuse_with_example(options: argparse.Namespace) -> None:
    """Refuse what the example has of its own."""
    named = [
        name
        for name in ("structure", "potential", "checkpoint", "born", "epsilon_inf", "force_constants")
        if getattr(options, name) is not None
    ]
    if named:
        raise InputError(
            f"--example has its own crystal, potential and tensors; leave out {', '.join(named)}"
        )
