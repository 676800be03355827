#!/usr/bin/env bash
# SevenNet 0.13.0 fails for a slab whose plane contains the z axis, and gives a molecule without a cell a huge stress.
#
# Version: sevenn 0.13.0 with torch 2.13.0 and ase 3.29.0 from PyPI; Python 3.11. The weights are in the wheel.
#
# Input: a slab of MgO of 8 atoms, pbc (True, True, False), as it is made and turned by 90 degrees about x, cell and all;
# water without a cell, as ase.build.molecule makes it.
#
# Expected: one energy for both slabs, since nothing but the axes has changed; no stress of a molecule without a volume.
#
# Seen: -45.84 eV for the one, and for the other RuntimeError, Zero cell volume: along each direction that is not
# periodic the calculator replaces the lattice vector by a multiple of x, y or z by its number, here of z, which lies in
# the turned plane. Water has a stress of -163 eV/Å³ along y.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
"$folder/venv/bin/pip" install --quiet sevenn==0.13.0 ase==3.29.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
from ase.build import bulk, molecule
from sevenn.calculator import SevenNetCalculator

calculator = SevenNetCalculator("7net-0", device="cpu")
slab = bulk("MgO", "rocksalt", a=4.21, cubic=True)
slab.pbc = (True, True, False)
slab.rattle(0.03, seed=2)
turned = slab.copy()
turned.rotate(90, "x", rotate_cell=True)
slab.calc = turned.calc = calculator
energy = slab.get_potential_energy()
try:
    other = f"{turned.get_potential_energy():.4f} eV"
except Exception as error:
    other = f"{type(error).__name__}: {error}"
water = molecule("H2O")
water.calc = calculator
stress = np.abs(water.get_stress()).max()
print(f"slab: {energy:.4f} eV; turned: {other}; stress of water without a cell: {stress:.1f} eV/Å³")
sys.exit(0 if "Zero cell volume" in other and stress > 10 else 1)
PYTHON
