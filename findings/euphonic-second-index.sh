#!/usr/bin/env bash
# Euphonic 2.1.1 contracts q with the second index of phonopy's Born effective charges.
#
# Versions: euphonic 2.1.1, phonopy 4.10.0 (whose API writes the input), both from PyPI; Python 3.11.
#
# Input: a triclinic model crystal of three atoms with springs and charges that are not symmetric, written by
# phonopy to one YAML file with force constants and the parameters of the non-analytical term.
#
# Expected: near Gamma, Euphonic's optical frequencies are phonopy's. In phonopy's files (BORN, YAML) the first
# index of a charge is that of the field; phonopy contracts it with q ("numpy.dot(q, born)", DynamicalMatrixWang).
#
# Seen: they differ by 6.8 cm^-1 for q along x. With every charge transposed in the file they agree to 0.1 cm^-1.
# Where charges are symmetric there is no difference.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet euphonic==2.1.1 phonopy==4.10.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
from euphonic import ForceConstants
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms

PER_THZ = 33.35641  # cm^-1

cell = PhonopyAtoms(
    symbols=["Na", "Cl", "O"],
    cell=[[4.0, 0.2, 0.1], [0.3, 4.3, -0.2], [-0.1, 0.4, 4.6]],
    scaled_positions=[[0, 0, 0], [0.52, 0.47, 0.49], [0.1, 0.55, 0.45]],
)
charges = np.array([np.diag([1.2, 1.1, 1.0]), np.diag([-2.0, -1.8, -1.7]), np.diag([0.8, 0.7, 0.7])])
charges += 0.4 * np.random.default_rng(0).normal(size=(3, 3, 3))
charges -= charges.mean(axis=0)
epsilon = np.array([[3.0, 0.1, 0.0], [0.1, 2.8, 0.2], [0.0, 0.2, 3.3]])


def crystal(born):
    """phonopy's object with springs between all atoms, stiffer the shorter they are."""
    phonon = Phonopy(cell, np.diag([2, 2, 2]), primitive_matrix="P")
    count, lattice, places = len(phonon.supercell), phonon.supercell.cell, phonon.supercell.scaled_positions
    constants = np.zeros((count, count, 3, 3))
    images = np.array(list(np.ndindex(3, 3, 3))) - 1
    for i, j in np.ndindex(count, count):
        if i != j:
            steps = (places[j] - places[i] - np.rint(places[j] - places[i]) + images) @ lattice
            lengths = np.linalg.norm(steps, axis=1)
            shortest = steps[lengths < lengths.min() + 1e-6]
            for step in shortest:
                length = np.linalg.norm(step)
                stiffness = 6.0 * np.exp(-(((length - 2.2) / 0.9) ** 2)) / len(shortest)
                unit = step / length
                constants[i, j] -= stiffness * (np.outer(unit, unit) + 0.15 * np.eye(3))
    for i in range(count):
        constants[i, i] = -constants[i].sum(axis=0)
    phonon.force_constants = constants
    phonon.nac_params = {"born": born, "dielectric": epsilon, "factor": 14.399652}
    return phonon


def optical_of_euphonic(born):
    """Frequencies for q near zero along the first reciprocal vector, cm^-1, without the acoustic ones."""
    crystal(born).save("phonopy.yaml", settings={"force_constants": True})
    constants = ForceConstants.from_phonopy(path=".", summary_name="phonopy.yaml")
    modes = constants.calculate_qpoint_phonon_modes(np.array([[1e-5, 0.0, 0.0]]), splitting=False)
    return np.sort(modes.frequencies.to("1/cm").magnitude[0])[3:]


phonon = crystal(charges)
phonon.run_qpoints([[0, 0, 0]], nac_q_direction=[1, 0, 0])
expected = np.sort(phonon.get_qpoints_dict()["frequencies"][0])[3:] * PER_THZ
as_it_is = abs(optical_of_euphonic(charges) - expected).max()
transposed = abs(optical_of_euphonic(charges.transpose(0, 2, 1)) - expected).max()
print(f"largest difference to phonopy: {as_it_is:.2f} cm^-1; with transposed charges: {transposed:.2f} cm^-1")
sys.exit(0 if as_it_is > 5.0 and transposed < 0.2 else 1)
PYTHON
