#!/bin/bash
# The tensors of any number of structures by an array job under Slurm:
#
#     sbatch --array=1-16 docs/cluster/sweep.sh -o /shared/out.csv /shared/structures/
#
# Every task of the array does its part and writes /shared/out.shard-003-of-016.csv and so on; when all have ended,
#
#     equivar predict --join -o /shared/out.csv
#
# makes of them what one run would have written. The words after the name of this script are those of
# `equivar predict`. Whatever stops tasks (a limit of time, a node that fails), give the same command again: what is
# finished is not done again, and the rest goes on where it was. A few of the tasks only, again as parts of 16, are
#
#     sbatch --array=1-16 docs/cluster/sweep.sh ...             # all again: finished ones end at once
#     equivar predict --shard 3/16 -o /shared/out.csv ...       # or one by hand; what is named counts
#
# The number of tasks must stay the same; a join refuses a mixture, and says what is missing.
#
#SBATCH --job-name=equivar-sweep
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8        # the network runs on all cores of its task
#SBATCH --mem-per-cpu=2G         # memory holds three windows of 1,024 structures or 16,384 atoms
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@120      # ends after a window that is complete; without it the last window is done again
#SBATCH --output=equivar-sweep-%A-%a.log

set -euo pipefail

# The environment that has equivar_jax.
source "${EQUIVAR_ENVIRONMENT:?the folder of the virtual environment}/bin/activate"

# Compiled programs and the C++ code are kept here: a folder that all nodes see.
export EQUIVAR_CACHE="${EQUIVAR_CACHE:-$HOME/.cache/equivar_jax}"

# exec, so that the signal above reaches the program and not this shell.
exec equivar predict --shard auto "$@"
