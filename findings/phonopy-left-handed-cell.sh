#!/usr/bin/env bash
# phonopy 4.10.0 subtracts the LO-TO splitting of a crystal whose lattice vectors are left-handed: LO lies below TO.
#
# Version: phonopy 4.10.0 from PyPI; Python 3.11.
#
# Input: rock salt of springs between nearest neighbours, charges of +1 and -1 e and eps_inf 2.4, twice: the same
# lattice, atoms and force constants, with the first two lattice vectors in either order (primitive_matrix "P").
#
# Expected: the same frequencies for q -> 0 along x, LO above TO; or a word about the cell.
#
# Seen: no warning, and the LO mode is as far below TO in omega squared as it should be above. The non-analytical term
# is divided by PhonopyAtoms.volume, which is the determinant of the vectors, here negative. With primitive_matrix
# "auto" the same cell is refused ("Determinant of primitive_matrix has to be larger than 0").
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet phonopy==4.10.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import numpy as np
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

a, along, across = 5.6, 2.0, 0.2  # Å, eV/Å²
sites = np.array([[0, 0, 0], [0, 1, 1], [1, 0, 1], [1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) / 2
charges = np.array([1] * 4 + [-1] * 4)

springs = np.zeros((8, 8, 3, 3))
for i, j in np.ndindex(8, 8):
    apart = sites[j] - sites[i]
    apart -= np.round(apart)
    if abs(np.linalg.norm(apart) - 0.5) < 1e-6:  # two images of the same neighbour
        parallel = np.outer(apart, apart) * 4
        spring = 2 * (along * parallel + across * (np.eye(3) - parallel))
        springs[i, j] -= spring
        springs[i, i] += spring


def modes(order):
    cell = PhonopyAtoms(symbols=["Na"] * 4 + ["Cl"] * 4, cell=a * np.eye(3)[order], scaled_positions=sites[:, order])
    phonon = Phonopy(cell, np.eye(3, dtype=int), primitive_matrix="P")
    phonon.force_constants = springs
    plain = phonon.run_qpoints([[0, 0, 0]]).frequencies[0]
    phonon.nac_params = {"born": charges[:, None, None] * np.eye(3), "dielectric": 2.4 * np.eye(3), "factor": 14.399652, "method": "wang"}
    full = phonon.run_qpoints([[0, 0, 0]], nac_q_direction=phonon.primitive.cell @ [1, 0, 0]).frequencies[0]
    return np.sort(plain), np.sort(full)


def moved(plain, full):
    """How the sum of omega squared changes: by the one LO mode."""
    return float(np.sum(full**2) - np.sum(plain**2))


with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    right, left = modes([0, 1, 2]), modes([1, 0, 2])
up, down = moved(*right), moved(*left)
said = [str(one.message) for one in said if "hand" in str(one.message)]
print(f"LO adds {up:.3f} THz² with right-handed vectors and {down:.3f} THz² with left-handed ones; warnings: {said}")
print(f"right-handed {np.unique(right[1].round(2))} THz, left-handed {np.unique(left[1].round(2))} THz")
sys.exit(0 if up > 1 and abs(up + down) < 1e-3 * up and not said else 1)
PYTHON
