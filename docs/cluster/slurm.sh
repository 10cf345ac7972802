#!/bin/bash
#SBATCH --job-name=repro
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --requeue
# Trains on the tasks of a Slurm job: sbatch docs/cluster/slurm.sh mamba --preset paper --out runs/mamba
# For GPUs add #SBATCH --gpus-per-task=1. A requeued job goes on from the last whole epoch.
set -eu

cd "${SLURM_SUBMIT_DIR:-.}"
. .venv/bin/activate
export OMP_NUM_THREADS="${SLURM_CPUS_PER_TASK:-1}"

# The ranks meet at the machine that runs this script, which is rank 0's.
exec srun --kill-on-bad-exit=1 repro train "$@"
