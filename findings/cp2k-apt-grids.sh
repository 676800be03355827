#!/usr/bin/env bash
# CP2K 2023.1 prints atomic polar tensors of linear response that depend on the number of grids.
#
# Version: CP2K 2023.1, Debian 12's packages cp2k and cp2k-data 2023.1-2.
#
# Input: one water molecule in a box, LDA, atomic polar tensors by &LINRES &DCDR, once with one grid and once with
# four, the default of &MGRID NGRIDS.
#
# Expected: the number of grids changes the tensors a little; their sum, the derivative of the dipole by a shift of
# the whole molecule, is zero for a neutral one.
#
# Seen: with one grid the sum is zero to 0.005 e. With four its diagonal is -2.6, -2.3 and -1.7 e, and no warning is
# printed. (For a twisted H2O2 the tensors with one grid are the finite differences of the dipole to 4e-4 e, rows
# being displacements.) With the default preconditioner of &LINRES all components are NaN in both cases.
#
# Exit status: 0 while it is as seen, 1 if the behaviour has changed. Two runs of about half a minute.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir -p archives/partial unpacked
# What the machine has not installed of CP2K's libraries comes along.
apt-get -qq --yes --no-install-recommends --download-only -o Debug::NoLocking=1 \
  -o "Dir::Cache::archives=$folder/archives" install cp2k=2023.1-2 cp2k-data=2023.1-2
(cd archives && apt-get -qq -o APT::Sandbox::User=root download cp2k=2023.1-2 cp2k-data=2023.1-2)
for package in archives/*.deb; do dpkg-deb -x "$package" unpacked; done
libraries="$folder/unpacked/usr/lib/$(dpkg-architecture -qDEB_HOST_MULTIARCH 2>/dev/null || echo x86_64-linux-gnu)"
if [ -d "$libraries/openmpi" ]; then export OPAL_PREFIX="$folder/unpacked/usr"; fi
export LD_LIBRARY_PATH="$libraries:$libraries/blas:$libraries/lapack" OMP_NUM_THREADS=1
export CP2K_DATA_DIR="$folder/unpacked/usr/share/cp2k"

run() {
  cat >"grids$1.inp" <<INPUT
&GLOBAL
  PROJECT water$1
  RUN_TYPE ENERGY
  PRINT_LEVEL MEDIUM
&END GLOBAL
&FORCE_EVAL
  METHOD Quickstep
  &PROPERTIES
    &LINRES
      PRECONDITIONER FULL_SINGLE_INVERSE
      EPS 1e-7
      &DCDR
        &PRINT
          &APT
            FILENAME __STD_OUT__
          &END APT
        &END PRINT
      &END DCDR
    &END LINRES
  &END PROPERTIES
  &DFT
    BASIS_SET_FILE_NAME GTH_BASIS_SETS
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      NGRIDS $1
      CUTOFF 300
    &END MGRID
    &SCF
      EPS_SCF 1e-6
      &OT
        PRECONDITIONER FULL_SINGLE_INVERSE
      &END OT
    &END SCF
    &PRINT
      &MOMENTS
        PERIODIC FALSE
      &END MOMENTS
    &END PRINT
    &POISSON
      POISSON_SOLVER ANALYTIC
      PERIODIC NONE
    &END POISSON
    &XC
      &XC_FUNCTIONAL LDA
      &END XC_FUNCTIONAL
    &END XC
  &END DFT
  &SUBSYS
    &CELL
      ABC 6.0 6.0 6.0
      PERIODIC NONE
    &END CELL
    &KIND DEFAULT
      BASIS_SET DZVP-GTH
      POTENTIAL GTH-LDA
    &END KIND
    &COORD
      O 3.00 3.00 3.00
      H 3.75 3.50 3.20
      H 2.40 3.65 2.70
    &END COORD
  &END SUBSYS
&END FORCE_EVAL
INPUT
  # Without mpirun it is one process, whose exit status may be that of MPI's farewell.
  unpacked/usr/bin/cp2k.psmp "grids$1.inp" >"grids$1.out" 2>"grids$1.err" || true
  grep -q "PROGRAM ENDED AT" "grids$1.out" || { tail "grids$1.err" >&2; return 1; }
  version=$(sed -n 's/^ CP2K| version string: *CP2K version //p' "grids$1.out")
  [[ "$version" == 2023.1 ]] || { echo "CP2K $version, not 2023.1" >&2; return 1; }
  # The largest component of the sum over the atoms, by size.
  awk '/total apt matrix/ { rows = 3; next }
       rows-- > 0 { for (i = 3; i <= 5; i++) { x = $i < 0 ? -$i : $i; if (x > most) most = x } }
       END { print most }' "grids$1.out"
}

one=$(run 1)
four=$(run 4)
echo "largest component of the sum of the tensors: $one e with one grid, $four e with four"
awk -v one="$one" -v four="$four" 'BEGIN { exit !(one < 0.05 && four > 1.0) }'
