#!/bin/bash
# The tensors of one giant structure on several GPUs, under Slurm:
#
#     sbatch docs/cluster/giant.sh /shared/polycrystal.extxyz /shared/charges.npy
#     sbatch --nodes=2 docs/cluster/giant.sh ...        # two nodes of eight GPUs: sixteen devices
#
# One process for each node sees all its GPUs, and holds the graph of the whole structure in the memory of the host
# (32 bytes an edge). On one node, `equivar predict FILE -o OUTPUT --devices 8` does the same without a script.
#
#SBATCH --job-name=equivar-giant
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1      # one process for each node, not for each GPU: the graph is there once
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=32
#SBATCH --mem=0                  # all memory of the node
#SBATCH --time=04:00:00
#SBATCH --output=equivar-giant-%j.log

set -euo pipefail

# The environment that has equivar_jax with JAX for GPUs (pip install "equivar_jax[cuda]").
source "${EQUIVAR_ENVIRONMENT:?the folder of the virtual environment}/bin/activate"
export EQUIVAR_CACHE="${EQUIVAR_CACHE:-$HOME/.cache/equivar_jax}"

# JAX takes three quarters of a GPU's memory by default; tables of features may need more.
export XLA_PYTHON_CLIENT_MEM_FRACTION=0.95

srun python - "$@" <<'PYTHON'
import os
import sys

import jax

if int(os.environ["SLURM_NTASKS"]) > 1:
    jax.distributed.initialize()  # learns from Slurm's variables who the processes are

import numpy as np

from equivar_jax import load
from equivar_jax.io import read_structures

(atoms,) = read_structures(sys.argv[1])
# member=0: one network of the committee in a quarter of the time; leave it out for the mean of all.
tensors = load(member=0).predict(atoms, devices=jax.device_count())
if jax.process_index() == 0:
    np.save(sys.argv[2], tensors)  # float64 (N, 3, 3) in e: [atom, field, displacement]
PYTHON
