#!/usr/bin/env bash
# phonopy 4.10.0 takes seekpath's points for another cell than its own: with hexagonal vectors at 60 degrees, K is not K.
#
# Version: phonopy 4.10.0 and seekpath 2.2.2 from PyPI; Python 3.11.
#
# Input: wurtzite GaN twice, the same crystal and the same atoms: lattice vectors a, b, c with 120 degrees between a and
# b, and a, a + b, c with 60 degrees. Bands along the automatic path (Phonopy.auto_band_structure, as by --band auto).
#
# Expected: the point K is as far from Gamma in both cells, since it is a point of the crystal.
#
# Seen: no warning, and K is 0.209 and 0.121 1/Å from Gamma: the reduced coordinates belong to seekpath's standard cell
# and are taken for those of the primitive cell at hand. seekpath's get_path_orig_cell has them in the cell at hand.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet phonopy==4.10.0 seekpath==2.2.2
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import numpy as np
import seekpath
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

a, c, u = 3.19, 5.19, 0.377
hexagonal = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, c]])
scaled = np.array([[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0.5], [1 / 3, 2 / 3, u], [2 / 3, 1 / 3, 0.5 + u]])
other = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 1]]) @ hexagonal
numbers = [31, 31, 7, 7]


def distance_of_k(cell, positions):
    phonon = Phonopy(PhonopyAtoms(numbers=numbers, cell=cell, scaled_positions=positions), np.eye(3, dtype=int), primitive_matrix="P")
    phonon.force_constants = np.zeros((4, 4, 3, 3))
    phonon.auto_band_structure(npoints=3)
    # The path begins Gamma - M - K - Gamma: the second segment ends in K.
    point = phonon.band_structure.qpoints[1][-1]
    return float(np.linalg.norm(np.linalg.inv(phonon.primitive.cell) @ point))


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    found = [distance_of_k(hexagonal, scaled), distance_of_k(other, scaled @ hexagonal @ np.linalg.inv(other))]
about_cells = [str(one.message) for one in said if "seekpath" in str(one.message).lower() or "standard" in str(one.message).lower()]
right = seekpath.get_path_orig_cell((other, scaled @ hexagonal @ np.linalg.inv(other), numbers))["point_coords"]["K"]
right = float(np.linalg.norm(np.linalg.inv(other) @ right))
print(f"K is {found[0]:.4f} and {found[1]:.4f} 1/Å from Gamma; in the second cell get_path_orig_cell has {right:.4f}; warnings: {about_cells}")
sys.exit(0 if abs(found[0] - right) < 1e-4 and found[1] < 0.6 * found[0] and not about_cells else 1)
PYTHON
