"""Instances of LAMMPS with small crystals, and what they have in the order of the atom IDs."""

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.io.lammpsdata import write_lammps_data

from equivar_jax.calculators.lammps_library import open_lammps
from equivar_jax.errors import InputError

KCAL = units.mol / units.kcal
"""1 eV in kcal/mol."""
ENERGY = {"metal": 1.0, "real": KCAL}
SPECIES = ["Mg", "O"]
FIELD = np.array([0.03, -0.02, 0.05])
FEMTOSECOND = {"metal": 1e-3, "real": 1.0}


def open_or_skip():
    """Start LAMMPS, or skip the test with the reason for which it cannot be started."""
    try:
        return open_lammps()
    except InputError as error:
        pytest.skip(str(error))


def read_into(
    lmp, atoms, folder, potential="pair_style zero 4.0\npair_coeff * *", system="metal", sort="sort 0 0"
):
    """Give an instance a crystal of Mg and O, a potential in metal units' eV, and velocity Verlet of 1 fs."""
    path = folder / "crystal.data"
    write_lammps_data(
        path, atoms, specorder=["Mg", "O"], masses=True, units=system, atom_style="atomic",
        velocities=atoms.has("momenta"), force_skew=True,
    )  # fmt: skip
    lmp.commands_string(
        f"units {system}\natom_style atomic\natom_modify map array {sort}\nread_data {path}\n{potential}\n"
        f"timestep {FEMTOSECOND[system]}\nneigh_modify every 1 delay 0 check yes\nfix nve all nve\n"
    )
    return lmp


def springs(stiffness, system="metal"):
    """Commands that tether each atom to where it is, by so many eV/Å²."""
    constant = stiffness * ENERGY[system]
    return (
        f"pair_style zero 4.0\npair_coeff * *\nfix tether all spring/self {constant:.17g}\n"
        "fix_modify tether energy yes"
    )


def by_id(lmp, name):
    """An array of LAMMPS's, in the order of the IDs."""
    count = lmp.extract_setting("nlocal")
    ids = lmp.numpy.extract_atom("id")[:count]
    return lmp.numpy.extract_atom(name)[:count][np.argsort(ids)].copy()


def list_ids(lmp):
    """The IDs in LAMMPS's own order."""
    return lmp.numpy.extract_atom("id")[: lmp.extract_setting("nlocal")].tolist()


def shuffled_crystal(triclinic=False, seed=0):
    """Rattled MgO, its atoms in random order, in axes that are not LAMMPS's if it is triclinic."""
    rng = np.random.default_rng(seed)
    atoms = bulk("MgO", "rocksalt", a=4.21, cubic=True).repeat((2, 1, 1))
    atoms = atoms[rng.permutation(len(atoms))]
    atoms.rattle(0.05, seed=seed)
    if triclinic:
        strain = np.array([[0, 0.2, 0.1], [0.7, 0, -0.3], [0.5, 1.1, 0]])
        atoms.set_cell(atoms.cell.array + strain, scale_atoms=True)
        atoms.rotate(40, (1, 2, -1), rotate_cell=True)
    return atoms


def warm(atoms, temperature=300, seed=1):
    """Give atoms velocities."""
    normal = np.random.default_rng(seed).normal(size=(len(atoms), 3))
    atoms.set_momenta(normal * np.sqrt(units.kB * temperature * atoms.get_masses())[:, None])
    return atoms


def fix_output(lmp, name="born"):
    """The scalar and the vector of the fix."""
    return lmp.extract_fix(name, 0, 0), np.array([lmp.extract_fix(name, 0, 1, k) for k in range(6)])
