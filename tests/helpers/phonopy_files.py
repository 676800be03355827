"""YAML files as phonopy writes them."""

from pathlib import Path

import numpy as np
from ase import Atoms
from phonopy import Phonopy
from phonopy.physical_units import get_calculator_physical_units
from phonopy.structure.atoms import PhonopyAtoms

EPSILON = np.array([[5.1, 0.2, -0.3], [0.2, 6.2, 0.4], [-0.3, 0.4, 7.3]])


def phonopy_file(path: Path, atoms: Atoms, tensors: np.ndarray | None, primitive="P", calculator="vasp"):
    """What phonopy itself writes for these tensors [field, displacement]."""
    length = get_calculator_physical_units(calculator).distance_to_A
    cell = PhonopyAtoms(
        numbers=atoms.numbers, cell=atoms.cell.array / length, scaled_positions=atoms.get_scaled_positions()
    )
    phonon = Phonopy(cell, np.diag([2, 1, 1]), primitive_matrix=primitive, calculator=calculator)
    if tensors is not None:
        phonon.nac_params = {"born": tensors, "dielectric": EPSILON, "factor": 14.4}
    phonon.generate_displacements()
    phonon.save(path)
    return path
