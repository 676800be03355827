#!/usr/bin/env bash
# ASE 3.29.0 cannot write a result born_effective_charges of shape (N, 3, 3), its own convention, to extxyz.
#
# Version: ase 3.29.0 from PyPI; Python 3.11.
#
# Input: MgO with a SinglePointCalculator whose result is `born_effective_charges`, float (N, 3, 3), the shape
# that ASE's calculators give (ase.calculators.vasp, ase.io.vasp).
#
# Expected: ase.io.write("a.extxyz", atoms) writes a column of nine numbers, and ase.io.read gives (N, 3, 3) back.
#
# Seen: writing raises ValueError. A column of nine numbers, written by hand, is read as a result of shape (N, 9).
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ase==3.29.0
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import ase.io
import numpy as np
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

atoms = bulk("MgO", "rocksalt", a=4.21)
tensors = np.array([2.0, -2.0])[:, None, None] * np.eye(3)
atoms.calc = SinglePointCalculator(atoms, born_effective_charges=tensors)
try:
    ase.io.write("a.extxyz", atoms)
    written = "written"
except Exception as error:
    written = f"{type(error).__name__}: {error}"
with open("b.extxyz", "w") as handle:
    handle.write('2\nLattice="0 2 2 2 0 2 2 2 0" Properties=species:S:1:pos:R:3:born_effective_charges:R:9\n')
    for symbol, tensor in zip(atoms.symbols, tensors, strict=True):
        handle.write(f"{symbol} 0 0 0 {' '.join(map(str, tensor.ravel()))}\n")
shape = ase.io.read("b.extxyz").calc.results["born_effective_charges"].shape
print(f"writing (2, 3, 3): {written}; reading nine columns: {shape}")
sys.exit(0 if written != "written" and shape == (2, 9) else 1)
PYTHON
