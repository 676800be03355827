#!/bin/bash
# Training on several GPUs, and on several nodes, under Slurm:
#
#     sbatch docs/cluster/train.sh --config bm3.py --data /shared/my.extxyz --train.batch_size 64
#     sbatch --nodes=2 docs/cluster/train.sh ...          # two nodes of four GPUs
#
# One process for each GPU; srun begins them, and JAX learns from Slurm's variables who they are. The words after
# the name of this script are those of `equivar train`. A run that was interrupted goes on, on any number of
# GPUs, with
#
#     sbatch docs/cluster/train.sh --resume /shared/runs/mine
#
#SBATCH --job-name=equivar-train
#SBATCH --nodes=1                # more for several nodes; nothing else changes
#SBATCH --ntasks-per-node=4      # as many processes as a node has GPUs
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=8        # each process makes its own part of the batches
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300        # five minutes before the end: all processes save after the same batch, and end
#SBATCH --output=equivar-train-%j.log

set -euo pipefail

# The environment that has equivar_jax with JAX for GPUs (pip install "equivar_jax[cuda]").
source "${EQUIVAR_ENVIRONMENT:?the folder of the virtual environment}/bin/activate"

# Structures, graphs and compiled programs are kept here: a folder that all nodes see.
export EQUIVAR_CACHE="${EQUIVAR_CACHE:-$HOME/.cache/equivar_jax}"

# JAX talks to the first process directly, which a proxy would prevent.
unset http_proxy https_proxy HTTP_PROXY HTTPS_PROXY all_proxy ALL_PROXY

# --train.batch_size counts the structures of a step over all GPUs; it must not be smaller than their number.
# --kill-on-bad-exit ends the other processes if one is lost; what was saved is whole.
exec srun --kill-on-bad-exit=1 equivar train --distributed "$@"
