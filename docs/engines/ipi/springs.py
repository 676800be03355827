"""Springs between the ions of MgO.extxyz, in the place of a real potential: `--potential springs:make`."""

from pathlib import Path

import numpy as np
from ase.calculators.calculator import Calculator, all_changes
from ase.io import read
from ase.neighborlist import neighbor_list

REACH = 3.2
"""In Å: first and second neighbours."""
STIFFNESS = 4.0
"""In eV/Å²."""


class Springs(Calculator):
    """`E = k/2 sum over pairs (r - r0)²`, pairs and lengths being those of a structure."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012 (as ASE has it)

    def __init__(self, structure):
        super().__init__()
        self.i, self.j, self.lengths, self.shifts = neighbor_list("ijdS", structure, REACH)

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):
        """Compute energy and forces; positions must not be wrapped."""
        super().calculate(atoms, properties, system_changes)
        positions = self.atoms.positions
        vectors = positions[self.j] - positions[self.i] + self.shifts @ self.atoms.cell.array
        lengths = np.linalg.norm(vectors, axis=1)
        longer = lengths - self.lengths
        pulls = (STIFFNESS * longer / lengths)[:, None] * vectors
        forces = np.zeros_like(positions)
        np.add.at(forces, self.i, pulls)
        self.results = {"energy": 0.25 * STIFFNESS * np.sum(longer**2), "forces": forces}


def make():
    """Make the calculator."""
    return Springs(read(Path(__file__).with_name("MgO.extxyz")))
