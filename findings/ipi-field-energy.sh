#!/usr/bin/env bash
# i-PI 3.3.1: `interaction_energy` of driven dynamics has the sign of E mu, not of the energy -E mu.
#
# Version: ipi 3.3.1 from PyPI; Python 3.11.
#
# Input: two opposite charges, +1 and -1 e, free but for a constant field, with their dipole mu = sum q r in the
# extras of i-PI's own driver.
#
# Expected: "the value of the interaction energy due to the external electric field" makes, added to `conserved`
# (which has the kinetic energy, and here no potential), a quantity that does not change.
# Seen: it changes by twice the work of the field; `conserved` less `interaction_energy` does not change. The forces
# have the right sign.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet ipi==3.3.1
cd "$folder"
cat > charges.py <<'PYTHON'
import json

import numpy as np
from ipi.pes.dummy import Dummy_driver

__DRIVER_NAME__, __DRIVER_CLASS__ = "charges", "Charges"


class Charges(Dummy_driver):
    def compute_structure(self, cell, pos):
        bec = np.vstack([np.eye(3), -np.eye(3)])
        extras = json.dumps({"BEC": bec.tolist(), "dipole": (pos[0] - pos[1]).tolist()})
        return 0.0, 0.0 * pos, 0.0 * cell, extras
PYTHON
printf '2\n# CELL(abcABC): 90 90 90 90 90 90\nMg 0 0 0\nO 3 0 0\n' > init.xyz
cat > input.xml <<'XML'
<simulation verbosity='low'>
  <output prefix='run'>
    <properties stride='1' filename='out'> [ conserved, interaction_energy ] </properties>
  </output>
  <total_steps> 20 </total_steps>
  <ffdirect name='driver'><pes> custom </pes><pes_path> charges.py </pes_path></ffdirect>
  <system>
    <initialize nbeads='1'><file mode='xyz'> init.xyz </file></initialize>
    <forces><force forcefield='driver'/></forces>
    <ensemble><temperature units='kelvin'> 300 </temperature></ensemble>
    <motion mode='driven_dynamics'>
      <driven_dynamics mode='eda-nve'>
        <timestep units='femtosecond'> 1 </timestep>
        <efield><amp> [ 0.01, 0, 0 ] </amp></efield>
        <bec mode='driver'/>
      </driven_dynamics>
    </motion>
  </system>
</simulation>
XML
"$folder/venv/bin/i-pi" input.xml > log 2>&1
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np

conserved, interaction = np.loadtxt("run.out", unpack=True)
for name, values in (("plus", conserved + interaction), ("less", conserved - interaction)):
    print(f"conserved {name} interaction_energy changes by {np.ptp(values):.2e} hartree")
work = np.ptp(conserved)
print(f"work of the field: {work:.2e} hartree")
as_seen = np.ptp(conserved + interaction) > 1.9 * work and np.ptp(conserved - interaction) < 1e-3 * work
sys.exit(0 if as_seen else 1)
PYTHON
